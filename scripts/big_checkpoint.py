#!/usr/bin/env python3
"""A random checkpoint of about 2 GB, to measure loading on. It needs nothing but Python.

    python scripts/big_checkpoint.py DIR [GB]
    GSMEVAL_BIG_CHECKPOINT=DIR go test ./decode -run TestLoadBigCheckpoint -v

It is a Llama in bfloat16 in four shards with an index. The file is written as a stream, so that the memory needed is a few
megabytes; values are small and of either sign.
"""

import json
import os
import pathlib
import sys

HIDDEN, FF, HEADS, KV, VOCAB, SHARDS = 2048, 5632, 32, 8, 64000, 4
BLOCK = 8 << 20
# The high byte of a bfloat16 is its sign and most of its exponent: these are +-2^-7 to 2^-5.
HIGH = bytes(0x3C | (b & 0x80) for b in range(256))


def layer(i):
    at, kv = f"model.layers.{i}.", HIDDEN // HEADS * KV
    return [
        (at + "input_layernorm.weight", [HIDDEN]),
        (at + "post_attention_layernorm.weight", [HIDDEN]),
        (at + "self_attn.q_proj.weight", [HIDDEN, HIDDEN]),
        (at + "self_attn.k_proj.weight", [kv, HIDDEN]),
        (at + "self_attn.v_proj.weight", [kv, HIDDEN]),
        (at + "self_attn.o_proj.weight", [HIDDEN, HIDDEN]),
        (at + "mlp.gate_proj.weight", [FF, HIDDEN]),
        (at + "mlp.up_proj.weight", [FF, HIDDEN]),
        (at + "mlp.down_proj.weight", [HIDDEN, FF]),
    ]


def size(shape):
    n = 2
    for d in shape:
        n *= d
    return n


def write(path, tensors):
    header, at = {}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size(shape)]}
        at += size(shape)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        while at > 0:
            block = bytearray(os.urandom(min(BLOCK, at)))
            block[1::2] = block[1::2].translate(HIGH)
            f.write(block)
            at -= len(block)
        f.flush()
        os.fsync(f.fileno())


def main():
    folder, want = pathlib.Path(sys.argv[1]), float(sys.argv[2] if len(sys.argv) > 2 else 2) * 1e9
    folder.mkdir(parents=True, exist_ok=True)
    ends = [("model.embed_tokens.weight", [VOCAB, HIDDEN]), ("model.norm.weight", [HIDDEN]), ("lm_head.weight", [VOCAB, HIDDEN])]
    layers = max(1, round((want - sum(size(s) for _, s in ends)) / sum(size(s) for _, s in layer(0))))
    tensors = ends + [t for i in range(layers) for t in layer(i)]
    shards, total = [[] for _ in range(SHARDS)], sum(size(s) for _, s in tensors)
    done = 0
    for t in tensors:
        shards[min(SHARDS - 1, done * SHARDS // total)].append(t)
        done += size(t[1])
    weight_map = {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{SHARDS:05d}.safetensors"
        write(folder / name, shard)
        weight_map.update({t: name for t, _ in shard})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = dict(model_type="llama", vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=FF, num_hidden_layers=layers, num_attention_heads=HEADS,
                  num_key_value_heads=KV, tie_word_embeddings=False, torch_dtype="bfloat16")
    (folder / "config.json").write_text(json.dumps(config))
    print(f"{folder}: {layers} layers, {total / 1e9:.2f} GB")


main()
