"""Fine-tunes SmolLM2-135M-Instruct on gsm-synth and GSM8K: a real language model that may have an accuracy to perturb.

    make smollm2                                                             # the base, models/smollm2.gguf
    python scripts/finetune_smollm2.py --minutes 60 --gsm8k path/to/gsm8k    # writes models/smollm2-gsm
    python scripts/finetune_smollm2.py --minutes 60 --gsm8k path/to/gsm8k --go-on --seed 8    # more training of what is there

The embedding, which is the head too, and the layers below the last ones stay as they are: they cost a forward pass and no backward one. Prompts
are those that gsmeval shows by default, and the loss is that of the answer alone, which ends in "#### N" and the end of the turn.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
import torch.nn.functional as F
import transformers
from torch import nn

from train_gsm_tiny import batches, pad

INSTRUCTION = "Solve this math problem step by step:\n{question}"  # prompt.instruction of a config, by default
LONGEST = 512  # tokens of an example; longer ones are left out
WARM_UP = 5  # steps
SAVE_EVERY = 600  # seconds


def rows(folder: Path) -> list[dict[str, str]]:
    """The train split in a folder of gsm-synth's or GSM8K's layout, or in a file."""
    files = [folder] if folder.is_file() else [f for f in (folder / "train.parquet", folder / "main" / "train-00000-of-00001.parquet") if f.exists()]
    if not files:
        raise SystemExit(f"finetune: {folder} has neither train.parquet nor main/train-00000-of-00001.parquet; name a folder that has, or the file")
    try:
        found = pyarrow.parquet.read_table(files[0], columns=["question", "answer"]).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as err:
        raise SystemExit(f"finetune: {files[0]}: {err}") from err
    if not found or any(not r.get("question") or "#### " not in (r.get("answer") or "") for r in found):
        raise SystemExit(f"finetune: {files[0]}: every row needs a question and an answer that ends in #### NUMBER")
    return found


def load(base: Path, out: Path, go_on: bool) -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    """The base, dequantised from its GGUF file, or what an earlier training left in `out`; in float32."""
    if go_on:
        if not (out / "model.safetensors").exists():
            raise SystemExit(f"finetune: --go-on, but there is no checkpoint in {out}")
        source, file = out, {}
    else:
        if not base.exists():
            raise SystemExit(f"finetune: {base} is not there: make smollm2 fetches it")
        base = base.resolve()  # a link into the cache
        source, file = base.parent, {"gguf_file": base.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **file)
    if not go_on:
        # transformers takes a model out of a GGUF file for a quantised one, and does not save it: the same weights in a model of no past.
        config, weights = model.config, model.state_dict()
        vars(config).pop("quantization_config", None)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(weights)
    return model, transformers.AutoTokenizer.from_pretrained(source, **file)


def training_set(tok: transformers.PreTrainedTokenizerBase, data: list[dict[str, str]]) -> tuple[list[np.ndarray], list[int]]:
    """Token ids of whole examples and the lengths of their prompts."""
    chats = [[{"role": "user", "content": INSTRUCTION.format(question=r["question"])}] for r in data]
    heads = tok(tok.apply_chat_template(chats, tokenize=False, add_generation_prompt=True), add_special_tokens=False)["input_ids"]
    bodies = tok([r["answer"] + tok.eos_token for r in data], add_special_tokens=False)["input_ids"]
    kept = [(h, b) for h, b in zip(heads, bodies, strict=True) if len(h) + len(b) <= LONGEST]
    return [np.array(h + b, dtype=np.int32) for h, b in kept], [len(h) for h, _ in kept]


def freeze(model: transformers.PreTrainedModel, last: int) -> list[nn.Parameter]:
    """Leaves the last layers and the final norm trainable, and returns their parameters."""
    layers = model.model.layers
    if not 1 <= last <= len(layers):
        raise SystemExit(f"finetune: --layers {last}: the model has {len(layers)}")
    model.requires_grad_(False)
    for part in [*layers[-last:], model.model.norm]:
        part.requires_grad_(True)
    return [p for p in model.parameters() if p.requires_grad]


def write(out: Path, model: transformers.PreTrainedModel, tok: transformers.PreTrainedTokenizerBase, log: list[dict[str, object]]) -> None:
    """Replaces `out` by an ordinary Hugging Face checkpoint, which is never there in part."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tok.save_pretrained(part)
    (part / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


def train(args: argparse.Namespace) -> None:
    """Trains until the clock runs out or the steps are done; the learning rate falls linearly with the share of it that is used."""
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    model, tok = load(args.base, args.out, args.go_on)
    model = model.to(args.device).train()
    params = freeze(model, args.layers)
    optimizer = torch.optim.AdamW(params, lr=args.peak, betas=(0.9, 0.98), weight_decay=0.0)
    sources = [args.data] + ([args.gsm8k] if args.gsm8k else [])
    data = [r for source in sources for r in rows(source)]
    examples, prompts = training_set(tok, data)
    if len(examples) < args.batch:
        raise SystemExit(f"finetune: --batch {args.batch}, but there are {len(examples)} examples")

    old = args.out / "training_log.jsonl"
    log = [json.loads(line) for line in old.read_text(encoding="utf-8").splitlines()] if args.go_on and old.exists() else []

    def note(**row: object) -> None:
        log.append(row)
        print(row, flush=True)

    note(versions={"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}, threads=torch.get_num_threads(), device=args.device, dtype=args.dtype, seed=args.seed, minutes=args.minutes, steps=args.steps, batch=args.batch, layers=args.layers, peak_lr=args.peak, go_on=args.go_on)
    note(examples=len(examples), left_out=len(data) - len(examples), tokens=sum(map(len, examples)), steps_an_epoch=len(examples) // args.batch, trainable=sum(p.numel() for p in params))

    step, tokens, losses = 0, 0, collections.deque(maxlen=50)
    begin = saved = time.monotonic()

    def state() -> dict[str, object]:
        return {"step": step, "tokens": tokens, "loss": round(sum(losses) / max(1, len(losses)), 4), "seconds": round(time.monotonic() - begin)}

    def progress() -> float:
        return step / args.steps if args.steps else (time.monotonic() - begin) / (60 * args.minutes)

    try:
        while progress() < 1:
            for group in batches(examples, prompts, args.batch, rng):
                done = progress()
                if done >= 1:
                    break
                optimizer.param_groups[0]["lr"] = args.peak * min(1, (step + 1) / WARM_UP) * (1 - done)
                optimizer.zero_grad(set_to_none=True)
                ids = pad([examples[i] for i in group]).to(args.device)
                length = torch.tensor([len(examples[i]) for i in group], device=args.device)[:, None]
                start = torch.tensor([prompts[i] for i in group], device=args.device)[:, None]
                place = torch.arange(1, ids.shape[1], device=args.device)
                answer = (place >= start) & (place < length)
                # Attention is causal and the padding is on the right, so that no mask is needed.
                with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bfloat16"):
                    hidden = model.model(ids[:, :-1], use_cache=False).last_hidden_state
                    logits = model.lm_head(hidden[answer])
                loss = F.cross_entropy(logits.float(), ids[:, 1:][answer])
                loss.backward()
                nn.utils.clip_grad_norm_(params, 1.0)
                optimizer.step()
                step, tokens = step + 1, tokens + int(length.sum())
                losses.append(float(loss.detach()))
                if step % 10 == 0:
                    note(**state())
                if time.monotonic() - saved > SAVE_EVERY:
                    write(args.out, model, tok, log)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        print("finetune: interrupted; writing what is there", flush=True)
    note(**state(), epochs=round(step * args.batch / len(examples), 3))
    write(args.out, model, tok, log)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=Path("models/smollm2.gguf"))
    parser.add_argument("--out", type=Path, default=Path("models/smollm2-gsm"), help="the checkpoint, which git ignores by default")
    parser.add_argument("--data", type=Path, default=Path("data/gsm-synth"))
    parser.add_argument("--gsm8k", type=Path, help="a folder with main/train-00000-of-00001.parquet, or that file; without it gsm-synth alone")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=0, help="so many steps in place of the minutes: the same weights each time on one machine")
    parser.add_argument("--go-on", action="store_true", help="start from the weights in --out, with a new learning-rate schedule; take another --seed")
    parser.add_argument("--layers", type=int, default=10, help="how many of the last layers are trained")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peak", type=float, default=3e-4, help="highest learning rate")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the products; weights are float32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    if args.minutes <= 0 or args.steps < 0 or args.batch < 1 or args.threads < 1:
        parser.error("--minutes, --batch and --threads must be positive, and --steps not negative")
    torch.set_num_threads(args.threads)
    train(args)
    run = f"bin/gsmeval run configs/gsm8k.yaml --set model.path={args.out}"
    print(f"""
{args.out} is an ordinary checkpoint. How well it reasons, on the test splits:

    {run} --set dataset.path={args.data} --set output=runs/finetuned-gsm-synth
    {run} --set dataset.path={args.gsm8k or "path/to/gsm8k"} --set output=runs/finetuned-gsm8k""")


if __name__ == "__main__":
    main()
