"""Trains models/gsm-tiny: a byte-level BPE tokenizer and a small Qwen2 checkpoint, from scratch, on gsm_synth problems.

    python scripts/train_gsm_tiny.py --minutes 90                  # tokenizer, training, export
    python scripts/train_gsm_tiny.py --minutes 20 --go-on --seed 8 # more training of what is there
    python scripts/train_gsm_tiny.py --eval 1319                   # greedy accuracy on data/gsm-synth/test.parquet
    python scripts/train_gsm_tiny.py --eval 200 --noise 0 0.1 0.3  # the same under activation noise
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import math
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import safetensors
import safetensors.torch
import tokenizers
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gsm_synth

END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
END_ID, STOP_ID = 0, 2
CHAT = START + "user\nSolve this math problem step by step:\n{question}" + STOP + "\n" + START + "assistant\n"
PLAIN = "Question: {question}\nLet me solve this step by step:\n"
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN_SHARE = 0.1


@dataclass(frozen=True)
class Shape:
    vocab: int = 1024
    hidden: int = 128
    inner: int = 384
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    theta: float = 10_000.0
    eps: float = 1e-6

    @property
    def head(self) -> int:
        return self.hidden // self.heads


class Noise:
    """x + scale * std(x) * N at the input of a Linear; std over the real positions of a sequence in one call."""

    def __init__(self, scale: float, seed: int) -> None:
        self.scale = scale
        self.generator = torch.Generator().manual_seed(seed)
        self.mask: Tensor | None = None  # [B, T], 1 for real positions; None when all are

    def __call__(self, x: Tensor) -> Tensor:
        n = torch.randn(x.shape, generator=self.generator)
        if self.mask is None:
            std = x.flatten(1).std(dim=1)
        else:
            m = self.mask[..., None]
            count = self.mask.sum(1) * x.shape[-1]
            mean = (x * m).sum((1, 2)) / count
            std = (((x - mean[:, None, None]) * m).pow(2).sum((1, 2)) / (count - 1)).sqrt()
        return x + self.scale * std[:, None, None] * n


def project(x: Tensor, linears: list[nn.Linear], noise: Noise | None) -> list[Tensor]:
    """Several Linears on one input: one product when clean, noise of its own for each otherwise."""
    if noise is not None:
        return [linear(noise(x)) for linear in linears]
    weight = torch.cat([linear.weight for linear in linears])
    bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
    return list(F.linear(x, weight, bias).split([linear.out_features for linear in linears], dim=-1))


class Attention(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head)
        self.o_proj = nn.Linear(s.heads * s.head, s.hidden, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], cache: Cache | None, noise: Noise | None) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (y.view(batch, length, -1, self.s.head).transpose(1, 2) for y in project(x, [self.q_proj, self.k_proj, self.v_proj], noise))
        q, k = rotate(q, *rope), rotate(k, *rope)
        mask = None
        if cache is not None:
            k, v, mask = cache.update(k, v)
        group = self.s.heads // self.s.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return project(out.transpose(1, 2).reshape(batch, length, -1), [self.o_proj], noise)[0]


class MLP(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.inner, bias=False)
        self.down_proj = nn.Linear(s.inner, s.hidden, bias=False)

    def forward(self, x: Tensor, noise: Noise | None) -> Tensor:
        gate, up = project(x, [self.gate_proj, self.up_proj], noise)
        return project(F.silu(gate) * up, [self.down_proj], noise)[0]


class Layer(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(s)
        self.mlp = MLP(s)
        self.input_layernorm = nn.RMSNorm(s.hidden, s.eps)
        self.post_attention_layernorm = nn.RMSNorm(s.hidden, s.eps)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], cache: Cache | None, noise: Noise | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rope, cache, noise)
        return x + self.mlp(self.post_attention_layernorm(x), noise)


class Cache:
    """Keys and values of one layer, [B, H, T, D]; `position` is where each row's next token goes, [B]."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        self.k, self.v = k, v
        self.position: Tensor | None = None  # None while the prompts are read

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.position is None:
            self.k[:, :, : k.shape[2]], self.v[:, :, : v.shape[2]] = k, v
            return k, v, None
        rows = torch.arange(len(k))
        self.k[rows, :, self.position], self.v[rows, :, self.position] = k[:, :, 0], v[:, :, 0]
        mask = torch.arange(self.k.shape[2]) <= self.position[:, None]
        return self.k, self.v, mask[:, None, None]


