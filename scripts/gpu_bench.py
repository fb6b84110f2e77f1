"""The benchmark of a GPU: random weights in the exact shapes of Qwen2.5-0.5B and R1-Distill-Qwen-1.5B, noise off and on.

    gpu_bench.py [--quick] [--device cuda|cpu] [--shape NAME]... --work DIR

It prints Markdown. gsmeval is measured through bin/bench-step (whole generations of two lengths, the difference over the steps; then a
whole GSM8K), with CUDA graphs and without them; transformers, where it is installed, by generate() with a static cache, with forward
pre-hooks for the noise, and by the notebook's loop, on the same machine right after. The roof is the time that reading the weights once
takes at the bandwidth that a copy of 1 GB shows here.

--device cpu --shape tiny tries the script itself: a few steps of a tiny model, whose numbers mean nothing.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts/bench"))
import qwen2  # noqa: E402

NOISE = 0.05
GSM8K = dict(prompts=1319, prompt=100, steps=250)


class Plan:
    """What is measured: sizes for a GPU, for a quick look at one, and for a try of the script on a CPU."""

    def __init__(self, device, quick):
        self.device, self.engine = device, "cuda:0" if device == "cuda" else device
        self.steps, self.warm, self.prompt, self.peer_steps, self.loop_steps = (32 if quick else 128), 8, 100, (16 if quick else 64), 16
        self.batches, self.copy, self.rounds, self.whole, self.whole_batch = ((1, 64) if quick else (1, 8, 32, 64, 128)), 1 << 30, 10, GSM8K, 128
        if device == "cpu":
            self.steps, self.warm, self.prompt, self.peer_steps, self.loop_steps = 4, 2, 8, 3, 2
            self.batches, self.copy, self.rounds, self.whole, self.whole_batch = (1, 4), 1 << 24, 2, dict(prompts=10, prompt=8, steps=6), 4


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def bandwidth(plan):
    """Bytes a second that a copy within the device's memory reads and writes."""
    a = torch.zeros(plan.copy // 2, dtype=torch.int16, device=plan.device)
    b = torch.zeros_like(a)
    best = 0
    for _ in range(plan.rounds):
        synchronize(plan.device)
        begin = time.perf_counter()
        b.copy_(a)
        synchronize(plan.device)
        best = max(best, 2 * a.nbytes / (time.perf_counter() - begin))
    return best


class Step:
    """bin/bench-step with one model loaded."""

    def __init__(self, model, dtype, device, *flags):
        self.process = subprocess.Popen([ROOT / "bin/bench-step", "-model", model, "-dtype", dtype, "-device", device, *flags],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"gpu_bench.py: bench-step ended with code {self.process.wait()}")
        return json.loads(line)

    def ask(self, **q):
        self.process.stdin.write(json.dumps(q) + "\n")
        self.process.stdin.flush()
        return self.read()

    def ms(self, plan, batch, noise):
        return self.ask(op="rate", batch=batch, prompt=plan.prompt, steps=plan.steps, warm=plan.warm, noise=noise)["step_ms"][0]


class Transformers:
    """A model in transformers; found is False where that is not installed."""

    def __init__(self, plan):
        self.plan = plan
        try:
            import transformers
            self.library, self.found = transformers, True
        except ImportError:
            self.found = False

    def load(self, path, dtype):
        if not self.found:
            return
        self.model = self.library.AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).to(self.plan.device).eval()
        self.model.generation_config = self.library.GenerationConfig(pad_token_id=0)

    def drop(self):
        self.model = None
        if self.plan.device == "cuda":
            torch.cuda.empty_cache()

    def ms(self, batch, steps, noise, notebook=False):
        """Milliseconds of a step; the notebook's loop computes the whole prefix anew at every step, for a batch of 1."""
        def pre(_, args):
            return (args[0] + torch.randn_like(args[0]) * noise * args[0].std(),) + args[1:]

        hooks = [linear.register_forward_pre_hook(pre) for linear in self.model.modules() if isinstance(linear, torch.nn.Linear)] if noise else []
        ids = torch.randint(3, 1024, (batch, self.plan.prompt), device=self.plan.device)

        def once(n):
            synchronize(self.plan.device)
            begin = time.perf_counter()
            with torch.no_grad():
                if notebook:
                    x = ids[:1]
                    for _ in range(n):
                        z = self.model(x, use_cache=False).logits[0, -1].float()
                        x = torch.cat([x, torch.multinomial(torch.softmax(z, -1), 1)[None]], 1)
                        x[0, -1].item()
                else:
                    out = self.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, do_sample=True, temperature=1.0,
                                              top_k=0, top_p=1.0, cache_implementation="static", disable_compile=bool(noise))
                    if out.shape[1] != self.plan.prompt + n:
                        sys.exit(f"gpu_bench.py: transformers made {out.shape[1] - self.plan.prompt} tokens, not {n}")
            synchronize(self.plan.device)
            return time.perf_counter() - begin

        try:
            once(1 + steps)
            return (once(1 + steps) - once(1)) / steps * 1000
        finally:
            for h in hooks:
                h.remove()


