#!/usr/bin/env python3
"""Small random checkpoints and what Hugging Face transformers computes from them.

    pip install torch==2.11.0 transformers==5.23.0 safetensors
    python scripts/goldens/parity.py [NAME...]           # writes decode/testdata/parity/NAME/
    python scripts/goldens/parity.py --dtypes [NAME...]  # writes dtypes.json there, for a checkpoint that is there

Each folder holds config.json, the weights and golden.json: the logits of the last position for prompts of several lengths, all
logits of one short prompt, and 200 greedy tokens. Weights are drawn wide enough that logits differ, and a seed is only accepted
if, at every greedy step, the best logit leads the second by far more than float32 rounding can move it. dtypes.json holds logits
along that greedy path as transformers computes them in bfloat16 and float16.
"""

import copy
import datetime
import json
import pathlib
import shutil
import sys

import safetensors.torch
import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parents[2] / "decode" / "testdata" / "parity"
LENGTHS = [1, 2, 7, 64, 300]
FEWER = [1, 7, 300]  # where the sequence must stay below 512
SCALED = [1, 7, 64, 700]  # the original context is 64
GREEDY = 200
VOCAB = 160
EVERY = 9  # dtypes.json has every so many positions

BASE = dict(vocab_size=VOCAB, max_position_embeddings=1024, rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=None, pad_token_id=None)


def qwen2(**kw):
    theta = kw.pop("rope_theta", 10000.0)
    return transformers.Qwen2Config(**BASE, rope_parameters={"rope_type": "default", "rope_theta": theta}, **kw)


def small(cls, rope=None, **kw):
    """A smaller vocabulary, so that a checkpoint takes 40 KB."""
    sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    parameters = {"rope_type": "default", "rope_theta": 10000.0, **(rope or {})}
    return cls(**{**BASE, "vocab_size": 96, **sizes, "rope_parameters": parameters, **kw})


