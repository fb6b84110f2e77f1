#!/usr/bin/env python3
"""Golden numbers of tables and comparisons, from scipy and statsmodels.

Pinned: Python 3.11 or later, numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0.

    python scripts/goldens/compare.py    # writes results/testdata/compare.json

A grid of verdicts is drawn and written down, one letter a sample: r right, w wrong,
n no answer, t truncated and wrong, T truncated and right, e error, x not finite. The
numbers that a table and a comparison of it must show stand beside it.
"""

import datetime
import json
import pathlib
import sys
from fractions import Fraction

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "results" / "testdata" / "compare.json"
QUESTIONS = 150
TEMPS = ["constant 1", "greedy", "dynamic_tstar"]
NOISES = [("activation 0.05", 1, False), ("weight 0.02", 4, True)]


def draw(rng, seeds, shift):
    """Verdicts of three temperatures that share their questions' difficulty."""
    p = rng.beta(2, 1, QUESTIONS)[:, None] + shift + rng.normal(0, 0.05, seeds)
    u = rng.random((QUESTIONS, seeds))  # common random numbers
    out = []
    for t in range(len(TEMPS)):
        right = np.where(rng.random(u.shape) < 0.8, u, rng.random(u.shape)) < p + 0.04 * t
        letters = np.where(right, "r", "w")
        special = rng.random(u.shape)
        letters[(special < 0.03) & ~right] = "n"
        letters[(special > 0.95) & ~right] = "t"
        letters[(special > 0.985) & right] = "T"
        letters[special < 0.006] = "e"
        letters[(special > 0.006) & (special < 0.01)] = "x"
        out.append(letters)
    return out


def counted(v):
    return np.isin(v, list("rwntT"))


def right(v):
    return np.isin(v, list("rT")).astype(int)


def cluster_se(values, groups):
    fit = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    return float(fit.params[0]), float(fit.bse[0])


def sign_flip(d):
    """Exact two-sided p over all sign patterns, by counting with whole numbers."""
    counts = {0: 1}
    for v in d:
        nxt = {}
        for s, n in counts.items():
            for t in (s + v, s - v):
                nxt[t] = nxt.get(t, 0) + n
        counts = nxt
    hits = sum(n for s, n in counts.items() if abs(s) >= abs(sum(d)))
    return float(Fraction(hits, 2 ** len(d)))


def row(v):
    ok = counted(v)
    y, groups = right(v)[ok], np.nonzero(ok)[0]
    acc, se = cluster_se(y, groups)
    per_seed = [float(right(v)[ok[:, s], s].mean()) for s in range(v.shape[1])]
    out = {
        "n": int(ok.sum()), "correct": int(y.sum()), "accuracy": acc, "se": se,
        "seed_mean": float(np.mean(per_seed)),
        "truncated": int(np.isin(v, ["t", "T"]).sum()), "truncated_correct": int((v == "T").sum()),
        "no_answer": int((v == "n").sum()), "nonfinite": int((v == "x").sum()), "error": int((v == "e").sum()),
    }
    if v.shape[1] == 1:
        out["ci"] = [float(x) for x in proportion_confint(out["correct"], out["n"], 0.05, "wilson")]
    else:
        out["seed_std"] = float(np.std(per_seed, ddof=1))
    return out


def pair(a, b):
    ok = counted(a) & counted(b)
    d = np.where(ok, right(b) - right(a), 0)
    gained, lost = int((d == 1).sum()), int((d == -1).sum())
    diff, se = cluster_se(d[ok], np.nonzero(ok)[0])
    if a.shape[1] == 1:
        p = float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)
    else:
        p = sign_flip([int(x) for x in d.sum(1)])
        sampled = stats.permutation_test((d.sum(1).astype(float),), np.sum, permutation_type="samples",
                                         n_resamples=20000, rng=np.random.default_rng(5)).pvalue
        assert abs(sampled - p) < 0.02, (sampled, p)
    boot = stats.bootstrap((d.sum(1), ok.sum(1)), lambda s, n, axis: s.sum(axis) / n.sum(axis), n_resamples=20000,
                           paired=True, vectorized=True, method="percentile", rng=np.random.default_rng(6))
    return {
        "n": int(ok.sum()), "acc_a": float(right(a)[ok].mean()), "acc_b": float(right(b)[ok].mean()), "diff": diff,
        "se": se, "gained": gained, "lost": lost, "p": p, "dropped": int((~ok).sum()),
        "ci": [float(boot.confidence_interval.low), float(boot.confidence_interval.high)],
    }


def main():
    rng = np.random.default_rng(77)
    gold = {
        "made": datetime.date.today().isoformat(),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__,
                     "statsmodels": statsmodels.__version__},
        "noises": [], "temperatures": TEMPS, "questions": QUESTIONS,
    }
    pairs = []
    for label, seeds, chips in NOISES:
        verdicts = draw(rng, seeds, 0.0)
        entry = {"label": label, "chips": chips,
                 "verdicts": [["".join(v[:, s]) for s in range(seeds)] for v in verdicts],
                 "rows": [row(v) for v in verdicts], "pairs": []}
        for i in range(len(TEMPS)):
            for k in range(i + 1, len(TEMPS)):
                p = pair(verdicts[i], verdicts[k])
                p.update({"a": TEMPS[i], "b": TEMPS[k]})
                entry["pairs"].append(p)
                pairs.append(p)
        gold["noises"].append(entry)
    for p, adjusted in zip(pairs, multipletests([p["p"] for p in pairs], method="holm")[1]):
        p["p_holm"] = float(adjusted)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(gold) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
