"""The side of a peer: it loads a model once, then answers requests, a JSON object a line, like scripts/bench/step."""

import json
import random
import sys
import time


class Clock:
    """Notes when the first token of each prompt was there and when each decode step after that ended."""

    def __init__(self):
        self.begin = time.perf_counter()
        self.ticks = []

    def tick(self):
        self.ticks.append(time.perf_counter())

    def timing(self, warm, steps):
        t = self.ticks[warm : warm + steps + 1]
        if len(t) != steps + 1:
            raise RuntimeError(f"only {len(self.ticks)} of {warm + steps + 1} steps were seen")
        return {"prefill_ms": 1e3 * (self.ticks[0] - self.begin), "step_ms": [1e3 * (b - a) for a, b in zip(t, t[1:])]}


def prompts(batch, length):
    """Random prompts of equal length, of ids that every model here has."""
    return [[random.Random(1000 * i + p).randrange(3, 1024) for p in range(length)] for i in range(batch)]


def serve(measure):
    """Answers requests on standard input with measure(request); what goes wrong is an answer, too."""
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not stand between the answers
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        try:
            answer = measure(json.loads(line))
        except Exception as e:  # noqa: BLE001: the bench reports it and goes on with the other engines
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), file=out, flush=True)