def gemma3(full=None, **kw):
    """Two of three layers slide, and rotate by a base of their own."""
    n = kw["num_hidden_layers"]
    rope = {
        "full_attention": {"rope_type": "default", "rope_theta": 1000000.0, **(full or {})},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    types = ["full_attention" if i % 3 == 1 else "sliding_attention" for i in range(n)]
    sizes = dict(hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2)
    return transformers.Gemma3TextConfig(**{**BASE, "vocab_size": 96, **sizes, "rope_parameters": rope, "layer_types": types, **kw})


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
LINEAR = {"rope_type": "linear", "factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0, "original_max_position_embeddings": 64}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.02, 1.05, 1.1, 1.3, 1.7],
    "long_factor": [1.0, 1.5, 2.5, 4.0, 8.0, 16.0],
    "original_max_position_embeddings": 512,
    "partial_rotary_factor": 0.75,
}

# name -> (config, options). spelling 4 rewrites config.json as transformers 4 wrote it; gap is the least lead;
# store the dtype of the file, to which the weights are rounded first; lengths those of the prompts; embed the spread of the embedding,
# small where a tied model would only repeat its last token; rewrite changes the files in a way that transformers must read as the same model.
CASES = {
    "qwen2-tied-gqa2": (lambda: qwen2(hidden_size=32, intermediate_size=56, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True), {}),
    "qwen2-untied-gqa1": (lambda: qwen2(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False), {}),
    "qwen2-gqa7-theta1e6": (lambda: qwen2(hidden_size=56, intermediate_size=64, num_hidden_layers=2, num_attention_heads=7, num_key_value_heads=1, tie_word_embeddings=True, rope_theta=1e6), {}),
    "qwen2-headdim": (lambda: qwen2(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=False), {}),
    "qwen2-sharded": (lambda: qwen2(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=False), {"shard": "24KB"}),
    "qwen2-spelling4-theta1e6": (lambda: qwen2(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5, num_key_value_heads=5, tie_word_embeddings=True, rope_theta=1e6), {"spelling": 4}),
    "llama-untied-gqa4": (lambda: small(transformers.LlamaConfig, num_key_value_heads=1, tie_word_embeddings=False), {"store": "bfloat16"}),
    "llama-tied-biases-theta5e5": (lambda: small(transformers.LlamaConfig, {"rope_theta": 500000.0}, hidden_size=24, head_dim=16, attention_bias=True, mlp_bias=True, tie_word_embeddings=True), {"store": "float16"}),
    "llama-tied-llama3": (lambda: small(transformers.LlamaConfig, LLAMA3, tie_word_embeddings=True), {"gap": 1e-3, "store": "bfloat16", "spelling": 4, "lengths": SCALED}),
    "llama-untied-linear": (lambda: small(transformers.LlamaConfig, LINEAR, tie_word_embeddings=False), {"gap": 1e-3, "store": "bfloat16", "lengths": SCALED}),
    "llama-untied-yarn": (lambda: small(transformers.LlamaConfig, YARN, tie_word_embeddings=False), {"gap": 1e-3, "store": "bfloat16", "spelling": 4, "lengths": SCALED}),
    "qwen2-tied-yarn": (lambda: small(transformers.Qwen2Config, YARN, tie_word_embeddings=True), {"gap": 1e-3, "store": "bfloat16", "lengths": SCALED}),
    "qwen3-tied-headdim": (lambda: small(transformers.Qwen3Config, {"rope_theta": 1000000.0}, hidden_size=24, head_dim=16, tie_word_embeddings=True), {"gap": 1e-3, "embed": 0.3, "store": "bfloat16", "spelling": 4}),
    "qwen3-untied-yarn": (lambda: small(transformers.Qwen3Config, {**YARN, "attention_factor": 1.2, "beta_fast": 24.0}, head_dim=8, attention_bias=True, tie_word_embeddings=False), {"gap": 1e-3, "store": "bfloat16", "lengths": SCALED}),
    "mistral-untied-window512": (lambda: small(transformers.MistralConfig, sliding_window=512, tie_word_embeddings=False), {"gap": 1e-3, "store": "bfloat16", "spelling": 4, "lengths": FEWER}),
    "mistral-tied-linear": (lambda: small(transformers.MistralConfig, {**LINEAR, "rope_theta": 1000000.0}, sliding_window=None, head_dim=16, tie_word_embeddings=True), {"gap": 1e-3, "embed": 0.3, "store": "bfloat16", "lengths": SCALED}),
    "phi3-untied": (lambda: small(transformers.Phi3Config, num_key_value_heads=4, tie_word_embeddings=False), {"gap": 1e-3, "store": "bfloat16", "spelling": 4, "lengths": FEWER}),
    "phi3-tied-longrope512": (lambda: small(transformers.Phi3Config, LONG, hidden_size=48, num_attention_heads=3, num_key_value_heads=1, original_max_position_embeddings=512, tie_word_embeddings=True), {"gap": 1e-3, "embed": 0.3, "store": "bfloat16", "lengths": FEWER}),
    "gemma2-tied-window512": (lambda: small(transformers.Gemma2Config, head_dim=12, query_pre_attn_scalar=16, sliding_window=512, attn_logit_softcapping=5.0, final_logit_softcapping=12.0, tie_word_embeddings=True), {"gap": 1e-3, "embed": 0.05, "store": "bfloat16", "spelling": 4, "lengths": FEWER}),
    "llama-tied-other-head": (lambda: small(transformers.LlamaConfig, tie_word_embeddings=False), {"gap": 1e-3, "store": "bfloat16", "lengths": [7], "rewrite": lambda d: say_tied(d)}),
    "llama-untied-without-prefix": (lambda: small(transformers.LlamaConfig, tie_word_embeddings=False), {"gap": 1e-3, "store": "bfloat16", "lengths": [7], "rewrite": lambda d: strip_prefix(d)}),
    "gemma3-tied-window512": (lambda: gemma3(head_dim=12, query_pre_attn_scalar=16, num_hidden_layers=3, sliding_window=512, tie_word_embeddings=True), {"gap": 1e-3, "embed": 0.05, "store": "bfloat16", "lengths": FEWER}),
    "gemma3-untied-linear": (lambda: gemma3({"rope_type": "linear", "factor": 8.0}, head_dim=8, query_pre_attn_scalar=8, num_hidden_layers=2, sliding_window=1024, tie_word_embeddings=False), {"gap": 1e-3, "embed": 0.2, "store": "bfloat16", "lengths": [7, 700]}),
    "gemma2-untied-linear": (lambda: small(transformers.Gemma2Config, LINEAR, head_dim=8, query_pre_attn_scalar=8, sliding_window=1024, tie_word_embeddings=False), {"gap": 1e-3, "embed": 0.2, "store": "bfloat16", "lengths": SCALED}),
}

# The checkpoints that are computed in other dtypes too, one for each architecture.
DTYPES = ["qwen2-tied-gqa2", "llama-tied-llama3", "qwen3-tied-headdim", "mistral-untied-window512", "phi3-untied", "gemma2-tied-window512", "gemma3-tied-window512"]


def widen(model, seed, embed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                one = 0 if model.config.model_type.startswith("gemma") else 1  # gemma adds the 1 itself
                p.copy_(one + 0.2 * torch.randn(p.shape, generator=g))
            elif name.endswith("bias"):
                p.copy_(0.2 * torch.randn(p.shape, generator=g))
            else:
                std = embed if "embed" in name else 1.4 / p.shape[-1] ** 0.5
                p.copy_(std * torch.randn(p.shape, generator=g))


def prompt(n, seed, vocab):
    return torch.randint(0, vocab, (n,), generator=torch.Generator().manual_seed(1000 + seed)).tolist()


def greedy(model, ids, least):
    """The greedy path and its smallest lead; given up at a lead below least."""
    out, gap = [], float("inf")
    past, cur = None, torch.tensor([ids])
    for _ in range(GREEDY):
        o = model(cur, past_key_values=past, use_cache=True)
        z = o.logits[0, -1].double()
        past = o.past_key_values
        top = torch.topk(z, 2).values
        gap = min(gap, float((top[0] - top[1]) / z.abs().max()))
        if gap < least:
            return [], gap
        out.append(int(z.argmax()))
        cur = torch.tensor([[out[-1]]])
    return out, gap


def to_spelling4(folder):
    path = folder / "config.json"
    c = json.loads(path.read_text())
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope.pop("rope_theta")
    rope.pop("partial_rotary_factor", None)
    kind = rope.pop("rope_type")
    c["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.44.0"
    path.write_text(json.dumps(c, indent=2) + "\n")


def say_tied(folder):
    """A config.json that ties an lm_head which is stored and differs."""
    path = folder / "config.json"
    path.write_text(json.dumps(dict(json.loads(path.read_text()), tie_word_embeddings=True), indent=2) + "\n")


def strip_prefix(folder):
    path = folder / "model.safetensors"
    weights = {k.removeprefix("model."): v for k, v in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})


@torch.no_grad()
def make(name):
    config, opt = CASES[name]
    least = opt.get("gap", 2e-3)
    for seed in range(1000):
        model = transformers.AutoModelForCausalLM.from_config(config(), attn_implementation="eager").float().eval()
        widen(model, seed, opt.get("embed", 1.0))
        store = getattr(torch, opt.get("store", "float32"))
        for p in model.parameters():
            p.copy_(p.to(store))
        vocab = model.config.vocab_size
        start = prompt(12, 7, vocab)
        ids, gap = greedy(model, start, least)
        if gap > least and len(set(ids)) > 20:
            break
    else:
        sys.exit(f"{name}: no seed gives a greedy path without near ties")
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.config.dtype = store
    stored = copy.deepcopy(model).to(store)
    stored.save_pretrained(folder, max_shard_size=opt.get("shard", "1GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if opt.get("spelling") == 4:
        to_spelling4(folder)
    if "rewrite" in opt:
        opt["rewrite"](folder)
        again = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        assert torch.equal(again(torch.tensor([start])).logits, model(torch.tensor([start])).logits), f"{name}: transformers loads another model"
    golden = {
        "made": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "seed": seed,
        "gap": gap,
        "last": [],
        "greedy": {"prompt": start, "ids": ids},
    }
    for n in opt.get("lengths", LENGTHS):
        p = prompt(n, n, vocab)
        golden["last"].append({"prompt": p, "logits": [float(f"{v:.8g}") for v in model(torch.tensor([p])).logits[0, -1].tolist()]})
    p = prompt(5, 55, vocab)
    golden["all"] = {"prompt": p, "logits": [[float(f"{v:.8g}") for v in row] for row in model(torch.tensor([p])).logits[0].tolist()]}
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, "seed", seed, "gap", f"{gap:.4f}", sum(f.stat().st_size for f in folder.iterdir()) // 1024, "KB")


@torch.no_grad()
def make_dtypes(name):
    folder = OUT / name
    path = json.loads((folder / "golden.json").read_text())["greedy"]
    ids = torch.tensor([path["prompt"] + path["ids"][:-1]])
    out = {"made": datetime.date.today().isoformat(), "torch": torch.__version__, "transformers": transformers.__version__, "every": EVERY}
    for dtype in ["bfloat16", "float16"]:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation="eager").eval()
        out[dtype] = [[float(f"{v:.5g}") for v in row] for row in model(ids).logits[0, ::EVERY].float().tolist()]
    (folder / "dtypes.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(name, "dtypes", (folder / "dtypes.json").stat().st_size // 1024, "KB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--dtypes"]:
        for name in sys.argv[2:] or DTYPES:
            make_dtypes(name)
    else:
        for name in sys.argv[1:] or CASES:
            make(name)
