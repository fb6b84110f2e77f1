#!/usr/bin/env python3
"""The rotary frequencies of published and made-up configs, as transformers computes them, bit for bit.

    pip install torch==2.11.0 transformers==5.23.0
    python scripts/goldens/rope.py > decode/model/testdata/rope.json

Each case is the part of a config.json that matters, the bits of the float32 inverse frequencies and the factor on cos and sin.
"""

import datetime
import json

import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

SIZES = dict(vocab_size=100, intermediate_size=8, num_hidden_layers=1, hidden_size=64, num_attention_heads=4, num_key_value_heads=2)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}

CASES = [
    ("llama 2", "llama", dict(head_dim=128)),
    ("llama 3", "llama", dict(head_dim=128, rope_parameters={"rope_type": "default", "rope_theta": 500000.0})),
    ("llama 3.1", "llama", dict(head_dim=128, max_position_embeddings=131072, rope_parameters={**LLAMA3, "factor": 8.0})),
    ("llama 3.2", "llama", dict(head_dim=64, max_position_embeddings=131072, rope_parameters={**LLAMA3, "factor": 32.0})),
    ("llama3 with other bounds", "llama", dict(head_dim=16, rope_parameters={**LLAMA3, "factor": 3.0, "low_freq_factor": 0.7, "high_freq_factor": 5.3, "original_max_position_embeddings": 100})),
    ("linear", "llama", dict(head_dim=64, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0})),
    ("qwen2.5 with yarn", "qwen2", dict(head_dim=128, max_position_embeddings=131072, rope_parameters={"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 32768})),
    ("yarn, not truncated, own factor", "llama", dict(head_dim=32, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 7.0, "original_max_position_embeddings": 300, "truncate": False, "attention_factor": 1.37})),
    ("yarn with mscale", "llama", dict(head_dim=64, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "original_max_position_embeddings": 4096, "beta_fast": 24, "beta_slow": 2, "mscale": 0.707, "mscale_all_dim": 1.1})),
    ("yarn with an empty range", "llama", dict(head_dim=4, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 1.0, "original_max_position_embeddings": 2})),
    ("longrope", "phi3", dict(hidden_size=64, num_attention_heads=2, max_position_embeddings=131072, original_max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "short_factor": [1 + i / 7 for i in range(12)], "long_factor": [1.0 + i for i in range(12)]})),
]
KINDS = {"llama": (transformers.LlamaConfig, LlamaRotaryEmbedding), "qwen2": (transformers.Qwen2Config, Qwen2RotaryEmbedding), "phi3": (transformers.Phi3Config, Phi3RotaryEmbedding)}


def main():
    cases = []
    for name, kind, keys in CASES:
        make, rope = KINDS[kind]
        config = make(**{**SIZES, **keys})
        r = rope(config)
        cases.append({
            "name": name,
            "config": {"model_type": kind, **SIZES, **keys},
            "bits": r.inv_freq.view(torch.int32).tolist(),
            "scale": float(r.attention_scaling),
        })
    print(json.dumps({"made": datetime.date.today().isoformat(), "torch": torch.__version__, "transformers": transformers.__version__, "cases": cases}))


main()
