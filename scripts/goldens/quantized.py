#!/usr/bin/env python3
"""Small quantised checkpoints, made by the tools that people quantise with, and what is computed from them.

    pip install torch==2.11.0 transformers==5.24.0 compressed-tensors==0.20.0 bitsandbytes==0.50.2
    pip download --no-deps auto-gptq==0.7.1 autoawq==0.2.9        # of which one file each is used, as they cannot be installed here
    python scripts/goldens/quantized.py AUTO_GPTQ_DIR AUTOAWQ_DIR  # the two, unpacked; writes decode/testdata/quantized/NAME/

compressed-tensors: quantised and packed by the package, dequantised by transformers (from_pretrained with dequantize=True).
bitsandbytes: quantised on the CPU by transformers' from_pretrained, saved, loaded and dequantised by it.
gptq: packed by AutoGPTQ's QuantLinear.pack, dequantised by its forward pass on the unit matrix. transformers loads GPTQ by GPTQModel,
which needs a later torch; its formula for the weights is the same.
awq: packed in the order that AutoAWQ publishes (no tool packs without a GPU), dequantised by AutoAWQ's dequantize_gemm.
fp8: cast and packed here, as DeepSeek publishes its format; dequantised by transformers.

golden.json has the sha256 of each dequantised weight as float32, and logits of the model that has them, in float32.
"""

import datetime
import hashlib
import importlib.util
import json
import pathlib
import shutil
import sys

import safetensors.torch
import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parents[2] / "decode" / "testdata" / "quantized"
VOCAB = 32
LINEARS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def base(dtype, hidden=32, inner=32, seed=1):
    """A small Llama of random weights that are representable in a dtype."""
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4, dtype=dtype,
        max_position_embeddings=128, rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=None, pad_token_id=None, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            w = 1 + 0.2 * torch.randn(p.shape, generator=g) if "norm" in name else torch.randn(p.shape, generator=g) / p.shape[-1] ** 0.5
            p.copy_(w.to(dtype))
    return model


def folder_of(name):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@torch.no_grad()
def golden(folder, weights, tools):
    """Writes golden.json for dequantised weights by name."""
    weights = {k: v.float() for k, v in weights.items()}
    inner, hidden = weights["model.layers.0.mlp.up_proj.weight"].shape
    model = transformers.AutoModelForCausalLM.from_config(base(torch.float32, hidden, inner).config, attn_implementation="eager").float().eval()
    model.load_state_dict(weights)
    out = {"made": datetime.date.today().isoformat(), "torch": torch.__version__, "transformers": transformers.__version__, **tools, "sha256": {}, "last": []}
    for k, v in sorted(weights.items()):
        out["sha256"][k] = hashlib.sha256(v.contiguous().numpy().tobytes()).hexdigest()
    for n in [1, 30]:
        p = torch.randint(0, VOCAB, (n,), generator=torch.Generator().manual_seed(n)).tolist()
        out["last"].append({"prompt": p, "logits": [float(f"{v:.8g}") for v in model(torch.tensor([p])).logits[0, -1].tolist()]})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "golden.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    for extra in ["generation_config.json", "recipe.yaml", "quantize_config.json"]:
        (folder / extra).unlink(missing_ok=True)
    print(folder.name, sum(f.stat().st_size for f in folder.iterdir()) // 1024, "KB")


# name -> (weights' scheme, activations or none, dtype)
COMPRESSED = {
    "ct-int4-group": (dict(num_bits=4, type="int", symmetric=True, strategy="group", group_size=16), None, torch.bfloat16),
    "ct-int4-asymmetric": (dict(num_bits=4, type="int", symmetric=False, strategy="group", group_size=8), None, torch.float16),
    "ct-int8-channel": (dict(num_bits=8, type="int", symmetric=True, strategy="channel"), None, torch.bfloat16),
    "ct-w8a8-int8": (dict(num_bits=8, type="int", symmetric=True, strategy="channel"), dict(num_bits=8, type="int", symmetric=True, strategy="token", dynamic=True), torch.bfloat16),
    "ct-float8-tensor": (dict(num_bits=8, type="float", symmetric=True, strategy="tensor"), dict(num_bits=8, type="float", symmetric=True, strategy="token", dynamic=True), torch.bfloat16),
    "ct-float8-channel": (dict(num_bits=8, type="float", symmetric=True, strategy="channel"), dict(num_bits=8, type="float", symmetric=True, strategy="token", dynamic=True), torch.float16),
}  # fmt: skip


@torch.no_grad()
def make_compressed(name):
    import compressed_tensors
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, QuantizationStatus, apply_quantization_config
    from compressed_tensors.quantization.utils import calculate_qparams

    weights, activations, dtype = COMPRESSED[name]
    model = base(dtype)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, input_activations=activations)
    apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"], quantization_status=QuantizationStatus.FROZEN))
    for module in model.modules():
        args = getattr(getattr(module, "quantization_scheme", None), "weights", None)
        if args is None:
            continue
        w = module.weight
        if args.strategy == "tensor":
            low, high = w.amin().reshape(1), w.amax().reshape(1)
        else:
            groups = w.reshape(w.shape[0], -1, args.group_size or w.shape[1])
            low, high = groups.amin(-1), groups.amax(-1)
        scale, zero = calculate_qparams(low, high, args)
        module.weight_scale.data = scale.to(module.weight_scale.dtype)
        if hasattr(module, "weight_zero_point"):
            module.weight_zero_point.data = zero.to(module.weight_zero_point.dtype)
    folder = folder_of(name)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(str(folder))
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=transformers.CompressedTensorsConfig(dequantize=True), dtype=dtype)
    state = {k: v for k, v in loaded.state_dict().items() if k.endswith(("proj.weight", "norm.weight", "layernorm.weight", "embed_tokens.weight", "lm_head.weight"))}
    golden(folder, state, {"compressed_tensors": compressed_tensors.__version__})


