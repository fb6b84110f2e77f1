#!/usr/bin/env python3
"""Fidelity to the clean model as float64 transformers gives it, for the cross-check of gsmeval's.

Pinned: torch 2.11.0, transformers 5.24.0, gguf 0.19.0.

    python scripts/goldens/fidelity.py models/gsm-tiny --draws 256      # each writes harness/study/testdata/fidelity/NAME.json
    make smollm2
    python scripts/goldens/fidelity.py models/smollm2.gguf --draws 32 --positions 32 --batch 8

Weights are those of float32; everything after that is float64. Noise is injected from outside, by forward pre-hooks on every nn.Linear
and by changing weights, with torch's own random numbers: nothing is shared with gsmeval but the definition. Along one continuation that
the clean model samples at T = 1, softmax(z/base) of the clean logits is compared with softmax(z'/T) of the noisy ones:

    none          z' = z
    int weights   each row of a Linear's matrix (not of a tied lm_head) on a symmetric grid, as torchao's quantize_affine has it
    activation    x + scale * std(x) * N at the input of every Linear; std over the prompt's positions together, then over each alone
    weight        W + scale * std(W) * N for each parameter with "weight" in its name, a tied embedding once

Under activation noise the law that is sampled is the mean over draws. Its divergence is corrected here by the second-order term
sum p Var(q)/(2 D M^2), not by the jackknife that gsmeval uses; its error is that of groups of draws.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import pathlib
import time

import torch
import torch.nn.functional as F
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "harness" / "study" / "testdata" / "fidelity"
TEMPERATURES = [0.8, 1.0, 1.2]
GROUPS = 8
QUESTION = "Rosa buys 3 boxes of pencils. Each box holds 12 pencils. She gives 7 pencils to her brother. How many pencils does she have left?"


def load(path):
    if path.suffix == ".gguf":
        where, kwargs = path.resolve().parent, {"gguf_file": path.resolve().name}
    else:
        where, kwargs = path, {}
    model = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, attn_implementation="eager", **kwargs).eval()
    return model, transformers.AutoTokenizer.from_pretrained(where, **kwargs)


def linears(model):
    return [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]


@contextlib.contextmanager
def activation_noise(model, scale, prompt):
    def hook(_module, args, kwargs):
        x = args[0]  # [draws, positions, features]
        together = x[:, :prompt].std(dim=(1, 2), keepdim=True).expand(-1, min(prompt, x.shape[1]), -1)
        std = torch.cat([together, x[:, prompt:].std(dim=2, keepdim=True)], 1)
        return (x + torch.randn_like(x) * scale * std, *args[1:]), kwargs

    handles = [m.register_forward_pre_hook(hook, with_kwargs=True) for _, m in linears(model)]
    try:
        yield
    finally:
        for h in handles:
            h.remove()


@contextlib.contextmanager
def changed_weights(model, change):
    kept = {n: p.data for n, p in model.named_parameters()}
    for n, p in model.named_parameters():
        p.data = change(n, p.data)
    try:
        yield
    finally:
        for n, p in model.named_parameters():
            p.data = kept[n]


def gaussian(scale):
    return lambda name, w: w + torch.randn_like(w) * scale * w.std() if "weight" in name else w


def rounded(bits, names):
    half = 2 ** (bits - 1)

    def change(name, w):
        if name not in names:
            return w
        w = w.float()
        scale = (w.abs().amax(1, keepdim=True) / ((2 * half - 1) / 2)).clamp(min=torch.finfo(torch.float32).eps)
        return (torch.clamp(torch.round(w * (1.0 / scale)), -half, half - 1) * scale).double()

    return change


def mean_error(by_draw):
    """Mean and standard error over draws of values [draws]."""
    n = len(by_draw)
    return by_draw.mean().item(), (by_draw.std() / n**0.5).item() if n > 1 else 0.0


def marginal(p, log_p, q):
    """KL(p || mean of q over draws), plain and corrected; p [positions, V], q [draws, positions, V]."""
    draws = len(q)
    m = q.mean(0)
    plugin = (p * (log_p - m.log())).sum(-1).mean().item()
    return plugin, plugin - (p * q.var(0) / (2 * draws * m * m)).sum(-1).mean().item()


def compare(clean, noisy, tokens, base, fresh):
    """clean [positions, V], noisy [draws, positions, V]."""
    log_p = F.log_softmax(clean / base, -1)
    p = log_p.exp()
    same = (noisy.argmax(-1) == clean.argmax(-1)).double()
    out = []
    for t in TEMPERATURES:
        log_q = F.log_softmax(noisy / t, -1)
        kl = (p * (log_p - log_q)).sum(-1)  # [draws, positions]
        at = torch.tensor(tokens)[:, None]
        lp, lq = log_p.gather(1, at)[:, 0], log_q.gather(2, at.expand(len(noisy), -1, -1))[..., 0]
        dp = lq.exp() - lp.exp()
        mean, se = mean_error(kl.mean(1))
        square, square_se = mean_error(dp.square().mean(1))
        dlog, dlog_se = mean_error((lp - lq).mean(1))
        quantiles = torch.quantile(kl.flatten(), torch.tensor([0.5, 0.9, 0.99, 0.999], dtype=kl.dtype)).tolist()
        row = {
            "t": t, "kld": {"mean": mean, **dict(zip(("p50", "p90", "p99", "p999"), quantiles, strict=True)), "max": kl.max().item()},
            "kld_se": se, "same_top": same.mean().item(), "same_top_se": mean_error(same.mean(1))[1],
            "mean_square_dp": square, "mean_square_dp_se": square_se, "log_ppl_ratio": dlog, "log_ppl_ratio_se": dlog_se,
        }  # fmt: skip
        if fresh:
            q = log_q.exp()
            plugin, corrected = marginal(p, log_p, q)
            parts = torch.tensor([marginal(p, log_p, part)[1] for part in q.chunk(GROUPS)])
            row["marginal_kld"] = {"plugin": plugin, "mean": corrected, "se": (parts.std() / GROUPS**0.5).item()}
        out.append(row)
    return out


@torch.no_grad()
def sample(model, prompt, n, ends):
    ids, past, cur = [], None, torch.tensor([prompt])
    while len(ids) < n and not (ids and ids[-1] in ends):
        o = model(cur, past_key_values=past, use_cache=True)
        past = o.past_key_values
        ids.append(int(torch.multinomial(torch.softmax(o.logits[0, -1], -1), 1)))
        cur = torch.tensor([[ids[-1]]])
    return ids


@torch.no_grad()
def measure(path, draws, positions, batch):
    model, tokenizer = load(path)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    matrices = {n + ".weight" for n, _ in linears(model)} - tied
    model.double()
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    chat = [{"role": "user", "content": "Solve this math problem step by step:\n" + QUESTION}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
    torch.manual_seed(17)
    text = sample(model, prompt, positions, ends)

    def logits(n=1):
        rows = [prompt + text[:-1]]
        return torch.cat([
            model(torch.tensor(rows).expand(min(batch, n - at), -1), use_cache=False).logits[:, len(prompt) - 1 :] for at in range(0, n, batch)
        ])  # fmt: skip

    def under_activation(scale):
        with activation_noise(model, scale, len(prompt)):
            return logits(draws)

    def under_weights(change, n):
        rows = []
        for _ in range(n):
            with changed_weights(model, change):
                rows.append(logits())
        return torch.cat(rows)

    clean = logits()[0]
    frozen = draws // 4  # each draws all weights anew
    cases = []
    for noise, n, base, fresh, noisy in [
        ("{kind: none}", 1, 1.0, False, lambda: clean[None]),
        ("{kind: none}", 1, 0.8, False, lambda: clean[None]),
        ("{weights: {kind: int, bits: 4}}", 1, 1.0, False, lambda: under_weights(rounded(4, matrices), 1)),
        ("{weights: {kind: int, bits: 8}}", 1, 0.8, False, lambda: under_weights(rounded(8, matrices), 1)),
        ("{kind: activation, scale: 0.1}", draws, 1.0, True, lambda: under_activation(0.1)),
        ("{kind: activation, scale: 0.2}", draws, 0.8, True, lambda: under_activation(0.2)),
        ("{kind: weight, scale: 0.05}", frozen, 1.0, False, lambda: under_weights(gaussian(0.05), frozen)),
    ]:
        begun = time.time()
        rows = compare(clean, noisy(), text, base, fresh)
        cases.append({"noise": noise, "draws": n, "base": base, "by_temperature": rows})
        print(f"{path.name} {noise} base {base}: {time.time() - begun:.0f} s; {json.dumps(rows[1])}", flush=True)
    weights = path if path.suffix == ".gguf" else path / "model.safetensors"
    return {
        "made": datetime.date.today().isoformat(), "torch": torch.__version__, "transformers": transformers.__version__,
        "model": path.as_posix(), "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "prompt": prompt, "continuation": text, "cases": cases,
    }  # fmt: skip


def short(v):
    if isinstance(v, float):
        return float(f"{v:.9g}")
    if isinstance(v, dict):
        return {k: short(x) for k, x in v.items()}
    return [short(x) for x in v] if isinstance(v, list) else v


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path, help="a model folder or GGUF file, from the root of the repository")
    parser.add_argument("--draws", type=int, default=256)
    parser.add_argument("--positions", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for path in args.models:
        golden = measure(path, args.draws, args.positions, args.batch)
        (OUT / f"{path.stem}.json").write_text(json.dumps(short(golden)) + "\n")


if __name__ == "__main__":
    main()
