#!/usr/bin/env python3
"""alpha(t) as Hugging Face transformers gives it, for the cross-check of gsmeval's.

    pip install torch==2.11.0 transformers==5.23.0 safetensors
    python scripts/goldens/alpha_hf.py decode/testdata/parity/qwen2-tied-gqa2 decode/testdata/parity/qwen2-untied-gqa1
    python scripts/goldens/alpha_hf.py models/gsm-tiny --draws 64          # each writes harness/study/testdata/alpha_hf/NAME.json

Noise is injected from outside, by forward pre-hooks on every nn.Linear and by changing named_parameters, with torch's own random
numbers: nothing is shared with gsmeval but the definition. alpha = Var(noisy - clean) / Var(clean) over the vocabulary, by teacher
forcing along the clean greedy continuation of each prompt, at chosen generated tokens t:

    activation, kv_cache false   every t is a forward pass of its own over the whole prefix; std is over the whole input of the Linear
    activation, kv_cache true    prefill, then token by token on past_key_values: std is over the prompt, then over one position
    weight                       W + scale * std(W) * N for each parameter with "weight" in its name (a tied embedding once)

Draws under activation noise are the rows of a batch, each with a std of its own: what a batch of one would have.
A model with a tokenizer is asked questions through its chat template; one without gets prompts of arbitrary ids.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import pathlib
import time

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "harness" / "study" / "testdata" / "alpha_hf"
BATCH = 64
POSITIONS = [0, 1, 2, 4, 8, 16, 24, 32, 48, 63]
INSTRUCTION = "Solve this math problem step by step:\n"
QUESTIONS = [
    "Rosa buys 3 boxes of pencils. Each box holds 12 pencils. She gives 7 pencils to her brother. How many pencils does she have left?",
    "A bakery sells 48 rolls in the morning and half as many in the afternoon. Each roll costs $2. How much money does the bakery make?",
]


def prompts_of(folder, model):
    if (folder / "tokenizer.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        turns = [[{"role": "user", "content": INSTRUCTION + q}] for q in QUESTIONS]
        return [tokenizer.apply_chat_template(t, add_generation_prompt=True, return_dict=True)["input_ids"] for t in turns]
    draw = torch.Generator().manual_seed(5)
    return [torch.randint(0, model.config.vocab_size, (n,), generator=draw).tolist() for n in (5, 23)]


@contextlib.contextmanager
def weight_noise(model, scale):
    kept = {}
    for name, p in model.named_parameters():
        if "weight" in name:
            kept[name] = p.data.clone()
            p.data.add_(torch.randn_like(p.data) * scale * p.data.std())
    try:
        yield
    finally:
        for name, p in model.named_parameters():
            if name in kept:
                p.data.copy_(kept[name])


@contextlib.contextmanager
def activation_noise(model, scale):
    def hook(_module, args, kwargs):
        x = args[0]  # [draws, positions, features]
        return (x + torch.randn_like(x) * scale * x.std(dim=(1, 2), keepdim=True), *args[1:]), kwargs

    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    handles = [m.register_forward_pre_hook(hook, with_kwargs=True) for m in linears]
    try:
        yield
    finally:
        for h in handles:
            h.remove()


def repeat(ids, draws):
    return torch.tensor([ids]).expand(draws, -1)


def prefix_by_prefix(model, prompt, continuation, positions, draws):
    """Logits [draws, positions, V], each position from a pass of its own over the whole prefix."""
    return torch.stack([model(repeat(prompt + continuation[:t], draws), use_cache=False).logits[:, -1] for t in positions], 1)


def token_by_token(model, prompt, continuation, positions, draws):
    """Logits [draws, positions, V] from a prefill and one cached step for each later token."""
    o = model(repeat(prompt, draws), use_cache=True)
    rows = [o.logits[:, -1]]
    for token in continuation[: max(positions)]:
        o = model(repeat([token], draws), past_key_values=o.past_key_values, use_cache=True)
        rows.append(o.logits[:, -1])
    return torch.stack([rows[t] for t in positions], 1)


def under_activation_noise(logits):
    def sample(model, prompt, continuation, positions, scale, draws):
        with activation_noise(model, scale):
            return logits(model, prompt, continuation, positions, draws)

    return sample


def under_weight_noise(model, prompt, continuation, positions, scale, draws):
    # The noise of a weight does not depend on the pass: one pass over the whole sequence has every position.
    rows = []
    for _ in range(draws):
        with weight_noise(model, scale):
            logits = model(torch.tensor([prompt + continuation[: max(positions)]]), use_cache=False).logits[0]
        rows.append(logits[[len(prompt) - 1 + t for t in positions]])
    return torch.stack(rows)


CASES = [
    ("activation", False, under_activation_noise(prefix_by_prefix)),
    ("activation", True, under_activation_noise(token_by_token)),
    ("weight", None, under_weight_noise),
]


def greedy(model, prompt, n, ends):
    ids, past, cur = [], None, torch.tensor([prompt])
    while len(ids) < n and not (ids and ids[-1] in ends):
        o = model(cur, past_key_values=past, use_cache=True)
        past = o.past_key_values
        ids.append(int(o.logits[0, -1].argmax()))
        cur = torch.tensor([[ids[-1]]])
    return ids


def summary(values):
    """Mean over draws and its standard error, of values [draws, ...]."""
    return values.mean(0).tolist(), (values.std(0) / len(values) ** 0.5).tolist()


@torch.no_grad()
def measure(folder, scale, draws):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    prompts = prompts_of(folder, model)
    continuations = [greedy(model, p, max(POSITIONS) + 1, ends) for p in prompts]
    cases = []
    for index, (kind, kv_cache, sample) in enumerate(CASES):
        for i, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
            begun = time.time()
            positions = [t for t in POSITIONS if t < len(continuation)]
            clean = prefix_by_prefix(model, prompt, continuation, positions, 1).double()
            torch.manual_seed(100 * index + i)
            alpha = []
            for at in range(0, draws, BATCH):
                noisy = sample(model, prompt, continuation, positions, scale, min(BATCH, draws - at)).double()
                alpha.append((noisy - clean).var(-1) / clean.var(-1))
            alpha = torch.cat(alpha)  # [draws, positions]
            mean, se = summary(alpha)
            mean_all, se_all = summary(alpha.mean(1))
            cases.append({
                "noise": kind, "kv_cache": kv_cache, "prompt": i, "positions": positions,
                "alpha": [float(f"{v:.6g}") for v in mean], "se": [float(f"{v:.6g}") for v in se],
                "mean_alpha": float(f"{mean_all:.6g}"), "mean_se": float(f"{se_all:.6g}"),
            })
            print(f"{folder.name} {kind} kv_cache={kv_cache} prompt {i}: mean alpha {mean_all:.5f} +- {se_all:.5f}, {time.time() - begun:.0f} s", flush=True)
    return {
        "made": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "model": folder.resolve().relative_to(ROOT).as_posix(),
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "scale": scale,
        "draws": draws,
        "prompts": prompts,
        "continuations": continuations,
        "cases": cases,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path, help="model folders")
    parser.add_argument("--scale", type=float, default=0.05)
    parser.add_argument("--draws", type=int, default=256)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for folder in args.models:
        golden = measure(folder, args.scale, args.draws)
        (OUT / f"{folder.resolve().name}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
