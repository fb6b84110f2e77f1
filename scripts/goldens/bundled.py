#!/usr/bin/env python3
"""What Hugging Face transformers makes of the bundled model: prompts, token ids, greedy answers, texts, logits.

    pip install torch==2.11.0 transformers==5.23.0 pyarrow
    python scripts/goldens/bundled.py           # writes decode/testdata/bundled.json from models/gsm-tiny and data/gsm-synth
"""

import datetime
import hashlib
import json
import pathlib

import pyarrow.parquet
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "gsm-tiny"
INSTRUCTION = "Solve this math problem step by step:\n{question}"
# Real GSM8K text holds characters like these; the tokenizer must not change them.
ODD = ["Janet’s 3\u00a0ducks cost €5½ each.", "a\tb\r\n  c", "¾ of 1,000 — 25 %", "日本語 🙂"]


@torch.no_grad()
def main():
    tok = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL).float().eval()
    rows = pyarrow.parquet.read_table(ROOT / "data" / "gsm-synth" / "test.parquet").to_pylist()[:8]
    out = {
        "made": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "weights": hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest(),
        "answers": [],
        "texts": [{"text": t, "ids": tok.encode(t), "decoded": tok.decode(tok.encode(t))} for t in ODD],
    }
    for r in rows:
        messages = [{"role": "user", "content": INSTRUCTION.format(question=r["question"])}]
        text = tok.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tok(text, add_special_tokens=False).input_ids
        logits = model(torch.tensor([ids])).logits[0, -1]
        full = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=256)[0].tolist()
        new = full[len(ids) :]
        out["answers"].append({
            "question": r["question"], "prompt": text, "prompt_ids": ids, "ids": new, "text": tok.decode(new, skip_special_tokens=True),
            "logits": [float(f"{v:.7g}") for v in logits.tolist()],
        })  # fmt: skip
    (ROOT / "decode" / "testdata" / "bundled.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
