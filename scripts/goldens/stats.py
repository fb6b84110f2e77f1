#!/usr/bin/env python3
"""Golden numbers of scoring/stats, from scipy and statsmodels.

Pinned: Python 3.11 or later, numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0.

    python scripts/goldens/stats.py      # writes scoring/stats/testdata/stats.json

Cluster-robust standard errors are those of an OLS regression on a constant with
cov_type="cluster" and statsmodels' default small-sample correction,
G/(G-1) * (N-1)/(N-K) with K = 1.
"""

import datetime
import json
import math
import pathlib
import sys
import warnings

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "scoring" / "stats" / "testdata" / "stats.json"


def cluster_data(rng, questions, seeds, low, high, missing):
    """Sums and counts of verdicts per question, and the verdicts themselves."""
    p = rng.uniform(low, high, questions)
    values = (rng.random((questions, seeds)) < p[:, None]).astype(int)
    ok = rng.random((questions, seeds)) >= missing
    return values, ok


def cluster_cases(rng):
    cases = []
    for questions, seeds, low, high, missing in [
        (30, 5, 0.1, 0.9, 0.0),
        (200, 3, 0.6, 1.0, 0.1),
        (50, 1, 0.2, 0.8, 0.0),
        (12, 8, 0.0, 0.3, 0.3),
    ]:
        values, ok = cluster_data(rng, questions, seeds, low, high, missing)
        y, groups = values[ok], np.nonzero(ok)[0]
        fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": groups})
        boot = stats.bootstrap(
            ((values * ok).sum(1), ok.sum(1)),
            lambda s, n, axis: s.sum(axis) / np.maximum(n.sum(axis), 1),
            n_resamples=40000, paired=True, vectorized=True, method="percentile", rng=np.random.default_rng(7),
        )
        cases.append({
            "sums": (values * ok).sum(1).tolist(), "counts": ok.sum(1).tolist(),
            "mean": float(fit.params[0]), "se": float(fit.bse[0]),
            "bootstrap": [float(boot.confidence_interval.low), float(boot.confidence_interval.high)],
        })
    return cases


def new_chips_cases(rng):
    """Cluster-robust standard errors by question and by chip of one regression on a constant, each with its own t."""
    cases = []
    for questions, chips, missing, paired in [(150, 5, 0.0, False), (80, 4, 0.15, False), (40, 3, 0.0, True),
                                              (60, 10, 0.1, True)]:
        effect = rng.normal(0, 0.1, chips)
        p = np.clip(rng.uniform(0.2, 0.9, questions)[:, None] + effect, 0, 1)
        values = (rng.random((questions, chips)) < p).astype(int)
        if paired:
            values -= (rng.random((questions, chips)) < p - 0.05).astype(int)
        ok = rng.random((questions, chips)) >= missing
        y = values[ok].astype(float)
        half = 0.0
        for groups in np.nonzero(ok):
            fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": groups})
            half += (stats.t.ppf(0.975, len(set(groups)) - 1) * fit.bse[0]) ** 2
        half = math.sqrt(half)
        cases.append({"values": np.where(ok, values, -9).tolist(), "interval": [y.mean() - half, y.mean() + half]})
    return cases


def sign_flip_cases(rng):
    cases = []
    lists = [
        [1, 1, 1, -1, 0, 1, 0, 1],
        [2, -1, 3, 0, 1, 1, -2, 4, 1, 1],
        [5, 5, -4, 3, 1, -1, 2, 2, 0, 0, 0, 1, -3, 2],
        [0, 0, 0],
        [-1, -1, -1, -1, -1, -1],
        rng.integers(-3, 5, 15).tolist(),
    ]
    for d in lists:
        res = stats.permutation_test((np.array(d, float),), np.sum, permutation_type="samples",
                                     n_resamples=np.inf, alternative="two-sided")
        cases.append({"d": d, "p": float(res.pvalue)})
    return cases


def connor(d, s, n, alpha, power):
    za, zb = stats.norm.ppf(1 - alpha / 2), stats.norm.ppf(power)
    return (za * math.sqrt(s) + zb * math.sqrt(s - d * d)) ** 2 / (d * d) - n


def main():
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(20240501)
    gold = {
        "made": datetime.date.today().isoformat(),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__,
                     "statsmodels": statsmodels.__version__},
    }
    gold["wilson"] = [
        {"k": k, "n": n, "level": level, "interval": [float(v) for v in proportion_confint(k, n, 1 - level, "wilson")]}
        for k, n in [(0, 10), (10, 10), (1, 20), (12, 20), (955, 1319), (1319, 1319), (1, 1)]
        for level in (0.95, 0.9)
    ]
    gold["mcnemar"] = [
        {"gained": b, "lost": c, "p": float(mcnemar([[10, b], [c, 10]], exact=True).pvalue)}
        for b, c in [(0, 0), (1, 0), (5, 5), (3, 9), (12, 2), (40, 61), (200, 120), (600, 700), (0, 30)]
    ]
    # scipy's binomtest gives the same test; statsmodels returns nan for 0 and 0 in some versions.
    gold["mcnemar"][0]["p"] = 1.0
    for row in gold["mcnemar"][1:]:
        n = row["gained"] + row["lost"]
        assert math.isclose(row["p"], stats.binomtest(row["gained"], n).pvalue, rel_tol=1e-9)
    gold["holm"] = [
        {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}
        for p in [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.8, 0.9], [0.02, 0.02, 0.02, 0.6, 1e-9],
                  rng.uniform(0, 0.1, 12).tolist()]
    ]
    gold["cluster"] = cluster_cases(rng)
    gold["new_chips"] = new_chips_cases(rng)
    gold["sign_flip"] = sign_flip_cases(rng)
    gold["two_proportion"] = [
        {"k1": a, "n1": m, "k2": b, "n2": n, "p": float(proportions_ztest([a, b], [m, n])[1]),
         "interval": [float(v) for v in confint_proportions_2indep(b, n, a, m, compare="diff", method="newcomb")]}
        for a, m, b, n in [(56, 70, 48, 80), (9, 10, 3, 10), (955, 1319, 990, 1319), (0, 20, 5, 20), (500, 1000, 650, 1300)]
    ]
    gold["normal"] = [{"p": p, "q": float(stats.norm.ppf(p))} for p in (0.025, 0.2, 0.5, 0.8, 0.975, 0.9999)]
    gold["t"] = [{"p": p, "df": df, "q": float(stats.t.ppf(p, df))} for p in (0.9, 0.975) for df in (1, 4, 29, 1318)]
    gold["paired_mde"] = [
        {"mean_square": s, "n": n,
         "d": float(optimize.brentq(connor, 1e-9, math.sqrt(s) * (1 - 1e-12), args=(s, n, 0.05, 0.8)))}
        for s, n in [(0.2, 1319), (0.05, 200), (0.3, 50), (0.013, 1000), (1.0, 20)]
    ]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(gold) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
