"""Hugging Face transformers: generate() or a bare loop, with a key-value cache, and the notebook's loop without one.

    peer_hf.py MODEL_DIR DTYPE THREADS

Activation noise is the notebook's: a forward pre-hook on every nn.Linear that adds randn_like(x) * scale * x.std().
"""

import sys

import torch
import transformers

from worker import Clock, prompts, serve

DIR, DTYPE, THREADS = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(THREADS)
torch.manual_seed(42)
model = transformers.AutoModelForCausalLM.from_pretrained(DIR, dtype=DTYPE).eval()
model.generation_config = transformers.GenerationConfig(pad_token_id=0)  # no end token: every engine decodes as many tokens


def hooks(scale):
    def pre(module, args, kwargs):
        x = args[0]
        return (x + torch.randn_like(x) * scale * x.std(),) + args[1:], kwargs

    return [m.register_forward_pre_hook(pre, with_kwargs=True) for m in model.modules() if isinstance(m, torch.nn.Linear)]


def choose(logits, greedy):
    """[B, V] -> [B, 1]: the notebook's softmax and multinomial at T = 1, or argmax."""
    if greedy:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial(torch.softmax(logits.float(), -1), 1)


class Ticking(transformers.StoppingCriteria):
    def __init__(self, clock):
        self.clock = clock

    def __call__(self, ids, scores, **kw):
        self.clock.tick()
        return torch.zeros(ids.shape[0], dtype=torch.bool)


def generate(ids, q, clock):
    sampling = dict(do_sample=False) if q["greedy"] else dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0)
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=q["warm"] + q["steps"] + 1,
                   stopping_criteria=[Ticking(clock)], use_cache=True, **sampling)


def loop(ids, q, clock):
    cache = transformers.DynamicCache(config=model.config)
    for _ in range(q["warm"] + q["steps"] + 1):
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        ids = choose(out.logits[:, -1, :], q["greedy"])
        clock.tick()


def notebook(ids, q, clock):
    """The notebook's generate_with_temperature, line by line: batch 1, the whole prefix anew at every step."""
    for _ in range(q["warm"] + q["steps"] + 1):
        outputs = model(ids, use_cache=False)
        logits = outputs.logits[0, -1, :].float()
        if q["greedy"]:
            token = logits.argmax().item()
        else:
            token = torch.multinomial(torch.softmax(logits / 1.0, -1), num_samples=1).item()
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
        clock.tick()


def measure(q):
    handles = hooks(q["noise"]) if q["noise"] else []
    try:
        with torch.no_grad():
            ids = torch.tensor(prompts(q["batch"], q["prompt"]))
            clock = Clock()
            {"generate": generate, "loop": loop, "notebook": notebook}[q["mode"]](ids, q, clock)
            return clock.timing(q["warm"], q["steps"])
    finally:
        for h in handles:
            h.remove()


serve(measure)
