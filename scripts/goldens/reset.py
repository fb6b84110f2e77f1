#!/usr/bin/env python3
"""Golden temperatures of ReSET (arXiv 2606.13233) on recorded logits: internal/condition/testdata/reset.json.

Pinned: Python 3.11 or later, torch 2.11.0, transformers 5.17.0 or later. Run from the repository root:

    python scripts/goldens/reset.py

The rule is written down straightforwardly from the paper's description, on lists, with nothing shared with the program. Logits are those of
the bundled model under noise on the inputs of its Linears, along texts that it samples: the 12 largest of each step, in 64ths, which
the policy is then told are all. A second kind of text is made up, because the bundled model writes no blank lines.
"""

import datetime
import json
import math
import pathlib
import platform
import random

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "internal" / "condition" / "testdata" / "reset.json"


def entropy(z):
    top = max(z)
    w = [math.exp(x - top) for x in z]
    total = 0.0
    for x in w:
        total += x
    return -sum(x / total * math.log(max(x / total, 1e-10)) for x in w)


def mean(values):
    total = 0.0
    for v in values:  # not sum(), which rounds in another way since Python 3.12
        total += v
    return total / len(values)


def temperatures(steps, texts, low, high, window, tau):
    """steps[t] are the logits from which token t was chosen, texts[t] what it says."""
    out, history, step = [], [], []
    for t, z in enumerate(steps):
        if t > 0 and ("\n\n" in texts[t - 1] or (t > 1 and texts[t - 1] == "\n" and texts[t - 2] == "\n")):
            step = []
        h = entropy(z)
        if len(step) >= window:
            h_step = mean(step)
        elif history:
            h_step = mean(history[-window:])
        else:
            h_step = h
        h_bar = mean(history) if history else h_step
        threshold = h_step if h_step > h_bar else tau
        out.append(low if h < threshold else high)
        history.append(h)
        step.append(h)
    return out


def recorded(scale, seed, tokens):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(ROOT / "models" / "gsm-tiny")
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models" / "gsm-tiny")
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, args: (args[0] + scale * args[0].std() * torch.randn_like(args[0]),))
    ids = tokenizer("Question: Tom has 3 boxes of 12 pens and gives 7 pens away. How many pens are left?\n", return_tensors="pt").input_ids
    steps, texts = [], []
    with torch.no_grad():
        for _ in range(tokens):
            z = model(ids).logits[0, -1]
            steps.append([round(float(x) * 64) / 64 for x in torch.topk(z, 12).values])
            chosen = torch.multinomial(torch.softmax(z, -1), 1)
            texts.append(tokenizer.decode(chosen))
            ids = torch.cat([ids, chosen.unsqueeze(0)], 1)
    return steps, texts


def made_up(seed, tokens):
    rng = random.Random(seed)
    words = ["so", " 12", ".", "\n", "\n", "\n\n", ".\n\n", "\n\n\n", " pens"]
    weights = [30, 20, 8, 4, 4, 2, 2, 1, 29]
    steps, texts, spread = [], [], 3.0
    for _ in range(tokens):
        spread = min(max(spread + rng.gauss(0, 0.4), 0.5), 8)
        steps.append([round(rng.gauss(0, spread) * 64) / 64 for _ in range(12)])
        texts.append(rng.choices(words, weights)[0])
    return steps, texts


def main():
    cases = []
    for name, (steps, texts) in {
        "recorded, noise 0.2": recorded(0.2, 1, 250),
        "recorded, noise 0.5": recorded(0.5, 2, 250),
        "made up": made_up(3, 300),
        "made up, again": made_up(4, 300),
    }.items():
        for low, high, window, tau in ((0.2, 1.0, 32, 0.6349), (0.3, 0.9, 8, 1.1)):
            t = temperatures(steps, texts, low, high, window, tau)
            assert {low, high} == set(t), (name, set(t))
            cases.append({"name": name, "low": low, "high": high, "window": window, "tau": tau, "t": "".join("lh"[x == high] for x in t)})
            cases[-1]["logits"] = steps if (low, window) == (0.2, 32) else None
            cases[-1]["texts"] = texts if (low, window) == (0.2, 32) else None
    golden = {
        "made": datetime.date.today().isoformat(),
        "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
        "cases": cases,
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