@torch.no_grad()
def make_bitsandbytes(name, config, dtype, **sizes):
    import bitsandbytes

    plain = OUT.parent / "plain"
    base(dtype, **sizes).save_pretrained(plain)
    model = transformers.AutoModelForCausalLM.from_pretrained(plain, quantization_config=config, dtype=dtype, device_map={"": "cpu"})
    folder = folder_of(name)
    model.save_pretrained(folder)
    shutil.rmtree(plain)
    again = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map={"": "cpu"})
    state = {}
    for key, module in again.named_modules():
        if not hasattr(module, "weight"):
            continue
        w = module.weight
        if type(w).__name__ == "Params4bit":
            w = bitsandbytes.functional.dequantize_4bit(w.data, w.quant_state)
        elif type(w).__name__ == "Int8Params":
            scb = w.SCB if w.SCB is not None else module.state.SCB
            w = bitsandbytes.functional.int8_vectorwise_dequant(w.data, scb)
        state[key + ".weight"] = w.detach()
    golden(folder, state, {"bitsandbytes": bitsandbytes.__version__})


def load_file(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save(name, model, tensors, quantization):
    folder = folder_of(name)
    model.config.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(dict(json.loads(path.read_text()), quantization_config=quantization), indent=2) + "\n")
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def ints(w, bits, group):
    """Scales and zero points [out, groups] of an asymmetric quantisation; zero points of at least 1, as the stored ones are 1 less."""
    groups = w.float().reshape(w.shape[0], -1, group)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).to(torch.float16).float()
    return scale, torch.round(-low / scale).clamp(1, 2**bits - 1)


