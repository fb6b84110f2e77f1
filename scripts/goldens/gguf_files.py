#!/usr/bin/env python3
"""Small GGUF files, and what the Python package gguf and Hugging Face transformers read in them.

    pip install torch==2.11.0 transformers==5.24.0 gguf==0.19.0 sentencepiece==0.2.3
    python scripts/goldens/gguf_files.py            # writes testdata of decode/checkpoint/gguf, decode/tokenizer and decode

types.gguf has a tensor of every type, of random bytes with finite scales; types.json the sha256 of its numbers as gguf dequantises
them. decode/testdata/gguf/NAME.gguf are models of random weights, written as llama.cpp's converter writes them (rows of q and k
permuted for its rotary embedding, 1 added to Gemma's norms); NAME.json has logits and greedy tokens of what transformers loads from
the file, and the ids of texts by its conversion of the file's tokenizer. pretokenizers.json has the ids of one vocabulary under each
way to cut a text.
"""

import datetime
import hashlib
import json
import pathlib
import tempfile

import gguf
import numpy as np
import sentencepiece
import tokenizers
import torch
import transformers
from gguf import GGMLQuantizationType as Q

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "decode" / "testdata" / "gguf"
TYPES = ROOT / "decode" / "checkpoint" / "gguf" / "testdata"
TOKENS = ROOT / "decode" / "tokenizer" / "testdata"
MADE = {"made": datetime.date.today().isoformat(), "gguf": "0.19.0", "transformers": transformers.__version__, "torch": torch.__version__}

CORPUS = (
    "Natalia sold 48 clips in April, and half as many in May. How many did she sell?\n"
    "She sold 48/2 = <<48/2=24>>24 clips in May, so 48 + 24 = 72 in all.\n#### 72\n"
    "The train's speed is 1,234.50 km; it doesn't stop. They'll pay $18 for 3 apples, we've got 10% left.\n\n"
    "Let me solve this step by step:\n1. First, the total is 12 * 7 = 84.\n2. Then, 84 - 4 = 80.\nTherefore, the answer is 80.\n"
) * 4
TEXTS = [
    "Natalia sold 48 clips in April, and half as many in May.",
    "  two spaces, 1234567 and 3.50\n\n\n#### 72",
    "don't WON'T we'll I'M  $18%\ttab\r\nline ",
    "na\u00efve \u65e5\u672c\u8a9e \u0645\u0631\u062d\u0628\u0627 \U0001f600 \u2212 \u00bd",
    "x",
    " ",
    "camelCaseHTTPServer snake_case a/b/c\n/d",
]

# The float16 fields of a block, as offsets into it; the rest may be anything.
HALVES = {
    Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q2_K: [80, 82], Q.Q3_K: [108], Q.Q4_K: [0, 2],
    Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.IQ4_NL: [0], Q.F16: [0],
}  # fmt: skip


def make_types():
    rng = np.random.default_rng(16)
    TYPES.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(TYPES / "types.gguf", "llama")
    golden = dict(MADE, numpy=np.__version__, tensors={})
    for kind in [Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K, Q.IQ4_NL]:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        n = 6 * 512 // block
        if kind == Q.F32:
            raw = rng.standard_normal(n).astype(np.float32).view(np.uint8).reshape(n, 4)
        elif kind == Q.BF16:
            raw = (rng.standard_normal(n).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(n, 2)
        else:
            raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
            for at in HALVES[kind]:
                scales = (rng.standard_normal(n) * np.exp2(rng.uniform(-20, 6, n))).astype(np.float16)  # subnormal ones among them
                raw[:, at : at + 2] = scales.view(np.uint8).reshape(n, 2)
        raw = raw.reshape(6, -1)
        numbers = gguf.dequantize(raw, kind).astype(np.float32)
        assert numbers.shape == (6, 512) and np.isfinite(numbers).all(), kind
        native = {Q.F32: np.float32, Q.F16: np.float16}.get(kind)
        if native:
            writer.add_tensor(kind.name, raw.view(native))
        else:
            writer.add_tensor(kind.name, raw, raw_dtype=kind)
        golden["tensors"][kind.name] = {"sha256": hashlib.sha256(numbers.tobytes()).hexdigest(), "first": [float(x) for x in numbers[0, :4]]}
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (TYPES / "types.json").write_text(json.dumps(golden, indent=1) + "\n")


def byte_level(size, pre_tokenizer=None):
    """A byte-level vocabulary and its merges."""
    t = tokenizers.Tokenizer(tokenizers.models.BPE())
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([pre_tokenizer, level]) if pre_tokenizer else level
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, max_token_length=12)
    t.train_from_iterator(CORPUS.splitlines(keepends=True), trainer)
    model = json.loads(t.to_str())["model"]
    tokens = [w for w, _ in sorted(model["vocab"].items(), key=lambda x: x[1])]
    return tokens, [" ".join(m) for m in model["merges"]]


