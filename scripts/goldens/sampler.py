#!/usr/bin/env python3
"""Golden survivors of top-k, top-p and min-p, and penalised logits, from transformers: decode/testdata/sampler.json.

Pinned: Python 3.11 or later, torch 2.11.0, transformers 5.23.0. Run from the repository root:

    python scripts/goldens/sampler.py

The warpers are applied in the order of transformers' generate: temperature, top-k, top-p, min-p. transformers computes in
float32; a case is drawn again where a probability lies within float32 rounding of its threshold.
"""

import datetime
import json
import pathlib
import platform

import torch
import transformers
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

OUT = pathlib.Path(__file__).resolve().parents[2] / "decode" / "testdata" / "sampler.json"
MARGIN = 1e-4


def logits(n, spread, g, ties):
    z = torch.randn(n, generator=g) * spread
    if ties:
        z = torch.round(z * 2) / 2
    return z


def near_threshold(z, temperature, k, p, min_p):
    """Whether rounding may decide, in float64."""
    s = z.double() / temperature
    if k:
        s = s[s >= torch.topk(s, min(k, len(s))).values[-1]]
    s = torch.sort(s).values
    if p < 1:
        cum = torch.softmax(s, 0).cumsum(0)
        if (cum - (1 - p)).abs().min() < MARGIN:
            return True
        keep = cum > 1 - p
        keep[-1] = True
        # Which of several equal tokens goes is not defined where the cut is among them.
        cut = int((~keep).sum())
        if 0 < cut < len(s) and s[cut - 1] == s[cut]:
            return True
        s = s[keep]
    if min_p:
        q = torch.softmax(s, 0)
        return bool(((q - min_p * q.max()).abs() < MARGIN * q.max()).any())
    return False


def survivors(z, temperature, k, p, min_p):
    steps = [TemperatureLogitsWarper(temperature)]
    if k:
        steps.append(TopKLogitsWarper(k))
    if p < 1:
        steps.append(TopPLogitsWarper(p))
    if min_p:
        steps.append(MinPLogitsWarper(min_p))
    s = z[None].clone()
    for step in steps:
        s = step(None, s)
    return [int(i) for i in torch.nonzero(torch.isfinite(s[0]))[:, 0]]


def filter_cases():
    g = torch.Generator().manual_seed(20250102)
    settings = []
    for n in (1, 2, 7, 40):
        for temperature in (0.3, 1.0, 2.5):
            for k, p, min_p in [(1, 1.0, 0.0), (3, 1.0, 0.0), (100, 1.0, 0.0), (0, 0.9, 0.0), (0, 0.3, 0.0), (0, 0.01, 0.0), (0, 1.0, 0.05), (0, 1.0, 0.7), (5, 0.8, 0.0), (10, 0.95, 0.1), (0, 0.9, 0.2)]:
                settings.append((n, temperature, k, p, min_p, False))
    settings += [(30, 1.0, k, 1.0, m, True) for k in (1, 2, 3, 5, 8, 13, 29) for m in (0.0, 0.3)]  # ties at the k-th
    cases = []
    for n, temperature, k, p, min_p, ties in settings:
        for _ in range(1000):
            z = logits(n, 2.0, g, ties)
            if not near_threshold(z, temperature, k, p, min_p):
                break
        else:
            raise SystemExit(f"no case for {n, temperature, k, p, min_p}")
        cases.append({
            "z": [float(v) for v in z], "temperature": temperature, "top_k": k, "top_p": p, "min_p": min_p,
            "survivors": survivors(z, temperature, k, p, min_p),
        })
    return cases


def penalty_cases():
    g = torch.Generator().manual_seed(7)
    cases = []
    for penalty in (1.05, 1.3, 2.0, 0.8):
        for n, seen in ((5, [0]), (12, [3, 3, 3, 11, 0]), (30, list(range(0, 30, 2)))):
            z = logits(n, 3.0, g, False)
            z[0] = 0.0
            out = RepetitionPenaltyLogitsProcessor(penalty=penalty)(torch.tensor([seen]), z[None].clone())[0]
            cases.append({"z": [float(v) for v in z], "penalty": penalty, "seen": seen, "out": [float(v) for v in out]})
    return cases


def main():
    golden = {
        "made": datetime.date.today().isoformat(), "python": platform.python_version(),
        "torch": torch.__version__, "transformers": transformers.__version__,
        "filters": filter_cases(), "penalties": penalty_cases(),
    }
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"{OUT}: {len(golden['filters'])} filters, {len(golden['penalties'])} penalties, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
