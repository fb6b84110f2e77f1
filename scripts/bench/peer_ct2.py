"""CTranslate2: clean greedy decoding.

    peer_ct2.py CONVERTED_DIR DTYPE THREADS
"""

import sys

import ctranslate2

from worker import Clock, prompts, serve

DIR, DTYPE, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
# CTranslate2 replaces a compute type that it lacks by another one without a word.
supported = ctranslate2.get_supported_compute_types("cpu")
if DTYPE not in supported:
    sys.exit(f"CTranslate2 {ctranslate2.__version__} does not compute in {DTYPE} on this CPU (it has {', '.join(sorted(supported))})")
generator = ctranslate2.Generator(DIR, device="cpu", compute_type=DTYPE, inter_threads=1, intra_threads=THREADS)
if generator.compute_type != DTYPE:
    sys.exit(f"CTranslate2 chose {generator.compute_type} for {DTYPE}")
tokens = [line.rstrip("\n") for line in open(f"{DIR}/bench_tokens.txt", encoding="utf-8")]


def measure(q):
    if q["noise"] or not q["greedy"]:
        raise ValueError("CTranslate2 decodes without noise here")
    n = q["warm"] + q["steps"] + 1
    batch = [[tokens[i] for i in p] for p in prompts(q["batch"], q["prompt"])]
    clock, seen = Clock(), set()

    def on_token(r):  # for every token of every sequence; a step ends with its last sequence's
        seen.add((r.step, r.batch_id))
        if len(seen) == q["batch"]:
            seen.clear()
            clock.tick()
        return False

    # min_length keeps end tokens out, so that every engine decodes as many tokens.
    generator.generate_batch(batch, max_length=n, min_length=n, sampling_topk=1, beam_size=1, include_prompt_in_result=False, callback=on_token)
    return clock.timing(q["warm"], q["steps"])


serve(measure)
