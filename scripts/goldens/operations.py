#!/usr/bin/env python3
"""Golden numbers of noise/operation's quantisers: torchao, bitsandbytes on a CPU, and torch's float8.

    pip install torch==2.11.0 numpy==2.4.6 torchao==0.15.0 bitsandbytes==0.49.0
    python scripts/goldens/operations.py      # writes noise/operation/testdata/quantisers.json

A case is an operation as a config spells it, and what a matrix [16, 96] becomes: rounded and put back to float32. All of it is computed
in float32. Numbers are little-endian float32 in base64.
"""

import base64
import json
import math
import pathlib

import bitsandbytes
import torch
import torchao
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from torchao.prototype.mx_formats.mx_tensor import to_dtype, to_mx
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale
from torchao.quantization import quant_primitives as qp

OUT = pathlib.Path(__file__).resolve().parents[2] / "noise" / "operation" / "testdata" / "quantisers.json"
ROWS, COLUMNS = 16, 96


def matrix():
    g = torch.Generator().manual_seed(16)
    x = torch.randn(ROWS, COLUMNS, generator=g) * torch.logspace(-4, 2, ROWS)[:, None]
    x[3, 7] = 40.0  # an outlier
    x[5] = x[5].abs()  # on one side of zero
    x[6] = 0
    x[7, ::2] = 0.5 * torch.arange(COLUMNS // 2)  # ties
    x[8, :32] = 0  # a block of zeros
    x[9] *= 1e-9
    return x.contiguous()


def affine(x, bits, block, asymmetric=False, narrow=False):
    lo, hi = -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    kind = qp.MappingType.ASYMMETRIC if asymmetric else qp.MappingType.SYMMETRIC
    scale, zero = qp.choose_qparams_affine(x, kind, block, torch.int8, lo, hi, zero_point_dtype=torch.int32)
    q = qp.quantize_affine(x, block, scale, zero, torch.int8, lo, hi)
    return qp.dequantize_affine(q, block, scale, zero, torch.int8, lo, hi, output_dtype=torch.float32)


def float8(x, dtype, block):
    scale = qp._choose_scale_float8(x, block, dtype)
    return qp._dequantize_affine_float8(qp._quantize_affine_float8(x, scale, dtype), scale, torch.float32).nan_to_num(0.0)


def nf4(x, block):
    q, state = quantize_4bit(x, blocksize=block, quant_type="nf4", compress_statistics=False)
    return dequantize_4bit(q, state).nan_to_num(0.0)


def mx(x, element):
    scale, data = to_mx(x, element, 32)
    return to_dtype(data, scale, element, 32, torch.float32)


def nvfp4(x):
    return NVFP4Tensor.to_nvfp4(x, per_tensor_scale=per_tensor_amax_to_scale(x.abs().max())).dequantize(torch.float32)


def cases(x):
    blocks = {"tensor": [ROWS, COLUMNS], "row": [1, COLUMNS], "group": [1, 32]}
    for bits in range(2, 9):
        yield {"kind": "int", "bits": bits}, affine(x, bits, blocks["row"])
    for per, block in blocks.items():
        keys = {"per": per} | ({"group": 32} if per == "group" else {})
        yield {"kind": "int", "bits": 4, "asymmetric": True} | keys, affine(x, 4, block, asymmetric=True)
        if per != "row":
            yield {"kind": "int", "bits": 8} | keys, affine(x, 8, block)
        yield {"kind": "fp8"} | keys, float8(x, torch.float8_e4m3fn, block)
    yield {"kind": "int", "bits": 8, "narrow": True}, affine(x, 8, blocks["row"], narrow=True)
    yield {"kind": "fp8", "format": "e5m2"}, float8(x, torch.float8_e5m2, blocks["row"])
    yield {"kind": "nf4"}, nf4(x, 64)
    yield {"kind": "nf4", "block": 128}, nf4(x, 128)
    yield {"kind": "mxfp4"}, mx(x, torch.float4_e2m1fn_x2)
    yield {"kind": "mxfp8"}, mx(x, torch.float8_e4m3fn)
    yield {"kind": "mxfp8", "format": "e5m2"}, mx(x, torch.float8_e5m2)
    yield {"kind": "nvfp4"}, nvfp4(x)


def text(t):
    assert t.shape == (ROWS, COLUMNS) and t.dtype == torch.float32 and math.isfinite(t.abs().sum().item()), t
    return base64.b64encode(t.contiguous().numpy().astype("<f4").tobytes()).decode()


def main():
    x = matrix()
    versions = {"torch": torch.__version__, "torchao": torchao.__version__, "bitsandbytes": bitsandbytes.__version__}
    golden = {"versions": versions, "columns": COLUMNS, "x": text(x), "cases": [{"operation": c, "y": text(y)} for c, y in cases(x)]}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(golden, indent=0) + "\n")


main()
