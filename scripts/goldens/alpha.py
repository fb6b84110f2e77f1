#!/usr/bin/env python3
"""Golden numbers of noise/alpha, from torch, numpy and scipy.

Pinned: Python 3.11 or later, torch 2.11.0, numpy 2.4.6, scipy 1.17.1.

    python scripts/goldens/alpha.py      # writes noise/alpha/testdata/alpha.json

compute_alpha and evaluate_temperature_effect are the notebook's, on float64 and on float32 logits. Where a probability underflows
the notebook's own way gives infinities; there the reference is a float64 log-softmax. T of least KL is found by direct minimisation.
Logits are those of float32, so that every side starts from the same numbers.
"""

import datetime
import json
import math
import pathlib

import numpy as np
import scipy
import torch
import torch.nn.functional as F
from scipy import optimize, stats

OUT = pathlib.Path(__file__).resolve().parents[2] / "noise" / "alpha" / "testdata" / "alpha.json"
TEMPERATURES = [0.1, 0.5, 0.9, 1.0, 1.3, 2.0, 7.5]


def compute_alpha(clean_logits, noisy_logits):
    diff = noisy_logits - clean_logits
    tau_sq = clean_logits.var().item()
    sigma_sq = diff.var().item()
    return {"sigma_sq": sigma_sq, "tau_sq": tau_sq, "alpha": sigma_sq / tau_sq if tau_sq > 0 else 0}


def evaluate_temperature_effect(clean_logits, noisy_logits, temperatures):
    clean_probs = F.softmax(clean_logits, dim=-1)
    correct_token = clean_logits.argmax().item()
    results = []
    for temp in temperatures:
        noisy_probs = F.softmax(noisy_logits / temp, dim=-1)
        kl_div = F.kl_div(noisy_probs.log(), clean_probs, reduction="sum").item()
        m_probs = 0.5 * (clean_probs + noisy_probs)
        js_div = 0.5 * F.kl_div(m_probs.log(), clean_probs, reduction="sum").item() + 0.5 * F.kl_div(
            m_probs.log(), noisy_probs, reduction="sum"
        ).item()
        results.append([kl_div, js_div, noisy_probs[correct_token].item(), -(clean_probs * noisy_probs.log()).sum().item()])
    return results


def log_reference(clean, noisy, base, temperatures):
    """The same four by float64 log-softmax; terms of probability 0 count as their limit, 0."""
    p = F.log_softmax(clean / base, dim=-1)
    out = []
    for temp in temperatures:
        q = F.log_softmax(noisy / temp, dim=-1)
        m = torch.logaddexp(p, q) - math.log(2)
        kl = (p.exp() * (p - q)).sum().item()
        js = 0.5 * (p.exp() * (p - m)).sum().item() + 0.5 * (q.exp() * (q - m)).sum().item()
        out.append([kl, js, q[clean.argmax()].exp().item(), -(p.exp() * q).sum().item()])
    return out


def least_kl(cleans, noisies, base):
    """T that minimises the KL summed over positions."""
    def cost(log_t):
        return sum(log_reference(c, z, base, [math.exp(log_t)])[0][0] for c, z in zip(cleans, noisies))
    return math.exp(optimize.minimize_scalar(cost, bounds=(math.log(1 / 8), math.log(8)), method="bounded", options={"xatol": 1e-10}).x)


