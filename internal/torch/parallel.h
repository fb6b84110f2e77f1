// Loops over several threads.
#pragma once
#include <cstdint>

// How many threads the loops of the calling thread run on, itself included.
void set_threads(int n);
int threads();

typedef void (*LoopBody)(const void* f, int64_t from, int64_t to);
void run_loop(int64_t n, int64_t grain, LoopBody body, const void* f);

// f(from, to) on ranges that make up [0, n), of at least grain each but for the last. Who computes what is not fixed: a thread takes the
// next range when it is done with its last one, so that one that has to share its core gets less.
template <class F>
void parallel_for(int64_t n, int64_t grain, const F& f) {
  if (n <= grain || threads() == 1) {
    if (n > 0) f(int64_t{0}, n);
    return;
  }
  run_loop(n, grain, [](const void* g, int64_t from, int64_t to) { (*static_cast<const F*>(g))(from, to); }, &f);
}
