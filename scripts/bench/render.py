"""A processor's page of docs/benchmarks from what was measured. Every number and every verdict comes from the store."""

import re
import statistics
import textwrap

from store import Rounds, fastest, step

MODELS = {"bundled": "the bundled model (0.9 M parameters)", "shape05b": "random weights in Qwen2.5-0.5B's shape"}
DTYPES = {"float32": "fp32", "bfloat16": "bf16"}
SHORT = {"bundled": "bundled", "shape05b": "0.5B shape"}
ENGINES = {
    "gsmeval": "gsmeval", "gsmeval earlier": "gsmeval, earlier", "hf generate": "HF `generate`", "hf loop": "HF, bare loop", "hf notebook": "notebook's loop, no cache",
    "ctranslate2": "CTranslate2", "llama.cpp": "llama.cpp",
}
# Kinds of operations by the names that the engine's trace gives them; the first that fits.
KINDS = [
    ("noise", r"noise|spread"),
    ("linears", r"linear"),
    ("attention", r"attention|store kv"),
    ("norm, rope, silu, embedding", r"norm|rope|silu|gelu|softcap|embedding|add|mul"),
    ("sampling", r"sampling"),
    ("rest of Go and glue", r""),
]
NOISE = 0.05
DISTURBED = 0.2  # of the machine: no verdict is given if other processes had more


class Ratio:
    """A ratio for each round in which both sides were measured."""

    def __init__(self, above, below):
        self.all = [above[r] / below[r] for r in above.keys() & below.keys()]
        self.others = statistics.median(above.others + below.others) if self.all else 0

    def __bool__(self):
        return bool(self.all)

    @property
    def median(self):
        return statistics.median(self.all)

    def __str__(self):
        return f"{self.median:.2f} [{min(self.all):.2f}, {max(self.all):.2f}]" if self.all else "–"


def table(head, rows):
    if not rows:
        return "*not measured*\n"
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |\n"  # noqa: E731
    return line(head) + "|" + "---|" * len(head) + "\n" + "".join(line(r) for r in rows)


def per_token(row):
    return step(row) / row["batch"]


