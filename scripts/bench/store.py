"""What was measured: a JSON object a line, appended as it comes, so that an interrupted bench keeps what it has."""

import json
import pathlib
import statistics


class Store:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def drop(self, part):
        """Forgets a part that is measured anew."""
        self.rows = [r for r in self.rows if r["part"] != part]
        tmp = self.path.with_suffix(".part")
        tmp.write_text("".join(json.dumps(r) + "\n" for r in self.rows))
        tmp.replace(self.path)

    def has(self, **key):
        return any(True for _ in self.find(**key))

    def add(self, **row):
        self.rows.append(row)
        with self.path.open("a") as f:
            f.write(json.dumps(row) + "\n")

    def find(self, **key):
        return (r for r in self.rows if all(r.get(k) == v for k, v in key.items()))

    def by_round(self, value, **key):
        """round -> value(row) of the rows that hold one."""
        rows = [r for r in self.find(**key) if "error" not in r]
        return Rounds({r["round"]: value(r) for r in rows}, [r["others"] for r in rows])


class Rounds(dict):
    """A number for each round, and the share of the machine that other processes had while it was measured."""

    def __init__(self, values, others):
        super().__init__(values)
        self.others = others


def step(row):
    """Milliseconds of a step: the median over the timed steps of one round."""
    return statistics.median(row["step_ms"])


def fastest(rows):
    """The tenth percentile of all steps of all rounds: what a step takes while nothing else disturbs it."""
    steps = sorted(s for r in rows if "error" not in r for s in r["step_ms"])
    return steps[len(steps) // 10] if steps else None