def divergences(rng):
    cases = []
    for name, v, scale, noise, peak, base in [
        ("mild", 40, 2.0, 0.5, 0, 1.0),
        ("noisy", 64, 3.0, 3.0, 0, 1.0),
        ("certain", 50, 1.0, 0.3, 12, 1.0),
        ("base", 40, 2.0, 1.0, 0, 0.8),
        ("flat", 16, 0.0, 0.7, 0, 1.0),
        ("large", 32, 400.0, 90.0, 0, 1.0),
        ("overflowing", 32, 9e4, 2e4, 0, 1.0),
    ]:
        clean = (scale * rng.standard_normal(v)).astype(np.float32)
        clean[v // 3] += peak
        noisy = (clean + noise * rng.standard_normal(v)).astype(np.float32)
        c32, z32 = torch.from_numpy(clean), torch.from_numpy(noisy)
        c, z = c32.double(), z32.double()
        a = compute_alpha(c, z)
        w = F.softmax(c / base, dim=-1)
        mean = (w * c).sum()
        notebook = evaluate_temperature_effect(c / base, z, TEMPERATURES)
        notebook32 = evaluate_temperature_effect(c32 / base, z32, TEMPERATURES)
        finite = lambda rows: [[x if math.isfinite(x) else None for x in row] for row in rows]
        cases.append({
            "name": name, "base": base, "clean": clean.tolist(), "noisy": noisy.tolist(),
            "alpha": a["alpha"], "var_e": a["sigma_sq"], "var_p": (w * (c - mean) ** 2).sum().item(),
            "alpha32": compute_alpha(c32, z32)["alpha"],
            "beta": (np.cov(z.numpy(), c.numpy())[0, 1] / c.var().item()) if scale else 0,
            "notebook": finite(notebook), "notebook32": finite(notebook32),
            "reference": log_reference(c, z, base, TEMPERATURES), "fitted": least_kl([c], [z], base),
        })
    return cases


def pooled(rng):
    cleans = [(2 * rng.standard_normal(40)).astype(np.float32) for _ in range(6)]
    noisies = [(c + 1.2 * rng.standard_normal(40)).astype(np.float32) for c in cleans]
    t = lambda rows: [torch.from_numpy(r).double() for r in rows]
    return {"clean": [c.tolist() for c in cleans], "noisy": [z.tolist() for z in noisies], "fitted": least_kl(t(cleans), t(noisies), 1.0)}


def exponentials(rng):
    cases = []
    for n, a, b, c, noise in [(150, 0.3, 0.05, 0.02, 0.004), (40, 1.0, 0.4, 0.1, 0.05), (20, -0.5, 0.2, 1.0, 0.02), (150, 0.2, 0.008, 0.0, 0.01)]:
        t = np.arange(n)
        y = a * np.exp(-b * t) + c + noise * rng.standard_normal(n)
        fit, _ = optimize.curve_fit(lambda x, a, b, c: a * np.exp(-b * x) + c, t, y, p0=[a, b, c], maxfev=20000, xtol=1e-14, ftol=1e-14)
        smooth = fit[0] * np.exp(-fit[1] * t) + fit[2]
        cases.append({"y": y.tolist(), "a": fit[0], "b": fit[1], "c": fit[2], "sse": float(((smooth - y) ** 2).sum())})
    return cases


def averages(rng):
    cases = []
    for n, window in [(30, 10), (30, 5), (7, 10), (3, 1), (1, 4), (12, 12)]:
        y = rng.standard_normal(n)
        ones = np.ones(window)
        # mode "full" begins window-1 before the first position; the window has window//2 positions before its centre.
        at = slice(window - 1 - window // 2, window - 1 - window // 2 + n)
        smooth = np.convolve(y, ones)[at] / np.convolve(np.ones(n), ones)[at]
        cases.append({"y": y.tolist(), "window": window, "smooth": smooth.tolist(), "valid": np.convolve(y, ones / window, mode="valid").tolist() if n >= window else []})
    return cases


def intervals(rng):
    cases = []
    for n in [2, 3, 8, 40]:
        y = rng.gamma(2, 0.1, n)
        lo, hi = stats.t.interval(0.95, n - 1, loc=y.mean(), scale=stats.sem(y))
        cases.append({"y": y.tolist(), "mean": y.mean(), "se": float(stats.sem(y)), "lo": float(lo), "hi": float(hi)})
    return cases


def crossed(rng):
    """Prompts by chips. The residual comes from a least-squares fit of both factors, not from the formula for it."""
    cases = []
    for rows, columns in [(2, 2), (16, 3), (8, 5), (3, 12)]:
        y = 0.05 + 0.01 * rng.standard_normal((rows, 1)) + 0.02 * rng.standard_normal((1, columns)) + 0.005 * rng.standard_normal((rows, columns))
        x = np.array([[1.0] + [i == r for r in range(1, rows)] + [k == c for c in range(1, columns)] for i in range(rows) for k in range(columns)])
        rest = np.linalg.lstsq(x, y.ravel(), rcond=None)[1]
        rest = float(rest[0]) if len(rest) else float(((y.ravel() - x @ np.linalg.lstsq(x, y.ravel(), rcond=None)[0]) ** 2).sum())
        by_row, by_column = stats.sem(y.mean(axis=1)) ** 2, stats.sem(y.mean(axis=0)) ** 2
        var = max(by_row + by_column - rest / ((rows - 1) * (columns - 1)) / (rows * columns), by_row, by_column)
        lo, hi = stats.t.interval(0.95, min(rows, columns) - 1, loc=y.mean(), scale=math.sqrt(var))
        cases.append({"y": y.tolist(), "mean": y.mean(), "se": math.sqrt(var), "lo": float(lo), "hi": float(hi)})
    return cases


def ratios(rng):
    """The jackknife is another way to the same standard error; they agree to the order 1/n."""
    cases = []
    for n in [60, 400]:
        x = rng.integers(40, 150, n).astype(float)
        y = 0.2 * x * rng.gamma(20, 0.05, n)
        r = y.sum() / x.sum()
        leave = (y.sum() - y) / (x.sum() - x)
        cases.append({"y": y.tolist(), "x": x.tolist(), "ratio": r, "jackknife_se": float(math.sqrt((n - 1) / n * ((leave - leave.mean()) ** 2).sum()))})
    return cases


def main():
    rng = np.random.default_rng(20)
    golden = {
        "made": datetime.date.today().isoformat(), "torch": torch.__version__.split("+")[0], "numpy": np.__version__, "scipy": scipy.__version__,
        "temperatures": TEMPERATURES, "divergences": divergences(rng), "pooled": pooled(rng), "exponentials": exponentials(rng),
        "averages": averages(rng), "intervals": intervals(rng), "ratios": ratios(rng),
        "crossed": crossed(np.random.default_rng(21)),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(golden, default=float) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