class Page:
    def __init__(self, store):
        self.s = store

    def rounds(self, part, engine, dtype, batch, noise, group=None):
        """round -> milliseconds of a step for one token of one sequence."""
        return self.s.by_round(per_token, part=part, group=group or dtype, engine=engine, dtype=dtype, batch=batch, noise=noise)

    def hf(self, part, dtype, batch, noise, group=None):
        """The quicker of the two ways of decoding with transformers, round by round: the harder one to beat."""
        ways = [self.rounds(part, e, dtype, batch, noise, group) for e in ("hf generate", "hf loop")]
        ways = [w for w in ways if w]
        common = set.intersection(*map(set, ways)) if ways else ()
        return Rounds({r: min(w[r] for w in ways) for r in common}, [x for w in ways for x in w.others])

    # --- bars ---

    def bars(self):
        rows = []

        def bar(text, wanted, ratio, met):
            if not ratio:
                verdict = "not measured"
            elif ratio.others > DISTURBED:
                verdict = f"undecided: other processes had {ratio.others:.0%} of the machine"
            else:
                verdict = "met" if met(ratio.median) else "**not met**"
                if met(min(ratio.all)) != met(max(ratio.all)):
                    verdict += ", within the spread"
            rows.append((text, wanted, ratio, verdict))

        def ahead(text, least, above, below):
            bar(text, f"≥ {least}" if least != 1 else "> 1", Ratio(above, below), lambda m: m >= least if least != 1 else m > 1)

        ours = lambda part, batch, noise, dtype="float32": self.rounds(part, "gsmeval", dtype, batch, noise)  # noqa: E731
        ahead("bundled, batch 32, noise: against HF with cache (b)", 4, self.hf("bundled", "float32", 32, NOISE), ours("bundled", 32, NOISE))
        ahead("bundled, batch 32, noise: against the notebook's loop (a), tokens/s", 50, self.rounds("bundled", "hf notebook", "float32", 1, NOISE), ours("bundled", 32, NOISE))
        ahead("bundled, batch 1, noise: against HF with cache (b)", 5, self.hf("bundled", "float32", 1, NOISE), ours("bundled", 1, NOISE))
        seconds = {e: self.s.by_round(lambda r: r["seconds"], part="lmeval", engine=e) for e in ("lm-eval", "gsmeval")}
        ahead("whole run: against lm-evaluation-harness (c)", 5, seconds["lm-eval"], seconds["gsmeval"])
        for batch in (1, 8, 32):
            ahead(f"0.5B shape, batch {batch}, noise: fp32 against HF (b) in fp32", 2, self.hf("shape05b", "float32", batch, NOISE), ours("shape05b", batch, NOISE))
        for batch in (1, 8, 32):
            ahead(f"0.5B shape, batch {batch}, noise: bf16 against HF (b) in fp32", 4, self.hf("shape05b", "float32", batch, NOISE, "bfloat16"), ours("shape05b", batch, NOISE, "bfloat16"))
        peers = (("CTranslate2", "ctranslate2", "float32"), ("llama.cpp", "llama.cpp", "float32"), ("llama.cpp", "llama.cpp", "bfloat16"))
        for name, engine, dtype in peers:
            for batch in (1, 8, 32):
                # At batch 1 every engine reads the weights as fast as memory gives them: within 3 % counts as ahead.
                ahead(f"0.5B shape, batch {batch}, clean: {DTYPES[dtype]} against {name} in {DTYPES[dtype]}", 0.97 if batch == 1 else 1,
                      self.rounds("shape05b", engine, dtype, batch, 0.0), ours("shape05b", batch, 0.0, dtype))
        for batch in (1, 8, 32):
            ahead(f"0.5B shape, batch {batch}, clean: bf16 against our fp32", 1, ours("shape05b", batch, 0.0), ours("shape05b", batch, 0.0, "bfloat16"))
        for name, engine, dtype in peers[:2]:
            for batch in (1, 8, 32):
                ahead(f"bundled, batch {batch}, clean: fp32 against {name} in fp32", 1, self.rounds("bundled", engine, dtype, batch, 0.0), ours("bundled", batch, 0.0))
        for part in MODELS:
            for batch in (1, 8, 32):
                with_, without = (self.s.by_round(lambda r: statistics.median(r["answer"]["step_ms"]), part="noise", model=part, dtype="float32", batch=batch, noise=n) for n in (NOISE, 0.0))
                bar(f"{SHORT[part]}, batch {batch}: a sampling step with noise against one without", "≤ 1.15", Ratio(with_, without), lambda m: m <= 1.15)
        for name, noise, at in self.flat_cases():
            bar(f"{SHORT[name]}, batch 1{', noise' if noise else ''}: token 500 against token 50, attention apart", "≤ 1.10",
                Ratio(at[500]["other"], at[50]["other"]), lambda m: m <= 1.1)
        for row in self.s.find(part="soak"):
            start, end, _ = soak_ends(row["answer"])
            bar(f"memory at the end of {row['answer'][-1]['s'] / 60:.1f} minutes against the start", "≤ 1.02", Ratio(Rounds({0: end}, []), Rounds({0: start}, [0])), lambda m: m <= 1.02)
        return table(["Bar", "Wanted", "Measured", ""], rows)

    # --- comparisons ---

    def comparison(self, part, dtype):
        rows = []
        for batch in (1, 8, 32):
            for noise in (0.0, NOISE):
                ours = self.rounds(part, "gsmeval", dtype, batch, noise)
                own = fastest(self.s.find(part=part, group=dtype, engine="gsmeval", dtype=dtype, batch=batch, noise=noise))
                for e, d in [(e, d) for d in dict.fromkeys((dtype, "float32")) for e in ENGINES if (e, d) != ("gsmeval", "float32") or dtype == d]:
                    key = dict(part=part, group=dtype, engine=e, dtype=d, batch=batch, noise=noise)
                    found = [r for r in self.s.find(**key) if "error" not in r]
                    if not found:
                        continue
                    ms, quick = statistics.median(map(step, found)), fastest(found)
                    against = [Ratio(self.rounds(part, e, d, batch, noise, dtype), ours), f"{quick / own:.2f}"] if own and e != "gsmeval" else ["", ""]
                    rows.append([batch, noise or "none", ENGINES[e] + ("" if d == dtype else f", {DTYPES[d]}"), f"{ms:.3g}", f"{batch / ms * 1e3:.4g}", *against,
                                 f"{statistics.median(r['prefill_ms'] for r in found):.0f}", f"{max(r['rss_peak_mb'] for r in found):.0f}"])
        out = table(["Batch", "Noise", "Engine", "ms a step", "tokens/s", "times gsmeval's time", "fastest steps", "prompts, ms", "peak MB"], rows)
        failures = sorted({f"{ENGINES[r['engine']]} {DTYPES[r['dtype']]}: {r['error']}" for r in self.s.find(part=part, group=dtype) if "error" in r})
        return out + "".join(f"\nDid not run: {f}\n" for f in failures)

    def roof(self):
        """What a step at batch 1 must read of memory, against what it took."""
        speeds = [r["gb_per_s"] for r in self.s.find(part="memory") if "gb_per_s" in r]
        weights = next((r["weights"] for r in self.s.find(part="memory", model="shape05b")), 0)
        rows = []
        for dtype, size in (("float32", 4), ("bfloat16", 2)):
            theirs, ours = self.hf("shape05b", "float32", 1, NOISE, dtype), self.rounds("shape05b", "gsmeval", dtype, 1, NOISE)
            if speeds and theirs and ours:
                ms = weights * size / statistics.median(speeds) / 1e6
                hf, own = statistics.median(theirs.values()), statistics.median(ours.values())
                rows.append([DTYPES[dtype], f"{weights * size / 1e9:.2f}", f"{statistics.median(speeds):.1f} [{min(speeds):.1f}, {max(speeds):.1f}]", f"{ms:.1f}", f"{own:.1f}",
                             f"{hf:.1f}", f"{hf / ms:.2f}", f"{hf / own:.2f}"])
        return table(["", "GB of weights", "GB/s that `torch.sum` reads", "ms for the weights", "gsmeval, noise, ms", "HF fp32, noise, ms", "ratio at that rate", "ratio reached"], rows)

    def whole(self):
        rows = []
        for e, name in (("gsmeval", "`gsmeval run`"), ("lm-eval", "lm-evaluation-harness `hf`")):
            found = [r for r in self.s.find(part="lmeval", engine=e) if "error" not in r]
            if found:
                seconds = [r["seconds"] for r in found]
                rows.append([name, found[0]["limit"], f"{statistics.median(seconds):.1f} [{min(seconds):.1f}, {max(seconds):.1f}]", f"{statistics.median(r['cpu_seconds'] for r in found):.1f}",
                             f"{max(r['rss_peak_mb'] for r in found):.0f}", found[0]["accuracy"] if found[0]["accuracy"] is not None else "not found"])
        failures = sorted({r["error"] for r in self.s.find(part="lmeval") if "error" in r})
        return table(["", "problems", "seconds", "processor seconds", "peak MB", "accuracy %"], rows) + "".join(f"\nDid not run: {f}\n" for f in failures)

    def busy(self):
        """Whole runs beside programs that do nothing but compute, against the fair share of the processors."""
        rows = []
        for e, name in (("gsmeval", "`gsmeval run`"), ("lm-eval", "lm-evaluation-harness `hf`")):
            quiet = self.s.by_round(lambda r: r["seconds"], part="busy", engine=e, neighbours=0)
            for n in (0, 1, 2):
                at = self.s.by_round(lambda r: r["seconds"], part="busy", engine=e, neighbours=n)
                if at and quiet:
                    cores, threads = next((r["cores"], r["threads"]) for r in self.s.find(part="busy", engine=e, neighbours=n) if "error" not in r)
                    # Every runnable thread gets the same share: ours slow down by what they lose of the cores.
                    fair = max(1.0, (threads + n) / cores)
                    rows.append([name, n, f"{statistics.median(at.values()):.1f} [{min(at.values()):.1f}, {max(at.values()):.1f}]", Ratio(at, quiet), f"{fair:.2f}", f"{Ratio(at, quiet).median / fair:.2f}"])
        return table(["", "busy neighbours", "seconds", "times its quiet time", "at the fair share", "of the fair share"], rows)

    # --- one engine ---

    def flat_cases(self):
        """(model, noise, {token: {"all"|"attention"|"other": {round: ms}}}), each the median of 21 steps around the token."""
        for name in MODELS:
            for noise in (0.0, NOISE):
                found = list(self.s.find(part="flat", model=name, noise=noise))
                if not found:
                    continue
                at = {}
                for token in (50, 100, 200, 300, 400, 490, 500):
                    at[token] = {key: Rounds({}, [r["others"] for r in found]) for key in ("all", "attention", "other")}
                    for r in found:
                        warm, steps = r["request"]["warm"], r["answer"]["step_ms"]
                        # Generated token t (from 0) comes of timed step t - warm - 1.
                        window = slice(max(0, min(token - warm - 1, len(steps) - 11) - 10), min(token - warm - 1, len(steps) - 11) + 11)
                        attention = [sum(x) for x in zip(*(v for op, v in r["answer"]["ops"].items() if kind(op) == "attention"))]
                        at[token]["all"][r["round"]] = statistics.median(steps[window])
                        at[token]["attention"][r["round"]] = statistics.median(attention[window])
                        at[token]["other"][r["round"]] = statistics.median(a - b for a, b in zip(steps[window], attention[window]))
                yield name, noise, at

    def flat(self):
        tokens, rows = (50, 100, 200, 300, 400, 500), []
        for name, noise, at in self.flat_cases():
            for key, label in (("all", "a step"), ("attention", "of it attention")):
                rows.append([MODELS[name], noise or "none", label, *(f"{statistics.median(at[t][key].values()):.3g}" for t in tokens)])
        return table(["Model", "Noise", "ms", *(f"token {t}" for t in tokens)], rows)

    def soak(self):
        rows = []
        for r in self.s.find(part="soak"):
            start, end, top = soak_ends(r["answer"])
            rows.append([f"{r['answer'][-1]['s'] / 60:.1f}", r["answer"][-1]["tokens"], r["batch"], f"{start:.1f}", f"{end:.1f}", f"{top:.1f}"])
        return table(["minutes", "tokens", "batch", "MB after the first tenth", "MB at the end", "MB at most"], rows)

    def profile(self, engine):
        kinds, rows = [k for k, _ in KINDS], []
        for name in MODELS:
            for dtype in DTYPES:
                for batch in (1, 8, 32):
                    for noise in (0.0, NOISE):
                        found = list(self.s.find(part="profile", engine=engine, model=name, dtype=dtype, batch=batch, noise=noise))
                        if not found:
                            continue
                        share = dict.fromkeys(kinds, 0.0)
                        for op in {op for r in found for op in r["answer"]["ops"]}:
                            share[kind(op)] += statistics.median(ms for r in found for ms in r["answer"]["ops"].get(op, [0.0]))
                        total = sum(share.values())
                        rows.append([SHORT[name], DTYPES[dtype], batch, noise or "none", f"{total:.3g}",
                                     *(f"{share[k]:.3g} ({share[k] / total:.0%})" for k in kinds)])
        return table(["Model", "", "Batch", "Noise", "ms a step", *kinds], rows)

    def ops(self):
        return table(["Benchmark", "µs", ""], [[f"`{r['name']}`", f"{r['us']:.4g}", r["more"]] for r in self.s.find(part="ops")])

    def since(self):
        """gsmeval's earlier build against this one, in the same rounds."""
        rows = []
        for part in MODELS:
            for dtype in DTYPES:
                for batch in (1, 8, 32):
                    for noise in (0.0, NOISE):
                        was, now = (self.rounds(part, e, dtype, batch, noise) for e in ("gsmeval earlier", "gsmeval"))
                        if ratio := Ratio(was, now):
                            rows.append([SHORT[part], DTYPES[dtype], batch, noise or "none", *(f"{batch * statistics.median(x.values()):.3g}" for x in (was, now)), ratio])
        return table(["Model", "", "Batch", "Noise", "ms a step, earlier", "now", "times faster"], rows)

    def measured_on(self):
        rows = []
        for r in self.s.rows:
            if r["part"].startswith("about:"):
                part = r["part"].removeprefix("about:")
                others = [x["others"] for x in self.s.find(part=part) if "others" in x]
                rows.append([part, r["date"], f"`{r['commit']}`", "quick" if r["quick"] else "full", r["threads"], f"{r['seconds'] / 60:.1f}",
                             f"{statistics.median(others):.0%}, at most {max(others):.0%}" if others else ""])
        latest = next((r for r in reversed(self.s.rows) if r["part"].startswith("about:")), None)
        if not latest:
            return "*nothing was measured*\n"
        versions = ", ".join(f"{k} {v}" for k, v in latest["versions"].items())
        return (f"{latest['cpu']}, {latest['cores']} cores ({', '.join(latest['features'])}), Linux {latest['kernel'].split('-')[0]}; {versions}; Python {latest['python']}.\n\n"
                + table(["Part", "When", "Commit", "Mode", "Threads", "Minutes", "Other processes' share of the machine"], rows))