def sentence_piece(size):
    """A sentencepiece vocabulary with scores and types."""
    with tempfile.TemporaryDirectory() as tmp:
        text = pathlib.Path(tmp) / "text"
        text.write_text(CORPUS)
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=f"{tmp}/m", vocab_size=size, model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False, minloglevel=2, split_digits=True, allow_whitespace_only_pieces=True, hard_vocab_limit=False,
        )  # fmt: skip
        sp = sentencepiece.SentencePieceProcessor(model_file=f"{tmp}/m.model")
    kinds = []
    for i in range(sp.vocab_size()):
        kinds.append(2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1)
    return [sp.id_to_piece(i) for i in range(sp.vocab_size())], [sp.get_score(i) for i in range(sp.vocab_size())], kinds


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def add_byte_level(writer, pre, size=320, specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"), user=(), bos=None):
    tokens, merges = byte_level(size - len(specials) - len(user))
    kinds = [1] * len(tokens) + [3] * len(specials) + [4] * len(user)
    tokens = tokens + list(specials) + list(user)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(specials[2]))
    writer.add_pad_token_id(tokens.index(specials[0]))
    if bos:
        writer.add_bos_token_id(tokens.index(bos))
        writer.add_add_bos_token(True)
    writer.add_chat_template(CHATML)
    return len(tokens)


def add_sentence_piece(writer, size=340, extra=("<|user|>", "<|end|>"), space=None):
    tokens, scores, kinds = sentence_piece(size)
    for e in extra:
        tokens.append(e)
        scores.append(-1000.0)
        kinds.append(3)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(True)
    if space is not None:
        writer.add_add_space_prefix(space)
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}<|user|>\n{{ m['content'] }}<|end|>\n{% endfor %}")
    return len(tokens)


def sizes(**kw):
    base = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=None, pad_token_id=None, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    return dict(base, **kw)


LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

# name -> (architecture, config class, sizes, tokenizer, type of matrices, type of the embedding)
CASES = {
    "llama-q4_1": ("llama", transformers.LlamaConfig, dict(tie_word_embeddings=True), lambda w: add_byte_level(w, "llama-bpe", bos="<|endoftext|>"), Q.Q4_1, Q.Q8_0),
    "llama-llama3-f16": ("llama", transformers.LlamaConfig, dict(tie_word_embeddings=True, num_key_value_heads=1, rope_parameters=LLAMA3), lambda w: add_byte_level(w, "gpt-2"), Q.F16, Q.BF16),
    "mistral-q5_0": ("llama", transformers.MistralConfig, dict(tie_word_embeddings=False, sliding_window=None), lambda w: add_sentence_piece(w), Q.Q5_0, Q.Q5_1),
    "qwen2-q8_0": ("qwen2", transformers.Qwen2Config, dict(tie_word_embeddings=True), lambda w: add_byte_level(w, "qwen2", user=("<think>", "</think>")), Q.Q8_0, Q.Q4_0),
    "qwen3-q4_0": ("qwen3", transformers.Qwen3Config, dict(tie_word_embeddings=False, head_dim=16), lambda w: add_byte_level(w, "qwen2"), Q.Q4_0, Q.Q8_0),
    "phi3-q8_0": ("phi3", transformers.Phi3Config, dict(tie_word_embeddings=False, num_key_value_heads=4), lambda w: add_sentence_piece(w), Q.Q8_0, Q.Q8_0),
    "gemma2-q8_0": ("gemma2", transformers.Gemma2Config, dict(tie_word_embeddings=True, head_dim=16, query_pre_attn_scalar=16, sliding_window=512), lambda w: add_sentence_piece(w, space=False), Q.Q8_0, Q.Q8_0),
}  # fmt: skip

LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.qkv_proj": "attn_qkv",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
}  # fmt: skip
GEMMA = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}


