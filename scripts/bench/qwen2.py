"""Checkpoints of random weights in the shapes of Qwen2 models, for the benches: speed does not depend on what the weights hold.

torch is all that is needed to make one.
"""

import ctypes
import json
import shutil

SHAPES = {
    "Qwen2.5-0.5B": dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                         max_position_embeddings=32768, rope_theta=1000000.0, tie_word_embeddings=True, vocab_size=151936),
    "R1-Distill-Qwen-1.5B": dict(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
                                 max_position_embeddings=131072, rope_theta=10000.0, tie_word_embeddings=False, vocab_size=151936),
    # To try a bench, not to measure anything; the vocabulary is the bundled tokenizer's.
    "tiny": dict(hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                 max_position_embeddings=2048, rope_theta=10000.0, tie_word_embeddings=False, vocab_size=1024),
}
COMMON = dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu", rms_norm_eps=1e-6, torch_dtype="bfloat16",
              use_sliding_window=False, bos_token_id=None, eos_token_id=2, pad_token_id=0, attention_dropout=0.0, initializer_range=0.02, use_cache=True)


def tensors(c, device="cpu"):
    """The weights of a config by their names, in bfloat16."""
    import torch

    torch.manual_seed(42)
    d, ff, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    kv = d // c["num_attention_heads"] * c["num_key_value_heads"]

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float32, device=device).mul_(c["initializer_range"]).to(torch.bfloat16).cpu()

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
    return w


def write_safetensors(path, weights):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, t in weights.items():
        header[name] = {"dtype": "BF16", "shape": list(t.shape), "data_offsets": [at, at + 2 * t.numel()]}
        at += 2 * t.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for t in weights.values():
            f.write((ctypes.c_char * (2 * t.numel())).from_address(t.data_ptr()))  # contiguous; without numpy


def make(shape, out, bundled, device="cpu"):
    """Makes the folder out; returns how many parameters a decode step reads: all but an embedding that is no lm_head."""
    c = COMMON | SHAPES[shape]
    out.mkdir(parents=True, exist_ok=True)
    w = tensors(c, device)
    # The bundled tokenizer's ids are the first of the vocabulary; the others have no text.
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(bundled / name, out / name)
    (out / "config.json").write_text(json.dumps(c, indent=2) + "\n")
    write_safetensors(out / "model.safetensors", w)
    return sum(t.numel() for name, t in w.items() if name != "model.embed_tokens.weight" or c["tie_word_embeddings"])
