"""The models of the bench: the bundled one, random weights in Qwen2.5-0.5B's shape, and their conversions for the peers.

    models.py shape05b OUT_DIR BUNDLED_DIR     make the checkpoint of random weights (1 GB)
    models.py ct2 MODEL_DIR OUT_DIR            convert for CTranslate2
    models.py gguf MODEL_DIR OUT_FILE DTYPE    convert for llama.cpp
"""

import json
import pathlib
import sys


def shape05b(out, bundled):
    import qwen2

    qwen2.make("Qwen2.5-0.5B", pathlib.Path(out), pathlib.Path(bundled))


def ct2(model, out):
    import ctranslate2
    import transformers

    ctranslate2.converters.TransformersConverter(model).convert(out, force=True)
    # The worker names tokens by their text.
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    names = [tokenizer.convert_ids_to_tokens(i) for i in range(1024)]
    (pathlib.Path(out) / "bench_tokens.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def gguf(model, out, dtype):
    """Renames the tensors as llama.cpp's own script does. The vocabulary is left out: the bench speaks token ids."""
    import gguf
    import safetensors.torch
    import torch

    model = pathlib.Path(model)
    c = json.loads((model / "config.json").read_text())
    w = gguf.GGUFWriter(out, "qwen2")
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_vocab_size(c["vocab_size"])
    w.add_tokenizer_model("none")
    w.add_file_type({"float32": gguf.LlamaFileType.ALL_F32, "bfloat16": gguf.LlamaFileType.MOSTLY_BF16}[dtype])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, c["num_hidden_layers"])
    for name, t in safetensors.torch.load_file(model / "model.safetensors").items():
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise SystemExit(f"no GGUF name for {name}")
        if dtype == "bfloat16" and t.dim() == 2:
            bits = t.to(torch.bfloat16).view(torch.uint8).numpy()
            w.add_tensor(new, bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            w.add_tensor(new, t.float().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    {"shape05b": shape05b, "ct2": ct2, "gguf": gguf}[sys.argv[1]](*sys.argv[2:])