class Body(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(s.vocab, s.hidden)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.norm = nn.RMSNorm(s.hidden, s.eps)


class Qwen2(nn.Module):
    """The parameter names are those of transformers' Qwen2ForCausalLM with tied embeddings."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.s = s
        self.model = Body(s)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.04 / math.sqrt(2 * s.layers) if residual else 0.04)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids: Tensor, positions: Tensor, caches: list[Cache] | None = None, noise: Noise | None = None) -> Tensor:
        """The last hidden states, [B, T, hidden]; `positions` is [T] or [B, T]."""
        half = self.s.head // 2
        angle = positions[..., None].float() * self.s.theta ** (-torch.arange(half) / half)
        angle = angle.view(-1, 1, angle.shape[-2], half)
        rope = (angle.cos(), angle.sin())
        x = self.model.embed_tokens(ids)
        for i, layer in enumerate(self.model.layers):
            x = layer(x, rope, caches[i] if caches else None, noise)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.model.embed_tokens.weight)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def train_tokenizer(texts: list[str], vocab: int) -> tokenizers.Tokenizer:
    tok = tokenizers.Tokenizer(tokenizers.models.BPE())
    # Qwen2's split, so that each digit is a token; no normaliser, so that every text survives a round trip.
    split = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tok.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(split), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tok.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END, START, STOP],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tok.train_from_iterator(texts, trainer)
    return tok


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_folder(out: Path, s: Shape, tok: tokenizers.Tokenizer) -> None:
    """Everything of the checkpoint but the weights."""
    out.mkdir(parents=True, exist_ok=True)
    tok.save(str(out / "tokenizer.json"))
    write_json(out / "config.json", {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": STOP_ID,
        "pad_token_id": END_ID,
        "hidden_act": "silu",
        "hidden_size": s.hidden,
        "initializer_range": 0.04,
        "intermediate_size": s.inner,
        "max_position_embeddings": 2048,
        "num_attention_heads": s.heads,
        "num_hidden_layers": s.layers,
        "num_key_value_heads": s.kv_heads,
        "rms_norm_eps": s.eps,
        "rope_theta": s.theta,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": s.vocab,
    })  # fmt: skip
    write_json(out / "generation_config.json", {"eos_token_id": [STOP_ID, END_ID], "pad_token_id": END_ID})
    special = {str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} for i, t in enumerate((END, START, STOP))}
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": special,
        "additional_special_tokens": [START],
        "bos_token": None,
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": STOP,
        "model_max_length": 2048,
        "pad_token": END,
    })  # fmt: skip


def write_weights(out: Path, model: Qwen2) -> None:
    part = out / "model.safetensors.part"
    safetensors.torch.save_file(model.state_dict(), part, metadata={"format": "pt"})
    os.replace(part, out / "model.safetensors")


def load_model(source: Path, s: Shape) -> Qwen2:
    """From a checkpoint folder or from a training state."""
    model = Qwen2(s)
    state = safetensors.torch.load_file(source / "model.safetensors") if source.is_dir() else torch.load(source)["model"]
    model.load_state_dict(state)
    return model.eval()


def shape_of(out: Path) -> Shape:
    c = json.loads((out / "config.json").read_text())
    return Shape(c["vocab_size"], c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"], c["num_attention_heads"], c["num_key_value_heads"], c["rope_theta"], c["rms_norm_eps"])


def training_set(tok: tokenizers.Tokenizer, seed: int, size: int, exclude: set[str]) -> tuple[list[np.ndarray], list[int]]:
    """Token ids of whole examples and the lengths of their prompts."""
    examples: list[np.ndarray] = []
    prompts: list[int] = []
    fresh = (p for p in gsm_synth.problems(f"{seed}/training") if p.question not in exclude)
    every = round(1 / PLAIN_SHARE)
    while len(examples) < size:
        chunk = list(itertools.islice(fresh, min(10_000, size - len(examples))))
        heads = [(PLAIN if i % every == 0 else CHAT).format(question=p.question) for i, p in enumerate(chunk)]
        for head, body in zip(tok.encode_batch(heads), tok.encode_batch([p.answer + STOP for p in chunk]), strict=True):
            examples.append(np.array(head.ids + body.ids, dtype=np.int16))
            prompts.append(len(head.ids))
    return examples, prompts


def batches(examples: list[np.ndarray], prompts: list[int], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """One pass: batches of examples of about the same length, in random order."""
    lengths = np.array([len(e) for e in examples])
    order = np.argsort(lengths + rng.uniform(0, 12, len(lengths)), kind="stable")
    groups = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
    rng.shuffle(groups)
    return groups


class Muon(torch.optim.Optimizer):
    """Jordan et al. (2024), with the step size of Liu et al. (2025): orthogonalised momentum. torch.optim.Muon computes the
    Newton-Schulz iteration in bfloat16, which most CPUs only emulate; this one stays in float32, on stacks of equal shapes."""

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = collections.defaultdict(list)
            for p in group["params"]:
                shapes[p.shape].append(p)
            for shape, same in shapes.items():
                for p in same:
                    m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    m.lerp_(p.grad, 1 - group["momentum"])
                x = torch.stack([p.grad.lerp(self.state[p]["momentum"], group["momentum"]) for p in same])
                if tall := shape[0] > shape[1]:
                    x = x.mT
                x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
                for _ in range(5):
                    a = x @ x.mT
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                x = x.mT if tall else x
                for p, update in zip(same, x, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(update, alpha=group["lr"] * 0.2 * math.sqrt(max(shape)))


def pad(rows: list[np.ndarray]) -> Tensor:
    out = torch.zeros((len(rows), max(len(r) for r in rows)), dtype=torch.long)
    for i, r in enumerate(rows):
        out[i, : len(r)] = torch.from_numpy(r.astype(np.int64))
    return out


def train(out: Path, state_file: Path, tok: tokenizers.Tokenizer, s: Shape, seed: int, minutes: float, exclude: set[str], start_from: Path | None = None, chunk: int = 15_000, size: int = 32, peak: float = 3e-3) -> None:
    """Trains until the clock runs out; the learning rate falls linearly with the share of the time that is used."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = load_model(start_from, s).train() if start_from else Qwen2(s)
    # Muon on the matrices learns more from each token than AdamW, which takes the embedding and the vectors.
    optimizers = [
        Muon([p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n], peak),
        torch.optim.AdamW([p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n], lr=peak, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    log = (out / "training_log.jsonl").open("a" if start_from else "w")

    def note(**row: object) -> None:
        log.write(json.dumps(row) + "\n")
        log.flush()
        print(row, flush=True)

    note(versions={"python": platform.python_version(), "torch": torch.__version__, "tokenizers": tokenizers.__version__}, threads=torch.get_num_threads(), seed=seed, minutes=minutes, batch=size, peak_lr=peak, parameters=sum(p.numel() for p in model.parameters()))
    step, tokens, losses, turn = 0, 0, collections.deque(maxlen=100), 0
    examples, prompts = training_set(tok, seed, chunk, exclude)
    begin = saved = time.monotonic()
    while True:
        if turn > 0:
            examples, prompts = training_set(tok, seed + 1000 * turn, chunk, exclude)
        turn += 1
        for group in batches(examples, prompts, size, rng):
            progress = (time.monotonic() - begin) / (60 * minutes)
            if progress >= 1:
                note(step=step, tokens=tokens, loss=round(sum(losses) / len(losses), 4), seconds=round(time.monotonic() - begin))
                return write_weights(out, model)
            lr = peak * min(1, (step + 1) / 200) * (1 - progress)
            for optimizer in optimizers:
                for g in optimizer.param_groups:
                    g["lr"] = lr
                optimizer.zero_grad(set_to_none=True)
            ids = pad([examples[i] for i in group])
            length = torch.tensor([len(examples[i]) for i in group])[:, None]
            start = torch.tensor([prompts[i] for i in group])[:, None]
            hidden = model(ids[:, :-1], torch.arange(ids.shape[1] - 1))
            place = torch.arange(1, ids.shape[1])
            answer = (place >= start) & (place < length)
            loss = F.cross_entropy(model.logits(hidden[answer]), ids[:, 1:][answer])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            step, tokens = step + 1, tokens + int(length.sum())
            losses.append(float(loss.detach()))
            if step % 100 == 0:
                note(step=step, tokens=tokens, loss=round(sum(losses) / len(losses), 4), lr=round(lr, 6), seconds=round(time.monotonic() - begin))
            if time.monotonic() - saved > 300:
                saved = time.monotonic()
                torch.save({"model": model.state_dict(), "step": step}, state_file)


@torch.inference_mode()
def evaluate(source: Path, tok: tokenizers.Tokenizer, s: Shape, rows: list[dict[str, str]], scale: float, limit: int = 400, size: int = 100) -> dict[str, float]:
    """Share of greedy answers whose last line is the gold one."""
    model = load_model(source, s)
    right = ended = 0
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        prompts = [np.array(tok.encode(CHAT.format(question=r["question"])).ids) for r in part]
        ids, length = pad(prompts), torch.tensor([len(p) for p in prompts])
        noise = Noise(scale, at) if scale > 0 else None
        if noise:
            noise.mask = (torch.arange(ids.shape[1]) < length[:, None]).float()
        room = (len(part), s.kv_heads, ids.shape[1] + limit, s.head)
        caches = [Cache(torch.zeros(room), torch.zeros(room)) for _ in range(s.layers)]
        hidden = model(ids, torch.arange(ids.shape[1]), caches, noise)
        if noise:
            hidden = noise(hidden)  # the input of lm_head
        token = model.logits(hidden[torch.arange(len(part)), length - 1]).argmax(-1)
        if noise:
            noise.mask = None
        texts, done = [token], token == STOP_ID
        for step in range(limit - 1):
            for c in caches:
                c.position = length + step
            hidden = model(token[:, None], (length + step)[:, None], caches, noise)
            token = model.logits((noise(hidden) if noise else hidden)[:, 0]).argmax(-1)
            texts.append(token)
            done |= (token == STOP_ID) | (token == END_ID)
            if bool(done.all()):
                break
        for row, seq in zip(part, torch.stack(texts, 1).tolist(), strict=True):
            stop = seq.index(STOP_ID) if STOP_ID in seq else len(seq)
            ended += stop < len(seq)
            text = tok.decode(seq[:stop])
            right += text.rsplit("#### ", 1)[-1].strip() == row["answer"].rsplit("#### ", 1)[-1] and "#### " in text
    return {"noise": scale, "n": len(rows), "accuracy": right / len(rows), "ended": ended / len(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models/gsm-tiny"))
    parser.add_argument("--data", type=Path, default=Path("data/gsm-synth"))
    parser.add_argument("--state", type=Path, default=Path("train_gsm_tiny.state.part"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--go-on", action="store_true", help="start from the weights in --out, with fresh problems and a new learning-rate schedule")
    parser.add_argument("--peak", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eval", type=int, default=0)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    test, shipped = (pyarrow.parquet.read_table(args.data / f"{split}.parquet").to_pylist() for split in ("test", "train"))
    if args.minutes > 0:
        shape = Shape()
        tok = tokenizers.Tokenizer.from_file(str(args.out / "tokenizer.json")) if args.go_on else None
        if tok is None:
            texts = [PLAIN.format(question=p.question) + p.answer for p in itertools.islice(gsm_synth.problems(f"{args.seed}/tokenizer"), 20_000)]
            texts += [CHAT.format(question="") for _ in range(1000)]
            tok = train_tokenizer([t.replace(START, "").replace(STOP, "") for t in texts], shape.vocab)
            write_folder(args.out, shape, tok)
        known = {r["question"] for r in test + shipped}
        train(args.out, args.state, tok, shape, args.seed, args.minutes, known, args.out if args.go_on else None, peak=args.peak)
    if args.eval > 0:
        tok = tokenizers.Tokenizer.from_file(str(args.out / "tokenizer.json"))
        for scale in args.noise:
            print(json.dumps(evaluate(args.out, tok, shape_of(args.out), test[: args.eval], scale)), flush=True)


if __name__ == "__main__":
    main()