def ggml_name(name, arch):
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in top:
        return top[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{({**LAYER, **GEMMA} if arch == 'gemma2' else LAYER)[part]}.{kind}"


def permute(w, heads):
    """Rows of q and k as llama.cpp has them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write_model(name, seed):
    arch, cls, kw, add_tokenizer, matrix, embedding = CASES[name]
    path = MODELS / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, arch)
    vocab = add_tokenizer(writer)
    config = cls(vocab_size=vocab, **sizes(**kw))
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(vocab)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_rope_dimension_count(head)
    if arch in ("qwen3", "gemma2"):
        writer.add_key_length(head)
        writer.add_value_length(head)
    if arch == "gemma2":
        writer.add_sliding_window(config.sliding_window)
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    model = transformers.AutoModelForCausalLM.from_config(config).float()
    g = torch.Generator().manual_seed(seed)
    tied = config.tie_word_embeddings
    for key, p in model.state_dict().items():
        if key == "lm_head.weight" and tied:
            continue
        if "norm" in key:
            w = 1 + 0.2 * torch.randn(p.shape, generator=g)  # Gemma's with the 1 that its converter adds
        elif key.endswith("bias"):
            w = 0.2 * torch.randn(p.shape, generator=g)
        else:
            std = (0.05 if arch == "gemma2" else 0.5 if tied else 1.0) if "embed" in key else 1.4 / p.shape[-1] ** 0.5
            w = std * torch.randn(p.shape, generator=g)
        w = w.numpy().astype(np.float32)
        if arch == "llama" and (".q_proj." in key or ".k_proj." in key):
            w = permute(w, config.num_attention_heads if ".q_proj." in key else config.num_key_value_heads)
        kind = Q.F32 if w.ndim == 1 else embedding if "embed" in key or "lm_head" in key else matrix
        if kind == Q.F32:
            writer.add_tensor(ggml_name(key, arch), w)
        elif kind == Q.F16:
            writer.add_tensor(ggml_name(key, arch), w.astype(np.float16))
        else:
            writer.add_tensor(ggml_name(key, arch), gguf.quantize(w, kind), raw_dtype=kind)
    if config.rope_parameters["rope_type"] == "llama3":
        r, freqs = config.rope_parameters, []
        for f in 1.0 / r["rope_theta"] ** (np.arange(0, head, 2) / head):
            wave = 2 * np.pi / f
            smooth = (r["original_max_position_embeddings"] / wave - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"])
            smooth = min(max(smooth, 0), 1)
            freqs.append(1 / ((1 - smooth) / r["factor"] + smooth))
        writer.add_tensor("rope_freqs.weight", np.array(freqs, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return config


@torch.no_grad()
def read_model(name, config):
    """What transformers loads from the file. It does not read all that a file says: the rest comes from the config."""
    short = config.rope_parameters["rope_type"] != "default" or config.model_type in ("qwen3", "gemma2")
    kw = {"config": config} if short else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(MODELS, gguf_file=f"{name}.gguf", dtype=torch.float32, attn_implementation="eager", **kw)
    return model.eval()


@torch.no_grad()
def greedy(model, ids, n):
    out, gap = list(ids), float("inf")
    for _ in range(n):
        z = model(torch.tensor([out])).logits[0, -1].double()
        top = torch.topk(z, 2).values
        gap = min(gap, float((top[0] - top[1]) / z.abs().max()))
        if gap < 1e-3:
            return [], gap
        out.append(int(z.argmax()))
    return out[len(ids) :], gap


@torch.no_grad()
def make_model(name):
    for seed in range(400):
        config = write_model(name, seed)
        model = read_model(name, config)
        prompt = torch.randint(0, config.vocab_size, (9,), generator=torch.Generator().manual_seed(9)).tolist()
        ids, gap = greedy(model, prompt, 60)
        if len(set(ids)) > 12:
            break
    else:
        raise SystemExit(f"{name}: no seed gives a greedy path without near ties")
    golden = dict(MADE, seed=seed, gap=gap, greedy={"prompt": prompt, "ids": ids}, last=[], texts=[])
    for n in [1, 7, 90]:
        p = torch.randint(0, config.vocab_size, (n,), generator=torch.Generator().manual_seed(n)).tolist()
        golden["last"].append({"prompt": p, "logits": [float(f"{v:.7g}") for v in model(torch.tensor([p])).logits[0, -1].tolist()]})
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS, gguf_file=f"{name}.gguf")
    for text in TEXTS:
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        golden["texts"].append({"text": text, "ids": plain, "whole": tokenizer(text)["input_ids"], "decoded": tokenizer.decode(plain)})
    chat = [{"role": "user", "content": "What is 48 + 24?"}]
    golden["chat"] = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    (MODELS / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":"), ensure_ascii=True) + "\n")
    print(name, "seed", seed, "gap", f"{gap:.4f}", (MODELS / f"{name}.gguf").stat().st_size // 1024, "KB")


def make_pretokenizers():
    tokens, merges = byte_level(420)
    golden = dict(MADE, tokens=tokens, merges=merges, ids={})
    with tempfile.TemporaryDirectory() as tmp:
        for pre in ["gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "deepseek-r1-qwen", "tekken", "gpt-4o"]:
            writer = gguf.GGUFWriter(f"{tmp}/t.gguf", "llama")
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre(pre)
            writer.add_token_list(tokens)
            writer.add_token_types([1] * len(tokens))
            writer.add_token_merges(merges)
            writer.add_eos_token_id(0)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.close()
            t = transformers.PreTrainedTokenizerFast.from_pretrained(tmp, gguf_file="t.gguf").backend_tokenizer
            if pre == "smollm":  # as in SmolLM2's own tokenizer.json; transformers cuts numbers as GPT-2 does
                cut = tokenizers.pre_tokenizers
                t.pre_tokenizer = cut.Sequence([cut.Digits(individual_digits=True), cut.ByteLevel(add_prefix_space=False, use_regex=True)])
            golden["ids"][pre] = [t.encode(text, add_special_tokens=False).ids for text in TEXTS]
    golden["texts"] = TEXTS
    TOKENS.mkdir(parents=True, exist_ok=True)
    (TOKENS / "pretokenizers.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(len({json.dumps(v) for v in golden["ids"].values()}), "different ways to cut")


if __name__ == "__main__":
    make_types()
    make_pretokenizers()
    MODELS.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        make_model(case)
