#!/usr/bin/env python3
"""Where transformers puts the BOS token: small tokenizers with and without one, as text and through a chat template.

    pip install transformers==5.23.0
    python scripts/goldens/bos.py > decode/testdata/bos.json

Each case is the files of a tokenizer and the ids of a plain text and of a chat.
"""

import datetime
import itertools
import json
import pathlib
import tempfile

import transformers
from tokenizers import AddedToken, Tokenizer, models, processors

TEMPLATES = {
    "llama 2": "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama 3": "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "without": "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] }}{% endfor %}",
}
TEXT = "ab [INST] b"
CHAT = [{"role": "user", "content": "a b"}]


def tokenizer(post):
    letters = sorted(set("abcdefghijklmnopqrstuvwxyzINST[]/<|> \n"))
    vocab = {t: i for i, t in enumerate(["<unk>", "<s>", "</s>", *letters])}
    t = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    t.add_special_tokens([AddedToken(s, special=True) for s in ["<unk>", "<s>", "</s>"]])
    if post:
        t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return t


def main():
    cases = []
    for post, add, (name, template) in itertools.product([True, False], [True, False, None], TEMPLATES.items()):
        config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
        if add is not None:
            config["add_bos_token"] = add
        with tempfile.TemporaryDirectory() as d:
            tokenizer(post).save(d + "/tokenizer.json")
            pathlib.Path(d, "tokenizer_config.json").write_text(json.dumps(config))
            t = transformers.AutoTokenizer.from_pretrained(d)
            cases.append({
                "name": f"{name}, post-processor {post}, add_bos_token {add}",
                "post": post,
                "config": config,
                "plain": t(TEXT)["input_ids"],
                "chat": t.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=True)["input_ids"],
            })
    tokenizers = {str(post).lower(): json.loads(tokenizer(post).to_str()) for post in [True, False]}
    print(json.dumps({"made": datetime.date.today().isoformat(), "transformers": transformers.__version__, "text": TEXT, "message": CHAT[0]["content"], "tokenizers": tokenizers, "cases": cases}))


main()
