"""A run: done by the program, read as pandas frames."""

from __future__ import annotations

import html
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gsmeval._program import ProgramError, command, environment, program, reason
from gsmeval._progress import Progress

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """A run directory. What is read of it is what the program wrote; nothing is computed here.

    In a notebook a run shows itself as its table.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        if not (self.path / "run.json").is_file():
            raise FileNotFoundError(f"{self.path} is no run directory: it has no run.json")

    @property
    def info(self) -> dict[str, Any]:
        """run.json: the effective config, hashes, versions, temperatures and timings."""
        return _object(self.path / "run.json")

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def complete(self) -> bool:
        """Whether all samples are there."""
        return bool(self.info["status"] == "complete")

    @property
    def table(self) -> pd.DataFrame:
        """A row for each noise and temperature. Accuracies and intervals are shares of 1, as in table.json."""
        return _frame(self._tables()["rows"])

    @property
    def notes(self) -> list[str]:
        """What weakens the numbers of the table, and what its columns mean."""
        table = self._tables()
        return ["Warning: " + w for w in table["warnings"]] + list(table["notes"])

    @property
    def samples(self) -> pd.DataFrame:
        """A row for each sample, with question, text and answer (``gsmeval export --format parquet``)."""
        import pandas as pd

        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "samples.parquet"
            command("export", self.path, "--format", "parquet", "--out", file)
            frame: pd.DataFrame = pd.read_parquet(file)
            return frame

    @property
    def pairs(self) -> pd.DataFrame:
        """A row for each paired difference between temperatures under the same noise (``gsmeval compare``)."""
        return self.compare()

    def compare(self, *others: Run) -> pd.DataFrame:
        """Paired differences within this run, or between it and others."""
        found = json.loads(command("compare", self.path, *(o.path for o in others), "--format", "json"))
        return _frame(found["pairs"])

    @property
    def alpha(self) -> pd.DataFrame:
        """alpha(t) of each noise as it was calibrated: a row for each noise and position t. Empty where nothing was."""
        import pandas as pd

        curves = []
        for file in sorted((self.path / "calibration").glob("*.json")):
            calibration = _object(file)
            curve = _frame(calibration["curve"]["points"])
            curve.insert(0, "t", range(len(curve)))
            curve.insert(0, "noise", calibration["noise"])
            curves.append(curve)
        if not curves:
            return pd.DataFrame({"noise": [], "t": [], "alpha": []})
        frame: pd.DataFrame = pd.concat(curves, ignore_index=True)
        return frame

    @property
    def fidelity(self) -> pd.DataFrame:
        """How near each noisy model is to the clean one: a row for each noise, kind of text and temperature (``gsmeval fidelity``)."""
        file = self.path / "fidelity" / "fidelity.json"
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} has no fidelity/fidelity.json; gsmeval fidelity CONFIG measures it")
        return _frame(_object(file)["rows"])

    def explain(self) -> list[str]:
        """What the run found, in plain sentences with their numbers and caveats."""
        return command("explain", self.path).splitlines()

    def resume(self) -> Run:
        """Goes on where the run was interrupted, and ends as if it never had been."""
        return _start("resume", self.path)

    def report(self, height: int = 800) -> Any:
        """The page of the run, to be shown inline by a notebook. (The file is ``run.path / "report.html"``.)"""
        from IPython.display import HTML  # only a notebook has it, and only a notebook asks for it

        if not (self.path / "report.html").is_file():
            command("report", self.path)
        page = (self.path / "report.html").read_text(encoding="utf-8")
        # A frame of its own, so that neither the page's style nor its script meets the notebook's.
        # (In a div: HTML warns of a frame that stands alone.)
        return HTML(
            f'<div><iframe srcdoc="{html.escape(page)}" sandbox="allow-scripts" title="report of {html.escape(self.name)}" '
            f'style="width:100%;height:{int(height)}px;border:1px solid #8888"></iframe></div>'
        )

    def __repr__(self) -> str:
        return f"gsmeval.load({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """The table as table.md has it: rounded, with its notes."""
        title = f"<p><b>{html.escape(self.name)}</b> – {html.escape(str(self.path))}</p>"
        file = self.path / "table.md"
        if not file.is_file():
            return f"{title}<p>The run is not complete ({html.escape(str(self.info['status']))}); <code>run.resume()</code> goes on.</p>"
        rows, notes = _markdown(file.read_text(encoding="utf-8"))
        head = "".join(f"<th>{cell}</th>" for cell in rows[0])
        body = "".join("<tr>" + "".join(f'<td style="white-space:nowrap">{cell}</td>' for cell in row) + "</tr>" for row in rows[1:])
        points = "".join(f"<li>{note}</li>" for note in notes)
        return (
            f'{title}<div style="overflow-x:auto"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
            f"<details><summary>Notes on these numbers</summary><ul>{points}</ul></details>"
        )

    def _tables(self) -> dict[str, Any]:
        file = self.path / "table.json"
        if not file.is_file():
            raise FileNotFoundError(f"{self.path} has no table: the run is {self.info['status']}; Run.resume() goes on with it")
        return _object(file)


def load(path: str | os.PathLike[str]) -> Run:
    """The run of a run directory, finished or not."""
    return Run(path)


def run(config: str | os.PathLike[str] | Mapping[str, Any], *, set: Mapping[str, Any] | None = None, extend: bool = False) -> Run:
    """Does the run of a config, or goes on with it, and returns it.

    config is a file, or the same as a mapping, which then needs a "name". set puts single keys over it:
    ``set={"dataset.limit": 50}``. Progress is shown while the program is at work. Ctrl-C (the notebook's stop button) ends it after
    the step that it is at; the same call goes on from there.
    """
    flags = [f"--set={key}={_value(value)}" for key, value in (set or {}).items()]
    if extend:
        flags.append("--extend")
    if not isinstance(config, Mapping):
        return _start("run", config, *flags)
    if "name" not in config:
        raise ValueError('a config that is no file needs a "name": it is the name of the run, and of its folder in runs/')
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "config.yaml"
        file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        return _start("run", file, *flags)


def _start(verb: str, what: str | os.PathLike[str], *flags: str) -> Run:
    """Runs the program with its progress in sight, and returns the run."""
    said: list[str] = []
    output = pathlib.Path(what) if verb == "resume" else None
    with (
        Progress() as progress,
        subprocess.Popen(
            [program(), verb, what, *flags, "--progress=json"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        while True:
            try:
                for line in process.stderr:
                    if not line.startswith("{"):
                        said.append(line)
                        continue
                    event = json.loads(line)
                    output = pathlib.Path(event["run"]) if "run" in event else output
                    progress.show(event)
                process.wait()
                break
            except KeyboardInterrupt:
                # A terminal has told the program too; a second one so soon is the same to it. Its samples are safe: let it end in good order.
                process.send_signal(signal.SIGINT)
    if process.returncode == 130:
        print(f"interrupted; the same call goes on with {output or 'the run'}", file=sys.stderr)
        raise KeyboardInterrupt
    if output is None and process.returncode == 0:
        output = _output(what, flags)  # a complete run starts nothing and so tells nothing
    # Code 1 with a table: samples failed, which the table and the error both say.
    if process.returncode != 0:
        raise ProgramError(reason("".join(said)), process.returncode)
    assert output is not None
    return Run(output)


def _output(config: str | os.PathLike[str], flags: tuple[str, ...]) -> pathlib.Path:
    """Where the run of a config is, as the program says."""
    shown = command("run", config, *(f for f in flags if f != "--extend"), "--show-config")
    found = re.search(r"^output: (.*)$", shown, re.MULTILINE)
    if found is None:
        raise ProgramError("gsmeval run --show-config tells no output")
    text = found[1].strip()
    return pathlib.Path(json.loads(text) if text.startswith('"') else text.strip("'"))


def _value(value: Any) -> str:
    """A value of --set: a text as it is, anything else as YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _object(file: pathlib.Path) -> dict[str, Any]:
    with file.open(encoding="utf-8") as f:
        value = json.load(f)
    if not isinstance(value, dict):
        raise ValueError(f"{file} is not a JSON object")
    return value


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of JSON as a frame: an interval becomes two columns, NAME_lo and NAME_hi, an object the columns NAME_KEY."""
    import pandas as pd

    flat: list[dict[str, Any]] = []
    for row in rows:
        out: dict[str, Any] = {}
        for key, value in row.items():
            if re.search(r"(^|_)ci(_|$)", key):
                out[key + "_lo"], out[key + "_hi"] = value if value is not None else (None, None)
            elif isinstance(value, dict):
                out.update({f"{key}_{inner}": x for inner, x in value.items()})
            else:
                out[key] = value
        flat.append(out)
    frame: pd.DataFrame = pd.DataFrame(flat)
    return frame


def _markdown(text: str) -> tuple[list[list[str]], list[str]]:
    """The cells of the program's Markdown table and the notes below it, as HTML."""
    rows: list[list[str]] = []
    notes: list[str] = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [_plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                rows.append(cells)
        elif line.startswith("- "):
            notes.append(_plain(line[2:]))
    return rows, notes


def _plain(text: str) -> str:
    return html.escape(re.sub(r"\\([\\`*_{}\[\]()#+.!|<>-])", r"\1", text))