@torch.no_grad()
def make_gptq(name, root, bits, group, act_order):
    qlinear = load_file(next(pathlib.Path(root).rglob("qlinear_cuda.py")), "qlinear_cuda")
    model = base(torch.float16)
    tensors = dict(model.state_dict())
    state = dict(tensors)
    for i, part in enumerate(LINEARS):
        key = f"model.layers.0.{part}"
        linear = model.get_submodule(key)
        w = linear.weight
        size = group if group > 0 else w.shape[1]
        order = torch.randperm(w.shape[1], generator=torch.Generator().manual_seed(i)) if act_order else torch.arange(w.shape[1])
        index = torch.empty(w.shape[1], dtype=torch.int32)
        index[order] = torch.arange(w.shape[1], dtype=torch.int32) // size
        scale, zero = ints(w[:, order], bits, size)
        q = qlinear.QuantLinear(bits, group, w.shape[1], w.shape[0], False, weight_dtype=torch.float16)
        q.pack(linear, scale, zero.clone(), index)
        del tensors[key + ".weight"]
        for end in ["qweight", "qzeros", "scales", "g_idx"]:
            tensors[f"{key}.{end}"] = getattr(q, end)
        tensors[key + ".bias"] = torch.zeros(w.shape[0], dtype=torch.float16)  # as AutoGPTQ writes it
        q.bias = None
        state[key + ".weight"] = q(torch.eye(w.shape[1], dtype=torch.float16)).T
    config = {"bits": bits, "group_size": group, "desc_act": act_order, "sym": False, "quant_method": "gptq", "checkpoint_format": "gptq"}
    golden(save(name, model, tensors, config), state, {"auto_gptq": "0.7.1"})


@torch.no_grad()
def make_awq(name, root, group):
    packing = load_file(next(pathlib.Path(root).rglob("packing_utils.py")), "packing_utils")
    model = base(torch.float16)
    tensors = dict(model.state_dict())
    state = dict(tensors)

    def pack(values):  # [rows, out] -> [rows, out/8]
        words = torch.zeros(values.shape[0], values.shape[1] // 8, dtype=torch.int64)
        for place, i in enumerate(packing.AWQ_ORDER):
            words |= values[:, i::8].long() << (4 * place)
        return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)

    for part in LINEARS:
        key = f"model.layers.0.{part}"
        w = tensors.pop(key + ".weight")
        scale, zero = ints(w, 4, group)
        codes = torch.round(w.float() / scale.repeat_interleave(group, 1) + zero.repeat_interleave(group, 1)).clamp(0, 15)
        tensors[key + ".qweight"], tensors[key + ".qzeros"] = pack(codes.T), pack(zero.T)
        tensors[key + ".scales"] = scale.T.to(torch.float16)
        state[key + ".weight"] = packing.dequantize_gemm(tensors[key + ".qweight"], tensors[key + ".qzeros"], tensors[key + ".scales"], 4, group).T
    config = {"bits": 4, "group_size": group, "zero_point": True, "version": "gemm", "quant_method": "awq", "modules_to_not_convert": None}
    golden(save(name, model, tensors, config), state, {"autoawq": "0.2.9"})


@torch.no_grad()
def make_fp8(name, block):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    model = base(torch.bfloat16)
    tensors = dict(model.state_dict())
    state = dict(tensors)
    for part in LINEARS:
        key = f"model.layers.0.{part}"
        w = tensors.pop(key + ".weight").float()
        blocks = w.reshape(w.shape[0] // block, block, w.shape[1] // block, block)
        scale = blocks.abs().amax((1, 3)) / 448
        tensors[key + ".weight"] = (blocks / scale[:, None, :, None]).reshape(w.shape).to(torch.float8_e4m3fn)
        tensors[key + ".weight_scale_inv"] = scale
        state[key + ".weight"] = Fp8Dequantize(None)._dequantize_one(tensors[key + ".weight"], scale, output_dtype=torch.float32)
    config = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [block, block]}
    golden(save(name, model, tensors, config), state, {})


def main():
    gptq, awq = sys.argv[1:3]
    for name in COMPRESSED:
        make_compressed(name)
    bnb = transformers.BitsAndBytesConfig
    make_bitsandbytes("bnb-nf4", bnb(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32), torch.float32)
    make_bitsandbytes("bnb-nf4-double", bnb(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True), torch.bfloat16, hidden=64, inner=320)  # more than 256 blocks
    make_bitsandbytes("bnb-int8", bnb(load_in_8bit=True), torch.float16)
    make_gptq("gptq-4", gptq, 4, 16, False)
    make_gptq("gptq-4-act-order", gptq, 4, 8, True)
    make_gptq("gptq-8-column", gptq, 8, -1, False)
    make_gptq("gptq-8-act-order", gptq, 8, 16, True)
    make_awq("awq-4", awq, 16)
    make_fp8("fp8-blocks", 16)


main()