def kind(op):
    return next(name for name, pattern in KINDS if re.search(pattern, op))


def soak_ends(readings):
    """Memory after the first tenth of the time, at the end and at most."""
    settled = [m["anon_mb"] for m in readings if m["s"] >= readings[-1]["s"] / 10]
    return settled[0], settled[-1], max(settled)


TEXT = {
    "head": """\
        Written by `make bench` from what it measured; do not edit. A ratio is taken inside each round, in which the engines take turns at
        the same work; tables give its median over the rounds, with the least and the greatest in brackets. While other programs compute,
        the threads of an engine wait for each other, in some engines a hundred times longer than in others: no verdict is given then.
        """,
    "compare": """\
        A step decodes one token of every sequence in the batch. *ms a step* is the median over a round's steps, then over rounds. *times
        gsmeval's time* is how many times as long the engine takes; *fastest steps* is the same ratio of the tenth percentile of all
        steps, which other processes on the machine disturb less. *prompts* is the time until every sequence has its first token, *peak MB*
        the greatest resident memory of the process, which for several rows is one process.
        """,
    "roof": """\
        A step at batch 1 reads every weight once and does little else, so the speed of memory bounds every engine. *ratio at that rate*
        is what an engine would reach that does nothing but read the weights as fast as `torch.sum` reads 2 GiB on the same threads: a bar
        above it cannot be met on this machine.
        """,
    "busy": """\
        The same whole run beside 0, 1 and 2 other programs that compute all the time. With two threads on two cores the fair share is all, two
        thirds and half of the machine; *of the fair share* is how much longer the run takes than that alone explains: at most 1.3 is aimed at.
        """,
    "method": """\
        ## What is compared, and what differs

        - Everybody has the same number of threads, prompts of random ids of equal length, the same number of decode steps and no end
          token. Every engine is a process that loads once; in each round they take turns, in alternating order.
        - **(a) the notebook's loop**: transformers without a cache, batch 1, `randn_like(x) * scale * x.std()` in a forward pre-hook of
          every Linear, softmax and multinomial in Python.
        - **(b) HF with a cache**: the same hooks. Two ways of decoding are measured, `generate` and a bare loop on a `DynamicCache`; the
          bars take the quicker one of each round. Under noise it samples at T = 1, else it takes the argmax, and so does gsmeval.
        - The hook's x.std() is over the whole batch, gsmeval's is of each sequence, and gsmeval's random numbers are a pure function of
          sample, position and site. That is more work, and it is what makes a batch mean what batch 1 means.
        - **(c) lm-evaluation-harness**: whole processes, from start to written results: greedy, the same chat template and instruction,
          `until: <|im_end|>`, 512 tokens, batch 32. It loads `datasets` and Python, pads prompts to a batch and decodes until its longest
          answer ends; gsmeval also writes a journal that survives being killed.
        - **(d) CTranslate2 and llama.cpp** decode without noise, greedily, from a conversion of the same weights (`scripts/bench/models.py`).
          llama.cpp gets the weights without the vocabulary and ids instead of text, its cache in the weights' type, and numpy's argmax.
        - The profile is the wall time of each of the engine's operations, which end before they return, from the trace of
          `internal/torch` (`Worker.Trace`): medians over steps. *sampling* is from the last operation to the last token of the step.
        - What noise adds to a step is measured apart (part noise): gsmeval alone, sampling at T = 1 with noise and without, in turns.
        - The 0.5B shape has random weights: its texts mean nothing, its speed is that of the shape.

        Commands: `make bench` (everything), `make bench QUICK=1` (a quarter of an hour), `make bench BENCH=bundled,lmeval` (parts: bundled,
        shape05b, noise, memory, lmeval, busy, flat, soak, profile, ops), `make bench SOAK=60` (an hour of decoding in the part soak), `make bench RESUME=1` (go on
        with an interrupted one), `make bench BENCH=none` (only write this page), `make bench EARLIER=path/to/an/older/bench-step` (take turns
        with an earlier build, too).
        """,
}


