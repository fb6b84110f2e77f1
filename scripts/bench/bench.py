"""`make bench`: gsmeval against its peers, the same work in one run, written to docs/benchmarks/PROCESSOR.md.

    bench.py --parts bundled,shape05b,noise,memory,lmeval,busy,flat,soak,profile,ops [--quick] [--resume] [--soak MINUTES] [--rounds N]
    bench.py --parts none                  only write the page from what was measured

Every measurement is appended to OUT/measurements.jsonl. A part that is asked for is measured anew; with --resume what is there
is kept and the rest is measured. --earlier takes the bench-step of an earlier build, which then takes turns with the others.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import machine
import render
from engines import ROOT, Process, Spec, environment, specs
from render import MODELS, NOISE
from store import Store

PARTS = ["bundled", "shape05b", "noise", "memory", "lmeval", "busy", "flat", "soak", "profile", "ops"]

# Decode steps that are timed and steps before them, and tokens of a prompt.
FULL = {"bundled": dict(prompt=64, steps=128, warm=8, rounds=7), "shape05b": dict(prompt=64, steps={1: 24, 8: 16, 32: 8}, warm=2, rounds=5)}
QUICK = {"bundled": dict(prompt=64, steps=48, warm=4, rounds=3), "shape05b": dict(prompt=8, steps={1: 8, 8: 5, 32: 3}, warm=1, rounds=2)}


def say(*what):
    print(time.strftime("bench %H:%M:%S"), *what, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, o):
        self.o = o
        self.work = pathlib.Path(o.work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.store = Store(pathlib.Path(o.out) / "measurements.jsonl")
        self.env = environment(o.threads)
        self.sizes = QUICK if o.quick else FULL

    # --- models ---

    def model(self, name):
        """The model's directory; conversions for the peers lie beside it in the work folder."""
        bundled = ROOT / "models/gsm-tiny"
        d = bundled if name == "bundled" else self.work / "shape05b"
        if name == "shape05b":
            self.made(d / "model.safetensors", "shape05b", d, bundled)
        return d

    def convert(self, d, dtypes):
        self.made(self.work / f"{d.name}.ct2" / "bench_tokens.txt", "ct2", d, self.work / f"{d.name}.ct2")
        for dtype in dtypes:
            out = self.work / f"{d.name}.{dtype}.gguf"
            self.made(out, "gguf", d, out, dtype)

    def made(self, result, *command):
        if result.exists() and result.stat().st_mtime > (ROOT / "models/gsm-tiny/model.safetensors").stat().st_mtime:
            return
        say("making", result)
        p = subprocess.run([sys.executable, str(ROOT / "scripts/bench/models.py"), *map(str, command)], capture_output=True, text=True, env=self.env)
        if p.returncode:
            lines = (p.stderr or p.stdout).strip().splitlines()
            say(f"could not make {result}: {lines[-1] if lines else p.returncode}")
            if result.is_file():
                result.unlink()

    # --- parts ---

    def compare(self, part):
        """Decode steps of every engine at every batch size, dtype and noise: the engines take turns, round by round."""
        size, d = self.sizes[part], self.model(part)
        self.convert(d, self.o.dtypes)
        for dtype in self.o.dtypes:
            processes = {}
            try:
                for r in range(self.o.rounds or size["rounds"]):
                    for batch in self.o.batches:
                        for noise in (0.0, NOISE):
                            engines = [e for e in specs(dtype, self.o.earlier) if batch in e.batches and (e.noisy or not noise)]
                            for e in engines if r % 2 == 0 else engines[::-1]:
                                self.one(part, d, dtype, processes, e, batch, noise, r, size)
            finally:
                for p in processes.values():
                    if p:
                        p.close()

    def request(self, op, size, batch, noise, greedy):
        steps = size["steps"][batch] if isinstance(size["steps"], dict) else size["steps"]
        return dict(op=op, batch=batch, prompt=size["prompt"], steps=steps, warm=size["warm"], noise=noise, greedy=greedy)

    def one(self, part, d, group, processes, e, batch, noise, r, size):
        key = dict(part=part, group=group, engine=e.name, dtype=e.dtype, batch=batch, noise=noise, round=r)
        failed = dict(key, round=-1)
        if self.store.has(**key) or self.store.has(**failed):
            return
        request = self.request("decode", size, batch, noise, greedy=not noise)
        steps = request["steps"]
        if e.mode:
            request["mode"] = e.mode
        command = tuple(e.command(d, self.work, self.o.threads))
        try:
            if command not in processes:
                processes[command] = None
                processes[command] = Process(command, self.env)
            if processes[command] is None:
                return
            time.sleep(0.3)  # until the threads of the engine before have stopped spinning
            answer, about = processes[command].ask(request)
        except (RuntimeError, OSError) as err:
            say(f"{part} {e.name} {e.dtype} batch {batch}: {err}")
            processes[command] = None
            self.store.add(**failed, error=str(err))
            return
        self.store.add(**key, prompt=size["prompt"], steps=steps, **answer, **about, time=time.time())
        say(f"{part} {group} batch {batch} noise {noise} round {r}: {e.name} {e.dtype} {sorted(answer['step_ms'])[steps // 2]:.2f} ms a step, others {about['others']:.0%}")

    def noise(self):
        """What noise adds to a step: with it and without it, both times sampling at T = 1."""
        for name in MODELS:
            size = self.sizes[name]
            for dtype in self.o.dtypes:
                qs = [self.request("decode", size, b, n, greedy=False) for b in self.o.batches for n in (0.0, NOISE)]
                self.ours("noise", name, Spec("gsmeval", dtype), qs, self.o.rounds or 5)

    def memory(self):
        """How fast this machine reads memory, which a decode step at batch 1 cannot be ahead of."""
        speeds = subprocess.run([sys.executable, str(ROOT / "scripts/bench/memory.py"), str(self.o.threads), str(self.o.rounds or 7)], stdout=subprocess.PIPE, text=True, env=self.env, check=True)
        for r, speed in enumerate(json.loads(speeds.stdout)):
            self.store.add(part="memory", round=r, gb_per_s=speed)
        with open(self.model("shape05b") / "model.safetensors", "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        matrices = (t["shape"] for name, t in header.items() if name != "__metadata__" and len(t["shape"]) == 2)
        self.store.add(part="memory", model="shape05b", weights=sum(a * b for a, b in matrices))

    def lmeval(self):
        """Whole processes: `gsmeval run` and lm-evaluation-harness on the same problems, in turns."""
        for r in range(self.o.rounds or (1 if self.o.quick else 3)):
            self.whole_runs("lmeval", r, 50 if self.o.quick else 200)

    def busy(self):
        """The same beside other programs that compute all the time."""
        for r in range(self.o.rounds or (1 if self.o.quick else 3)):
            for neighbours in (0, 1, 2):
                others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbours)]
                try:
                    self.whole_runs("busy", r, 100, neighbours=neighbours, cores=os.cpu_count(), threads=self.o.threads)
                finally:
                    for p in others:
                        p.kill()
                        p.wait()

    def whole_runs(self, part, r, limit, **more):
        work = self.work / part
        if not self.store.has(part=part):
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        here = ROOT / "scripts/bench/lmeval"
        (work / "gsm_synth.yaml").write_text((here / "gsm_synth.yaml").read_text().replace("DATA_DIR", str(ROOT / "data/gsm-synth")))
        name = f"{r}-{more['neighbours']}" if more else str(r)
        ours = [str(ROOT / "bin/gsmeval"), "run", str(here / "gsmeval.yaml"), "--set", f"output={work}/run{name}", "--set", f"dataset.limit={limit}"]
        theirs = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={ROOT}/models/gsm-tiny,dtype=float32",
                  "--tasks", "gsm_synth", "--include_path", str(work), "--device", "cpu", "--batch_size", "32", "--limit", str(limit),
                  "--apply_chat_template", "--output_path", str(work / f"lm{name}")]
        for engine, command in (("gsmeval", ours), ("lm-eval", theirs)):
            key = dict(part=part, engine=engine, round=r, **more)
            if self.store.has(**key):
                continue
            env = {**self.env, "HF_HOME": str(work / "hf")}
            if engine == "lm-eval":
                env.pop("HF_DATASETS_OFFLINE")
            row = machine.whole(command, env, ROOT)
            found = re.search(r"greedy\s*\|\s*\d+\s*\|\s*([\d.]+)" if engine == "gsmeval" else r"exact_match\|[^|]*\|\s*([\d.]+)", row.pop("output"))
            accuracy = float(found[1]) * (1 if engine == "gsmeval" else 100) if found else None
            self.store.add(**key, limit=limit, accuracy=accuracy, time=time.time(), **row)
            say(f"{part} round {r} {more.get('neighbours', '')}: {engine} {row['seconds']:.1f} s, accuracy {accuracy}", row.get("error", ""))

    def flat(self):
        """The cost of each token of one long answer at batch 1."""
        for name in ("bundled",) if self.o.quick else ("bundled", "shape05b"):
            self.ours("flat", name, Spec("gsmeval", "float32"), [dict(op="trace", batch=1, prompt=64, steps=500, warm=4, noise=n, greedy=not n) for n in (0.0, NOISE)],
                      self.o.rounds or (3 if name == "bundled" else 2))

    def soak(self):
        """Memory over a long run with prompts of changing lengths."""
        minutes = self.o.soak or (0.5 if self.o.quick else 3)
        q = dict(op="soak", batch=32, prompt=200, steps=200, noise=NOISE, seconds=60 * minutes, every=max(0.5, minutes / 4))
        self.ours("soak", "bundled", Spec("gsmeval", "float32"), [q], 1)

    def profile(self):
        """Where the time of a step goes."""
        for name in MODELS:
            size = self.sizes[name]
            for dtype in self.o.dtypes:
                qs = [self.request("trace", size, b, n, greedy=not n) for b in self.o.batches for n in (0.0, NOISE)]
                for e in [e for e in specs(dtype, self.o.earlier) if e.name.startswith("gsmeval")]:
                    self.ours("profile", name, e, qs, self.o.rounds or 3)

    def ours(self, part, name, e, requests, rounds):
        """Asks one build of gsmeval alone."""
        p = None
        try:
            for r in range(rounds):
                for q in requests:
                    key = dict(part=part, model=name, engine=e.name, dtype=e.dtype, batch=q["batch"], noise=q["noise"], round=r)
                    if self.store.has(**key):
                        continue
                    p = p or Process(e.command(self.model(name), self.work, self.o.threads), self.env)
                    answer, about = p.ask(q, patience=900 + q.get("seconds", 0))
                    self.store.add(**key, request=q, answer=answer, time=time.time(), **about)
                    say(f"{part} {name} {e.name} {e.dtype} batch {q['batch']} noise {q['noise']} round {r}: done, others {about['others']:.0%}")
        finally:
            if p:
                p.close()

    def ops(self):
        """go test -bench of the parts."""
        command = "source .deps/env; go test -run '^$' -bench . -benchtime %s ./decode/... ./noise/... ./internal/torch/..." % ("20x" if self.o.quick else "200x")
        p = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, env=self.env)
        if p.returncode:
            say("go test -bench failed:", p.stdout[-2000:], p.stderr[-2000:])
        for line in p.stdout.splitlines():
            if m := re.match(r"(Benchmark\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op(.*)", line):
                self.store.add(part="ops", name=m[1], us=float(m[2]) / 1e3, more=m[3].strip(), time=time.time())


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--parts", default=",".join(PARTS))
    a.add_argument("--quick", action="store_true", help="fewer rounds and steps, about a quarter of an hour in all on two quiet cores")
    a.add_argument("--resume", action="store_true", help="keep what was measured of the parts and measure the rest")
    a.add_argument("--rounds", type=int, default=0)
    a.add_argument("--soak", type=float, default=0, metavar="MINUTES")
    a.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    a.add_argument("--batches", default="1,8,32")
    a.add_argument("--dtypes", default="float32,bfloat16")
    a.add_argument("--name", default=machine.name(), help="the page's and the measurements' name, by default the processor's")
    a.add_argument("--out", default="")
    a.add_argument("--work", required=True, help="where models are made and converted, 7 GB")
    a.add_argument("--earlier", default="", metavar="BENCH_STEP")
    a.add_argument("--markdown", default="", help="the page, docs/benchmarks/NAME.md by default")
    o = a.parse_args()
    o.out = o.out or str(ROOT / "runs/bench" / o.name)
    page = pathlib.Path(o.markdown or ROOT / f"docs/benchmarks/{o.name}.md")
    o.batches, o.dtypes = [int(b) for b in o.batches.split(",")], o.dtypes.split(",")
    parts = [] if o.parts == "none" else o.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        a.error(f"unknown parts: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    b = Bench(o)
    for part in parts:
        if not o.resume:
            b.store.drop(part)
        begin = time.time()
        b.compare(part) if part in FULL else getattr(b, part)()
        b.store.drop("about:" + part)
        b.store.add(part="about:" + part, seconds=round(time.time() - begin), quick=o.quick, threads=o.threads, **machine.about())
    page.parent.mkdir(exist_ok=True)
    page.write_text(render.page(b.store, o.name))
    say("wrote", page)
    if not o.markdown:
        (ROOT / "docs/benchmarks.md").write_text(render.index(sorted(page.parent.glob("*.md"))))


if __name__ == "__main__":
    main()