def measured(plan, model, dtype, *flags):
    """(batch, noise) -> milliseconds of a step of gsmeval."""
    with Step(model, dtype, plan.engine, *flags) as step:
        return {(batch, noise): step.ms(plan, batch, noise) for batch in plan.batches for noise in (0, NOISE)}


def steps(plan, name, model, parameters, roof):
    """The table of one shape."""
    peer = Transformers(plan)
    for dtype in ("bfloat16", "float32"):
        bytes_read = parameters * (2 if dtype == "bfloat16" else 4)
        ours, eager = measured(plan, model, dtype), measured(plan, model, dtype, "-no-graphs")
        peer.load(model, dtype)
        for (batch, noise), ms in ours.items():
            against = "not installed | –"
            if peer.found:
                theirs = peer.ms(batch, plan.peer_steps, noise)
                against = f"{theirs:.2f} | {theirs / ms:.1f}"
            cost = f"{100 * (ms / ours[batch, 0] - 1):.0f} %" if noise else "–"
            print(f"| {name} | {dtype} | {batch} | {noise or 'none'} | {ms:.3f} | {batch / ms * 1000:.0f} | {100 * bytes_read / roof * 1000 / ms:.0f} % | "
                  f"{cost} | {eager[batch, noise]:.3f} | {against} |", flush=True)
        if peer.found and dtype == "bfloat16":
            ms = peer.ms(1, plan.loop_steps, NOISE, notebook=True)
            print(f"| {name} | {dtype} | 1, the notebook's loop | {NOISE} | | | | | | {ms:.2f} | |", flush=True)
        peer.drop()


def whole(plan, name, model):
    """As many prompts as GSM8K has, decoded as a run does."""
    with Step(model, "bfloat16", plan.engine) as step:
        for noise in (0, NOISE):
            got = step.ask(op="whole", batch=plan.whole_batch, noise=noise, **plan.whole)
            if got["tokens"] != plan.whole["prompts"] * plan.whole["steps"]:
                sys.exit(f"gpu_bench.py: {got['tokens']} tokens were decoded, not {plan.whole['prompts']} times {plan.whole['steps']}")
            yield f"| {name} | {plan.whole_batch} | {noise or 'none'} | {plan.whole['prompts']} | {plan.whole['steps']} | {got['s']:.1f} | {got['tokens'] / got['s']:.0f} |"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true", help="fewer batch sizes and steps")
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    p.add_argument("--shape", action="append", choices=sorted(qwen2.SHAPES), help="a shape to measure (default: the two real ones)")
    p.add_argument("--work", type=pathlib.Path, required=True, help="where checkpoints are made, one after another (3 GB)")
    a = p.parse_args()
    if a.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_bench.py: torch finds no GPU here; --device cpu --shape tiny tries this script without one")
    if not (ROOT / "bin/bench-step").exists():
        sys.exit("gpu_bench.py: there is no bin/bench-step; scripts/gpu_check.sh builds it")
    plan = Plan(a.device, a.quick)
    roof = bandwidth(plan)
    where = torch.cuda.get_device_name() if a.device == "cuda" else "CPU, a try of the script: the numbers mean nothing"
    print(f"{where}; torch {torch.__version__}; a copy moves {roof / 1e12:.2f} TB/s\n")
    print("| Model | dtype | Batch | Noise | Step ms | tokens/s | of the roof | noise costs | without graphs ms | transformers ms | times faster |")
    print("|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    decoded = []
    for name in a.shape or ("Qwen2.5-0.5B", "R1-Distill-Qwen-1.5B"):
        model = a.work / name
        parameters = qwen2.make(name, model, ROOT / "models/gsm-tiny", a.device)
        steps(plan, name, model, parameters, roof)
        decoded += whole(plan, name, model)
        shutil.rmtree(model)
    print("\nWhole data sets, decoded as a run does (bfloat16, prompts of 1 to "
          f"{2 * plan.whole['prompt']} tokens):\n\n| Model | Batch | Noise | Prompts | Tokens of each | Seconds | tokens/s |\n|---|--:|---|--:|--:|--:|--:|")
    print("\n".join(decoded))


main()
