"""The benchmark of a GPU: random weights in the exact shapes of Qwen2.5-0.5B and R1-Distill-Qwen-1.5B, noise off and on.

    gpu_bench.py [--quick] --work DIR

It prints Markdown. gsmeval is measured through bin/bench-step (whole generations of two lengths, the difference over the steps);
transformers, where it is installed, by generate() with a static cache, with forward pre-hooks for the noise, and by the notebook's loop,
on the same machine right after. The roof is the time that reading the weights once takes at the bandwidth that a copy of 1 GB shows here.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHAPES = {
    "0.5B": dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                 max_position_embeddings=32768, rope_theta=1000000.0, tie_word_embeddings=True),
    "1.5B": dict(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
                 max_position_embeddings=131072, rope_theta=10000.0, tie_word_embeddings=False),
}
COMMON = dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu", rms_norm_eps=1e-6, torch_dtype="bfloat16",
              use_sliding_window=False, vocab_size=151936, bos_token_id=None, eos_token_id=2, pad_token_id=0, attention_dropout=0.0,
              initializer_range=0.02, use_cache=True)


def write_safetensors(path, tensors):
    """A safetensors file, written here so that torch is all that is needed."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(t.shape), "data_offsets": [at, at + 2 * t.numel()]}
        at += 2 * t.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for t in tensors.values():
            f.write(t.contiguous().view(torch.uint8).cpu().numpy().tobytes())


def checkpoint(name, out):
    c = COMMON | SHAPES[name]
    out.mkdir(parents=True)
    torch.manual_seed(42)
    d, ff, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    kv = d // c["num_attention_heads"] * c["num_key_value_heads"]

    def random(*shape):
        return (torch.randn(*shape, device="cuda") * c["initializer_range"]).to(torch.bfloat16).cpu()

    w = {"model.embed_tokens.weight": random(v, d), "model.norm.weight": torch.ones(d, dtype=torch.bfloat16)}
    if not c["tie_word_embeddings"]:
        w["lm_head.weight"] = random(v, d)
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            w[f"{at}{norm}.weight"] = torch.ones(d, dtype=torch.bfloat16)
        for linear, rows, columns in (
            ("self_attn.q_proj", d, d), ("self_attn.k_proj", kv, d), ("self_attn.v_proj", kv, d), ("self_attn.o_proj", d, d),
            ("mlp.gate_proj", ff, d), ("mlp.up_proj", ff, d), ("mlp.down_proj", d, ff),
        ):
            w[f"{at}{linear}.weight"] = random(rows, columns)
            if linear in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
                w[f"{at}{linear}.bias"] = random(rows)
    for f in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(ROOT / "models/gsm-tiny" / f, out / f)
    (out / "config.json").write_text(json.dumps(c))
    write_safetensors(out / "model.safetensors", w)
    embedding = 0 if c["tie_word_embeddings"] else w["model.embed_tokens.weight"].numel()  # looked up, not read whole
    return sum(t.numel() for t in w.values()) - embedding


def bandwidth():
    """Bytes a second that a copy within the GPU's memory reads and writes."""
    a = torch.empty(1 << 29, dtype=torch.int16, device="cuda")
    b = torch.empty_like(a)
    best = 0
    for _ in range(10):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        b.copy_(a)
        torch.cuda.synchronize()
        best = max(best, 2 * a.nbytes / (time.perf_counter() - begin))
    return best


class Step:
    """bin/bench-step with one model loaded."""

    def __init__(self, model, dtype, *flags):
        self.process = subprocess.Popen([ROOT / "bin/bench-step", "-model", model, "-dtype", dtype, "-device", "cuda:0", *flags],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"bench-step ended with code {self.process.wait()}")
        return json.loads(line)

    def ms(self, batch, prompt, steps, noise):
        q = dict(op="rate", batch=batch, prompt=prompt, steps=steps, warm=8, noise=noise)
        self.process.stdin.write(json.dumps(q) + "\n")
        self.process.stdin.flush()
        return self.read()["step_ms"][0]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def hf(model, dtype, batch, prompt, steps, noise, notebook=False):
    import transformers

    m = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).cuda().eval()
    m.generation_config = transformers.GenerationConfig(pad_token_id=0)
    hooks = []
    if noise:
        def pre(_, args):
            return (args[0] + torch.randn_like(args[0]) * noise * args[0].std(),) + args[1:]
        hooks = [l.register_forward_pre_hook(pre) for l in m.modules() if isinstance(l, torch.nn.Linear)]
    ids = torch.randint(3, 1024, (batch, prompt), device="cuda")

    def once(n):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        with torch.no_grad():
            if notebook:  # batch 1, the whole prefix anew at every step
                x = ids[:1]
                for _ in range(n):
                    z = m(x, use_cache=False).logits[0, -1].float()
                    x = torch.cat([x, torch.multinomial(torch.softmax(z, -1), 1)[None]], 1)
                    x[0, -1].item()
            else:
                m.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, do_sample=True, temperature=1.0,
                           top_k=0, top_p=1.0, cache_implementation="static", disable_compile=bool(noise))
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    once(1 + steps)
    result = (once(1 + steps) - once(1)) / steps * 1000
    for h in hooks:
        h.remove()
    return result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true")
    p.add_argument("--work", type=pathlib.Path, required=True)
    a = p.parse_args()
    roof = bandwidth()
    steps, noises = (32 if a.quick else 128), (0, 0.05)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; a copy moves {roof / 1e12:.2f} TB/s\n")
    print("| Model | dtype | Batch | Noise | Step ms | tokens/s | of the roof | noise costs | transformers ms | times faster |")
    print("|---|---|--:|---|--:|--:|--:|--:|--:|--:|")
    for name in SHAPES:
        model = a.work / name
        parameters = checkpoint(name, model)
        for dtype in ("bfloat16", "float32"):
            step = Step(model, dtype)
            for batch in (1, 64) if a.quick else (1, 8, 32, 64, 128):
                clean = None
                for noise in noises:
                    ms = step.ms(batch, 100, steps, noise)
                    clean = clean or ms
                    bytes_read = parameters * (2 if dtype == "bfloat16" else 4)
                    try:
                        peer = hf(model, dtype, batch, 100, 16 if a.quick else 64, noise)
                        against = f"{peer:.2f} | {peer / ms:.1f}"
                    except ImportError:
                        against = "not installed | –"
                    torch.cuda.empty_cache()
                    cost = f"{100 * (ms / clean - 1):.0f} %" if noise else "–"
                    print(f"| {name} | {dtype} | {batch} | {noise or 'none'} | {ms:.3f} | {batch / ms * 1000:.0f} | "
                          f"{100 * bytes_read / roof * 1000 / ms:.0f} % | {cost} | {against} |", flush=True)
            step.close()
        try:
            ms = hf(model, "bfloat16", 1, 100, 16, 0.05, notebook=True)
            print(f"| {name} | bfloat16 | 1, the notebook's loop | 0.05 | | | | | {ms:.2f} | |", flush=True)
        except ImportError:
            pass
        shutil.rmtree(model)
    print("\nNot in the table: graphs against eager (bench-step -no-graphs), the whole GSM8K.")


main()
