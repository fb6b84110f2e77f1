#!/usr/bin/env python3
"""Golden statistics of gsmeval's normals, from scipy: noise/testdata/stats.json.

Pinned: Python 3.11 or later, numpy 2.4.6, scipy 1.17.1. Run from the repository root:

    python scripts/goldens/noise_stats.py

The draws are made here by an implementation of Philox4x32-10 of their own (checked against the known-answer vectors that
Random123 publishes), so that the Go tests compare two generators and two statistics.
"""

import datetime
import json
import pathlib
import platform

import numpy as np
import scipy
from scipy import stats

OUT = pathlib.Path(__file__).resolve().parents[2] / "noise" / "testdata" / "stats.json"
N = 120_000
MASK = np.uint64(0xFFFFFFFF)


def words(c0, c1, c2, c3, key):
    """The four words of each block: counters are arrays that broadcast, the key is one integer."""
    c = [np.asarray(v, dtype=np.uint64) & MASK for v in (c0, c1, c2, c3)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & MASK, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.broadcast_arrays(*c)


def normals(n, position, site, step, key):
    """Box and Muller on the upper 24 bits, element order: four normals a block."""
    w = words(np.arange((n + 3) // 4), position, site, step, key)
    out = np.empty((len(w[0]), 4))
    for j in (0, 2):
        u1 = ((w[j] >> np.uint64(8)) + np.uint64(1)).astype(np.float64) * 2.0**-24
        u2 = (w[j + 1] >> np.uint64(8)).astype(np.float64) * 2.0**-24
        r = np.sqrt(-2 * np.log(u1))
        out[:, j], out[:, j + 1] = r * np.cos(2 * np.pi * u2), r * np.sin(2 * np.pi * u2)
    return out.reshape(-1)[:n]


def check_generator():
    f = 0xFFFFFFFF
    for c, key, want in [
        ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((f, f, f, f), 0xFFFFFFFFFFFFFFFF, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), 0x299F31D0A4093822, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ]:
        got = tuple(int(v) for v in words(*c, key))
        assert got == want, (got, want)


def describe(position, site, step, key):
    x = normals(N, position, site, step, key)
    ks = stats.kstest(x, "norm")
    return {
        "key": key, "position": position, "site": site, "step": step,
        "first": [float(v) for v in x[:6]], "last": float(x[-1]),
        "mean": float(x.mean()), "variance": float(x.var(ddof=1)), "skewness": float(stats.skew(x)), "kurtosis": float(stats.kurtosis(x)),
        "ks": float(ks.statistic), "ks_p": float(ks.pvalue),
    }


def correlate(a, b):
    return {"a": a, "b": b, "r": float(stats.pearsonr(normals(N, *a), normals(N, *b)).statistic)}


def main():
    check_generator()
    key, other = 0x9E3779B97F4A7C15, 0x9E3779B97F4A7C16
    streams = [(0, 0, 0, key), (17, 3, 0, key), (17, 0xFFFFFFFF, 0, key), (300, 8, 41, other), (4095, 191, 0, 0xFFFFFFFFFFFFFFFF)]
    base = (17, 3, 0, key)
    golden = {
        "made": datetime.date.today().isoformat(), "python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__,
        "n": N,
        # The two-sided critical value of the KS statistic at a false alarm of 1e-7.
        "ks_critical": float(stats.kstwo.isf(1e-7, N)),
        "streams": [describe(*s) for s in streams],
        "pairs": [correlate(base, b) for b in [(18, 3, 0, key), (17, 4, 0, key), (17, 3, 1, key), (17, 3, 0, other)]],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden, indent=1) + "\n")
    for s in golden["streams"]:
        print({k: s[k] for k in ("mean", "variance", "ks", "ks_p")})
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