def page(store, title):
    p, text = Page(store), {k: textwrap.dedent(v) for k, v in TEXT.items()}
    out = [f"# Benchmarks: {title}\n\n", text["head"], "\n", p.measured_on(), "\n## Bars\n\n", p.bars(), "\n## Decoding\n\n", text["compare"]]
    for part in MODELS:
        for dtype in DTYPES:
            if store.has(part=part, group=dtype):
                out += [f"\n### {MODELS[part][0].upper()}{MODELS[part][1:]}, {DTYPES[dtype]}\n\n", p.comparison(part, dtype)]
    out += ["\n## What reading the weights takes, 0.5B shape, batch 1\n\n", text["roof"], "\n", p.roof()]
    out += ["\n## A whole run\n\n", p.whole(), "\n## A busy machine\n\n", text["busy"], "\n", p.busy(), "\n## The cost of a token along an answer, batch 1, fp32\n\n", p.flat()]
    out += ["\n## Memory over a long run\n\nResident anonymous memory while prompts of changing lengths come and go, bundled model, activation noise.\n\n", p.soak()]
    out += ["\n## Where a step's time goes\n\n", p.profile("gsmeval")]
    if store.has(engine="gsmeval earlier"):
        out += ["\n### The same of the earlier build\n\n", p.profile("gsmeval earlier"), "\n## Earlier and now\n\n", p.since()]
    out += ["\n## Parts\n\n`go test -bench` of single operations.\n\n", p.ops(), "\n", text["method"]]
    return "".join(out)


INDEX = """\
    # Benchmarks

    Written by `make bench` from what it measured; do not edit. A page for each processor that was measured: what was compared and how is at
    its end. Here are the bars of each; its name leads to the rest. A ratio of times is above 1 where gsmeval is the faster one. A verdict is
    that of the median over the rounds; in brackets are the least and the greatest, and where the bar lies between them it is *within the spread*.
    """


def index(pages):
    """The page that quotes the bars of every processor's page."""
    out = [textwrap.dedent(INDEX)]
    for p in pages:
        text = p.read_text()
        machine = next(line for line in text.splitlines() if "Linux" in line)
        bars = text[text.index("## Bars\n") + len("## Bars\n"):text.index("\n## Decoding")]
        days = sorted(set(re.findall(r"\| (\d{4}-\d\d-\d\d) ", text)))
        out.append(f"\n## [{p.stem}](benchmarks/{p.name})\n\n{machine} Measured {' to '.join(days[:1] + days[1:][-1:])}.\n{bars}")
    return "".join(out)
