#!/usr/bin/env python3
"""What transformers computes from SmolLM2-135M-Instruct, dequantised from its GGUF file.

    pip install torch==2.11.0 transformers==5.24.0 gguf==0.19.0
    make smollm2
    python scripts/goldens/smollm2.py               # writes decode/testdata/smollm2.json

The logits are those of the last position: the 50 largest and every 389th. Questions are taken whose greedy path has no near ties.
"""

import datetime
import hashlib
import json
import pathlib

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "models" / "smollm2.gguf"
GREEDY = 200
SYSTEM = {"role": "system", "content": "You answer in one line."}
QUESTIONS = [
    "Natalia sold 48 clips in April, and half as many in May. How many clips did she sell altogether?",
    "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total does it take?",
    "What is the capital of France?",
    "Tom has 3 boxes with 12 pencils each and gives 7 away. How many pencils are left?",
    "Name three colours.",
]
TEXTS = ["Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72", "  na\u00efve \u65e5\u672c 1,234.50\t$7", "I'll", "<|im_end|> x"]


def logits(model, ids):
    z = model(torch.tensor([ids])).logits[0, -1]
    at = sorted(set(torch.topk(z, 50).indices.tolist()) | set(range(0, z.numel(), 389)))
    return {"prompt": ids, "at": at, "logits": [float(f"{z[i]:.7g}") for i in at], "max": float(z.abs().max())}


@torch.no_grad()
def greedy(model, ids):
    out, gap, past, cur = [], float("inf"), None, torch.tensor([ids])
    for _ in range(GREEDY):
        o = model(cur, past_key_values=past, use_cache=True)
        past, z = o.past_key_values, o.logits[0, -1].double()
        top = torch.topk(z, 2).values
        gap = min(gap, float((top[0] - top[1]) / z.abs().max()))
        out.append(int(z.argmax()))
        cur = torch.tensor([[out[-1]]])
    return out, gap


@torch.no_grad()
def main():
    path = FILE.resolve()
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    golden = {
        "made": datetime.date.today().isoformat(), "torch": torch.__version__, "transformers": transformers.__version__, "gguf": "0.19.0",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "chats": [], "texts": [], "last": [], "greedy": [],
    }  # fmt: skip
    for q in QUESTIONS:
        for messages in [[{"role": "user", "content": q}], [SYSTEM, {"role": "user", "content": q}]]:
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
            golden["chats"].append({"messages": messages, "ids": ids})
    for text in TEXTS:
        golden["texts"].append({"text": text, "ids": tokenizer(text)["input_ids"]})
    for q in QUESTIONS[:2]:
        ids = tokenizer.apply_chat_template([{"role": "user", "content": q}], add_generation_prompt=True)["input_ids"]
        golden["last"].append(logits(model, ids))
        out, gap = greedy(model, ids)
        print(q, f"gap {gap:.2g}", tokenizer.decode(out)[:100].replace("\n", " "))
        if gap > 1e-5:
            golden["greedy"].append({"prompt": ids, "ids": out, "gap": gap})
    golden["last"].append(logits(model, list(range(0, 49000, 240))))
    text = json.dumps(golden, separators=(",", ":")) + "\n"
    (ROOT / "decode" / "testdata" / "smollm2.json").write_text(text)
    print(len(text) // 1024, "KB,", len(golden["greedy"]), "greedy paths")


main()
