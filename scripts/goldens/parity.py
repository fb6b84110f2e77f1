#!/usr/bin/env python3
"""Small random checkpoints and what Hugging Face transformers computes from them.

    pip install torch==2.11.0 transformers==5.23.0 safetensors
    python scripts/goldens/parity.py            # writes decode/testdata/parity/NAME/

Each folder holds config.json, the weights and golden.json: the logits of the last position for prompts of several lengths, all
logits of one short prompt, and 200 greedy tokens. Weights are drawn wide enough that logits differ, and a seed is only accepted
if, at every greedy step, the best logit leads the second by far more than float32 rounding can move it.
"""

import datetime
import json
import pathlib
import shutil
import sys

import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parents[2] / "decode" / "testdata" / "parity"
LENGTHS = [1, 2, 7, 64, 300]
GREEDY = 200
VOCAB = 160

BASE = dict(vocab_size=VOCAB, max_position_embeddings=1024, rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=None, pad_token_id=None)


def qwen2(**kw):
    theta = kw.pop("rope_theta", 10000.0)
    return transformers.Qwen2Config(**BASE, rope_parameters={"rope_type": "default", "rope_theta": theta}, **kw)


# name -> (config, options). spelling 4 rewrites config.json as transformers 4 wrote it.
CASES = {
    "qwen2-tied-gqa2": (lambda: qwen2(hidden_size=32, intermediate_size=56, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True), {}),
    "qwen2-untied-gqa1": (lambda: qwen2(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False), {}),
    "qwen2-gqa7-theta1e6": (lambda: qwen2(hidden_size=56, intermediate_size=64, num_hidden_layers=2, num_attention_heads=7, num_key_value_heads=1, tie_word_embeddings=True, rope_theta=1e6), {}),
    "qwen2-headdim": (lambda: qwen2(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=False), {}),
    "qwen2-sharded": (lambda: qwen2(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=False), {"shard": "24KB"}),
    "qwen2-spelling4-theta1e6": (lambda: qwen2(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5, num_key_value_heads=5, tie_word_embeddings=True, rope_theta=1e6), {"spelling": 4}),
}


def widen(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=g))
            elif name.endswith("bias"):
                p.copy_(0.2 * torch.randn(p.shape, generator=g))
            else:
                std = 1.0 if "embed" in name else 1.4 / p.shape[-1] ** 0.5
                p.copy_(std * torch.randn(p.shape, generator=g))


def prompt(n, seed):
    return torch.randint(0, VOCAB, (n,), generator=torch.Generator().manual_seed(1000 + seed)).tolist()


def greedy(model, ids):
    out, gap = [], float("inf")
    past, cur = None, torch.tensor([ids])
    for _ in range(GREEDY):
        o = model(cur, past_key_values=past, use_cache=True)
        z = o.logits[0, -1].double()
        past = o.past_key_values
        top = torch.topk(z, 2).values
        gap = min(gap, float((top[0] - top[1]) / z.abs().max()))
        out.append(int(z.argmax()))
        cur = torch.tensor([[out[-1]]])
    return out, gap


def to_spelling4(folder):
    path = folder / "config.json"
    c = json.loads(path.read_text())
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    c["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.44.0"
    path.write_text(json.dumps(c, indent=2) + "\n")


@torch.no_grad()
def make(name):
    config, opt = CASES[name]
    for seed in range(200):
        model = transformers.AutoModelForCausalLM.from_config(config(), attn_implementation="eager").float().eval()
        widen(model, seed)
        start = prompt(12, 7)
        ids, gap = greedy(model, start)
        if gap > 2e-3 and len(set(ids)) > 20:
            break
    else:
        sys.exit(f"{name}: no seed gives a greedy path without near ties")
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.config.dtype = torch.float32
    model.save_pretrained(folder, max_shard_size=opt.get("shard", "1GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if opt.get("spelling") == 4:
        to_spelling4(folder)
    golden = {
        "made": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "seed": seed,
        "gap": gap,
        "last": [],
        "greedy": {"prompt": start, "ids": ids},
    }
    for n in LENGTHS:
        p = prompt(n, n)
        golden["last"].append({"prompt": p, "logits": [float(f"{v:.8g}") for v in model(torch.tensor([p])).logits[0, -1].tolist()]})
    p = prompt(5, 55)
    golden["all"] = {"prompt": p, "logits": [[float(f"{v:.8g}") for v in row] for row in model(torch.tensor([p])).logits[0].tolist()]}
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, "seed", seed, "gap", f"{gap:.4f}", sum(f.stat().st_size for f in folder.iterdir()) // 1024, "KB")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name)
