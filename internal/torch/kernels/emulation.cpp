// CUDA's execution model on the CPU, as far as kernels.cu uses it, for tests: the blocks of a grid run one after another, the threads of a
// block as fibers that change places at __syncthreads.
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "../common.h"

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace {

dim3 blockIdx, threadIdx, gridDim;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done = false;
};

constexpr size_t kStack = 64 << 10;
std::vector<Fiber> fibers;
ucontext_t scheduler;
unsigned current;
std::vector<float> dynamic_shared;
void (*body)(void*);
void* body_args;

void __syncthreads() {
  const unsigned self = current;
  swapcontext(&fibers[self].context, &scheduler);
}

void fiber_main() {
  body(body_args);
  fibers[current].done = true;
  const unsigned self = current;
  swapcontext(&fibers[self].context, &scheduler);
}

// A round takes every living thread to its next barrier. Some at a barrier while others have left is an error on a GPU too.
void run_block(unsigned threads) {
  if (fibers.size() < threads) fibers.resize(threads);
  for (unsigned t = 0; t < threads; t++) {
    auto& f = fibers[t];
    if (f.stack == nullptr) f.stack.reset(new char[kStack]);
    f.done = false;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStack;
    f.context.uc_link = nullptr;
    makecontext(&f.context, fiber_main, 0);
  }
  for (unsigned living = threads; living > 0;) {
    unsigned left = 0;
    for (unsigned t = 0; t < threads; t++) {
      if (fibers[t].done) continue;
      current = t;
      threadIdx = dim3(t, 0, 0);
      swapcontext(&scheduler, &fibers[t].context);
      left += fibers[t].done ? 1 : 0;
    }
    TORCH_CHECK(left == 0 || left == living, "threads of a block left while others wait at a barrier");
    living -= left;
  }
}

}  // namespace

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(dynamic_shared.data())
#define __uint_as_float(b) bits_as<float, unsigned>(b)
#define __float_as_uint(f) bits_as<unsigned, float>(f)
#define __double_as_longlong(d) bits_as<long long, double>(d)
#define __longlong_as_double(l) bits_as<double, long long>(l)

template <class To, class From>
static To bits_as(From v) {
  To out;
  memcpy(&out, &v, sizeof out);
  return out;
}

// The shim's headers have functions of the same names.
namespace gpu {
#include "kernels.cu"

struct Entry {
  void (*call)(const void* f, void** args);
  const void* f;
};

template <class... A, size_t... I>
void call_with(void (*f)(A...), void** args, std::index_sequence<I...>) {
  f(*static_cast<A*>(args[I])...);
}

template <class... A>
Entry entry(void (*f)(A...)) {
  return {[](const void* f, void** args) { call_with(reinterpret_cast<void (*)(A...)>(const_cast<void*>(f)), args, std::index_sequence_for<A...>()); },
          reinterpret_cast<const void*>(f)};
}

#define ENTRY(name) {#name, entry(name)}
#define OF(E) ENTRY(row_stats_##E), ENTRY(noise_##E), ENTRY(rms_norm_##E), ENTRY(gate_mul_##E), ENTRY(rope_##E), ENTRY(join_chunks_##E)
#define OF_PAIR(C, X) ENTRY(store_##C##_##X), ENTRY(attend_##C##_##X)
const std::map<std::string, Entry> entries = {
    ENTRY(philox_words), ENTRY(noise_sums), ENTRY(choose_scan), ENTRY(choose_draw), ENTRY(choose_next), OF(f32), OF(f16), OF(bf16), OF_PAIR(f32, f32), OF_PAIR(bf16, f32),
    OF_PAIR(f16, f32), OF_PAIR(f16, f16), OF_PAIR(bf16, bf16), OF_PAIR(f32, bf16), OF_PAIR(f32, f16),
};
}  // namespace gpu

static void launch(const std::string& name, dim3 grid, unsigned threads, size_t shared, void** args) {
  static std::mutex one;
  const std::lock_guard<std::mutex> lock(one);
  const auto found = gpu::entries.find(name);
  TORCH_CHECK(found != gpu::entries.end(), "there is no kernel ", name);
  std::pair<const gpu::Entry*, void**> job(&found->second, args);
  body = [](void* p) {
    auto* job = static_cast<std::pair<const gpu::Entry*, void**>*>(p);
    job->first->call(job->first->f, job->second);
  };
  body_args = &job;
  gridDim = grid;
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        blockIdx = dim3(x, y, z);
        dynamic_shared.assign(shared / sizeof(float), NAN);  // as undefined as on a GPU
        run_block(threads);
      }
}

#include "ops.h"

extern "C" void gsm_emulate_kernels(int on) { gsm_use_device_ops('h', on != 0 ? &kernel_ops : nullptr); }
