"""llama.cpp, through llama-cpp-python's C interface: clean greedy decoding, every sequence in one batch.

    peer_llama.py MODEL.gguf DTYPE THREADS
"""

import ctypes
import sys

import llama_cpp as llama
import numpy as np

from worker import Clock, prompts, serve

PATH, DTYPE, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
KV = {"float32": 0, "bfloat16": 30}[DTYPE]  # ggml.h's GGML_TYPE_F32 and GGML_TYPE_BF16, of which llama-cpp-python does not name the second


@llama.llama_log_callback
def silent(level, text, data):
    pass


llama.llama_log_set(silent, ctypes.c_void_p(0))
llama.llama_backend_init()
model = llama.llama_model_load_from_file(PATH.encode(), llama.llama_model_default_params())
if not model:
    sys.exit(f"llama.cpp does not load {PATH}")
V = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))


def measure(q):
    if q["noise"] or not q["greedy"]:
        raise ValueError("llama.cpp decodes without noise here")
    batch, length, n = q["batch"], q["prompt"], q["warm"] + q["steps"] + 1
    p = llama.llama_context_default_params()
    room = -(-(length + n) // 256) * 256
    p.n_ctx, p.n_seq_max, p.n_batch, p.n_threads, p.n_threads_batch = batch * room, batch, max(512, length, batch), THREADS, THREADS
    p.type_k = p.type_v = KV
    ctx = llama.llama_init_from_model(model, p)
    if not ctx:
        raise RuntimeError("llama.cpp made no context")
    b = llama.llama_batch_init(p.n_batch, 0, 1)
    try:
        return decode(ctx, b, prompts(batch, length), q, n)
    finally:
        llama.llama_batch_free(b)
        llama.llama_free(ctx)


def put(b, token, pos, seq, wanted):
    i = b.n_tokens
    b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, pos, 1, wanted
    b.seq_id[i][0] = seq
    b.n_tokens += 1


def run(ctx, b):
    if code := llama.llama_decode(ctx, b):
        raise RuntimeError(f"llama_decode gave {code}")


def best(ctx, i):
    return int(np.ctypeslib.as_array(llama.llama_get_logits_ith(ctx, i), shape=(V,)).argmax())


def decode(ctx, b, ids, q, n):
    clock, last = Clock(), []
    for seq, prompt in enumerate(ids):
        b.n_tokens = 0
        for pos, token in enumerate(prompt):
            put(b, token, pos, seq, pos == len(prompt) - 1)
        run(ctx, b)
        last.append(best(ctx, len(prompt) - 1))
    clock.tick()
    for step in range(n - 1):
        b.n_tokens = 0
        for seq, token in enumerate(last):
            put(b, token, q["prompt"] + step, seq, True)
        run(ctx, b)
        last = [best(ctx, seq) for seq in range(len(ids))]
        clock.tick()
    return clock.timing(q["warm"], q["steps"])


serve(measure)
