"""How transformers reads config.json: goldens for decode/checkpoint.

Pinned: transformers 5.23.0. Run from the repository root:

    python scripts/goldens/checkpoint_config.py > decode/checkpoint/testdata/config_goldens.json

Each case is a config.json as a model directory would hold it and what
AutoConfig makes of it.
"""

import datetime
import json
import pathlib
import tempfile

import transformers
from transformers import AutoConfig

SIZES = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
}


def case(name, model_type, **keys):
    return {"name": name, "config": {"model_type": model_type, **SIZES, **keys}}


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LONG = [1.0 + i / 4 for i in range(8)]

CASES = [
    case("qwen2 silent", "qwen2"),
    case("qwen2 as Qwen2.5-0.5B-Instruct, spelling of 4", "qwen2", num_attention_heads=14, num_key_value_heads=2,
         hidden_size=896, vocab_size=151936, rope_theta=1000000.0, tie_word_embeddings=True, use_sliding_window=False,
         sliding_window=32768, max_window_layers=21, torch_dtype="bfloat16", bos_token_id=151643, eos_token_id=151645),
    case("qwen2 spelling of 5", "qwen2", num_key_value_heads=4, dtype="float32", eos_token_id=[3, 5], pad_token_id=7,
         rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"}),
    case("qwen2 null kv heads", "qwen2", num_key_value_heads=None),
    case("qwen2 sliding", "qwen2", use_sliding_window=True, sliding_window=16, max_window_layers=2),
    case("qwen2 layer types", "qwen2", use_sliding_window=True, sliding_window=16,
         layer_types=["full_attention", "sliding_attention", "full_attention", "sliding_attention"]),
    case("qwen2 yarn, spelling of 4", "qwen2", rope_theta=1e6, max_position_embeddings=32768,
         rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
    case("qwen2 head_dim", "qwen2", head_dim=16),
    case("qwen3 silent", "qwen3"),
    case("qwen3 spelling of 4", "qwen3", head_dim=64, rope_theta=1000000, attention_bias=False, torch_dtype="float16"),
    case("llama silent", "llama"),
    case("llama null kv heads and head_dim", "llama", num_key_value_heads=None, head_dim=None),
    case("llama 3.1, spelling of 4", "llama", num_key_value_heads=8, rope_theta=500000.0, max_position_embeddings=131072,
         rope_scaling={**LLAMA3, "rope_type": "llama3"}, rms_norm_eps=1e-5, bos_token_id=128000,
         eos_token_id=[128001, 128008, 128009], vocab_size=128256),
    case("llama 3.1, spelling of 5", "llama", num_key_value_heads=8, max_position_embeddings=131072,
         rope_parameters={**LLAMA3, "rope_type": "llama3", "rope_theta": 500000.0}),
    case("llama linear", "llama", rope_scaling={"type": "linear", "factor": 2}),
    case("llama dynamic", "llama", rope_scaling={"type": "dynamic", "factor": 2.0}),
    case("llama yarn with everything", "llama", max_position_embeddings=512, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 24, "beta_slow": 2,
        "attention_factor": 1.5, "mscale": 0.7, "mscale_all_dim": 0.9, "truncate": False}),
    case("llama yarn, length beside it", "llama", max_position_embeddings=512, original_max_position_embeddings=64,
         rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}),
    case("llama rope_scaling null", "llama", rope_scaling=None, rope_theta=10000.0, pretraining_tp=1, mlp_bias=True,
         attention_bias=True, bos_token_id=None, eos_token_id=None),
    case("mistral silent", "mistral"),
    case("mistral no window", "mistral", sliding_window=None, rope_theta=1e6, head_dim=128),
    case("phi3 silent", "phi3"),
    case("phi3 longrope", "phi3", num_attention_heads=4, max_position_embeddings=131072, vocab_size=40000, sliding_window=262144,
         original_max_position_embeddings=4096, rope_scaling={"type": "longrope", "short_factor": LONG, "long_factor": LONG}),
    case("phi3 partial", "phi3", num_attention_heads=4, partial_rotary_factor=0.75),
    case("gemma2 silent", "gemma2"),
    case("gemma2 no softcap", "gemma2", attn_logit_softcapping=None, final_logit_softcapping=20.0, query_pre_attn_scalar=224,
         hidden_act="gelu", head_dim=32),
    case("gemma3_text silent", "gemma3_text"),
    case("gemma3_text spelling of 4", "gemma3_text", rope_theta=1e6, rope_local_base_freq=5000.0, sliding_window=512,
         sliding_window_pattern=2, rope_scaling={"rope_type": "linear", "factor": 8.0}),
    case("gemma3_text spelling of 5", "gemma3_text", rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 7000.0}}),
]


def expect(config):
    rope = config.rope_parameters
    local = None
    if "full_attention" in rope:
        rope, local = rope["full_attention"], rope["sliding_attention"]["rope_theta"]
    layer_types = getattr(config, "layer_types", None)
    if layer_types is None:
        window = getattr(config, "sliding_window", None)
        layer_types = ["sliding_attention" if window else "full_attention"] * config.num_hidden_layers
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    eos = config.eos_token_id
    dtype = config.dtype
    return {
        "kv_heads": config.num_key_value_heads,
        "head_dim": head_dim,
        "max_positions": config.max_position_embeddings,
        "eps": config.rms_norm_eps,
        "tie": config.tie_word_embeddings,
        "act": getattr(config, "hidden_activation", None) or config.hidden_act,
        "window": getattr(config, "sliding_window", None) or 0,
        "layer_types": layer_types,
        "eos": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "bos": config.bos_token_id,
        "pad": config.pad_token_id,
        "dtype": "" if dtype is None else str(dtype).removeprefix("torch."),
        "attn_softcap": getattr(config, "attn_logit_softcapping", None) or 0,
        "final_softcap": getattr(config, "final_logit_softcapping", None) or 0,
        "query_scalar": getattr(config, "query_pre_attn_scalar", None) or 0,
        "theta": rope["rope_theta"],
        "local_theta": local or 0,
        "partial": rope.get("partial_rotary_factor", 1.0),
        "rope_type": rope["rope_type"],
        "rope": {k: v for k, v in rope.items() if k not in ("rope_theta", "rope_type", "type", "partial_rotary_factor")},
    }


def main():
    for c in CASES:
        with tempfile.TemporaryDirectory() as d:
            pathlib.Path(d, "config.json").write_text(json.dumps(c["config"]))
            c["expect"] = expect(AutoConfig.from_pretrained(d))
    print(json.dumps({"transformers": transformers.__version__, "made": datetime.date.today().isoformat(), "cases": CASES}, indent=1))


main()
