// Devices, streams, memory and graphs of CUDA, over libtorch's own classes and the CUDA runtime. Nothing here needs nvcc, and headers of
// no other CUDA library than the runtime: it is built where there is no GPU.
#include "../gsmc.h"

#include "../common.h"

#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <memory>

#ifndef GSMC_BUILD
#define GSMC_BUILD "unnamed"
#endif

namespace {

// ---------------------------------------------------------------- devices

char* devices(int* n) {
  return guard([&] {
    *n = 0;
    // libtorch keeps what it found at its first question; asked before libtorch_cuda.so was loaded, it stays without CUDA, and this throws.
    at::detail::getCUDAHooks().versionCUDART();
    const cudaError_t e = cudaGetDeviceCount(n);
    if (e == cudaSuccess && *n > 0) return;
    *n = 0;
    (void)cudaGetLastError();
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (e == cudaErrorInsufficientDriver && driver > 0)
      TORCH_CHECK(false, "the NVIDIA driver is for CUDA ", driver / 1000, ".", driver % 1000 / 10, ", libtorch for CUDA ", runtime / 1000, ".",
                  runtime % 1000 / 10, "; install a newer driver");
    if (e == cudaErrorInsufficientDriver) TORCH_CHECK(false, "no NVIDIA driver answers (", cudaGetErrorString(e), ")");
    if (e == cudaErrorNoDevice || e == cudaSuccess) TORCH_CHECK(false, "the driver sees no GPU");
    TORCH_CHECK(false, "the driver sees no GPU that works: ", cudaGetErrorString(e));
  });
}

void check_device(int device) {
  int n = 0;
  C10_CUDA_CHECK(cudaGetDeviceCount(&n));
  TORCH_CHECK(device >= 0 && device < n, "there is no cuda:", device, "; the driver sees ", n, n == 1 ? " GPU" : " GPUs");
}

// What scaled_dot_product_attention would run for a decode step: 4 rows of 8 query heads over 2 key-value heads, and a mask.
int attention_choice(at::ScalarType dtype, at::Device device) {
  int64_t choice = static_cast<int64_t>(at::SDPBackend::error);
  free(guard([&] {  // it is told, not used: no reason to stop
    const auto options = at::TensorOptions().dtype(dtype).device(device);
    const auto q = at::empty({4, 8, 1, 64}, options), kv = at::empty({4, 2, 256, 64}, options), mask = at::empty({4, 1, 1, 256}, options);
    choice = at::_fused_sdp_choice(q, kv, kv, mask, 0.0, false, std::nullopt, true);
  }));
  return static_cast<int>(choice);
}

char* info(int device, gsmc_info* out) {
  return guard([&] {
    check_device(device);
    memset(out, 0, sizeof *out);
    const c10::InferenceMode inference(true);
    const c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
    cudaDeviceProp p{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&p, device));
    snprintf(out->name, sizeof out->name, "%s", p.name);
    out->major = p.major;
    out->minor = p.minor;
    C10_CUDA_CHECK(cudaDriverGetVersion(&out->driver));
    C10_CUDA_CHECK(cudaRuntimeGetVersion(&out->runtime));
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    out->free = static_cast<int64_t>(free);
    out->total = static_cast<int64_t>(total);
    const at::Device d(at::kCUDA, static_cast<c10::DeviceIndex>(device));
    out->attend_bf16 = attention_choice(at::kBFloat16, d);
    out->attend_f32 = attention_choice(at::kFloat, d);
  });
}

char* init(int device, int tf32) {
  return guard([&] {
    check_device(device);
    auto& context = at::globalContext();
    context.lazyInitDevice(at::kCUDA);
    if (tf32 >= 0) {
      context.setAllowTF32CuBLAS(tf32 != 0);
      context.setAllowTF32CuDNN(tf32 != 0);
    }
    // Where a product is summed in parts, the parts are added in float32 too.
    context.setAllowBF16ReductionCuBLAS(false);
    context.setAllowFP16ReductionCuBLAS(false);
    const auto index = static_cast<c10::DeviceIndex>(device);
    c10::cuda::set_device(index);
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(false, index));
  });
}

cudaStream_t stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

char* synchronize() {
  return guard([] { C10_CUDA_CHECK(cudaStreamSynchronize(stream())); });
}

char* memory(int64_t* allocated, int64_t* reserved, int64_t* peak) {
  return guard([&] {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(c10::cuda::current_device());
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *allocated = stats.allocated_bytes[all].current;
    *reserved = stats.reserved_bytes[all].current;
    *peak = stats.allocated_bytes[all].peak;
  });
}

// ---------------------------------------------------------------- copies

// Two pinned buffers in turn: one is filled while the other is copied. Each thread has its own, as it has its own stream.
class Staging {
 public:
  static constexpr int64_t kBytes = 16 << 20;

  ~Staging() {
    // At the process's end the runtime may be gone before this; then these calls fail and nothing is lost.
    for (auto& b : buffers_) {
      if (b.done != nullptr) {
        (void)cudaEventSynchronize(b.done);
        (void)cudaEventDestroy(b.done);
      }
      if (b.data != nullptr) (void)cudaFreeHost(b.data);
    }
  }

  // copy queues the copy of n bytes, at most kBytes, to device memory, and returns once `from` may be changed.
  void copy(void* to, const void* from, size_t n) {
    auto& b = buffers_[turn_];
    if (b.data == nullptr) C10_CUDA_CHECK(cudaHostAlloc(&b.data, kBytes, cudaHostAllocDefault));
    if (b.done == nullptr) C10_CUDA_CHECK(cudaEventCreateWithFlags(&b.done, cudaEventDisableTiming));
    C10_CUDA_CHECK(cudaEventSynchronize(b.done));
    memcpy(b.data, from, n);
    C10_CUDA_CHECK(cudaMemcpyAsync(to, b.data, n, cudaMemcpyHostToDevice, stream()));
    C10_CUDA_CHECK(cudaEventRecord(b.done, stream()));
    turn_ = 1 - turn_;
  }

 private:
  struct {
    void* data = nullptr;
    cudaEvent_t done = nullptr;
  } buffers_[2];
  int turn_ = 0;
};

char* copy_bytes_(gsm_tensor dst, int64_t first, const void* data, int64_t bytes, int src_type) {
  return guard([&] {
    auto& t = T(dst);
    const auto src_dtype = static_cast<at::ScalarType>(src_type);
    const auto size = static_cast<int64_t>(c10::elementSize(src_dtype));
    const int64_t n = bytes / size;
    TORCH_CHECK(t.is_contiguous() && bytes % size == 0 && first >= 0 && n <= t.numel() - first, bytes, " bytes for elements ", first, " and up of ", t.numel());
    TORCH_CHECK(t.is_cuda() && t.get_device() == c10::cuda::current_device(), "the tensor is not on the thread's device");
    static thread_local Staging staging;
    const int64_t piece = Staging::kBytes / size;
    const bool convert = t.scalar_type() != src_dtype, narrow = t.scalar_type() == at::kHalf;
    const auto flat = t.view({-1});
    at::Tensor finite;  // a flag on the device, read once at the end
    for (int64_t i = 0; i < n; i += piece) {
      const int64_t m = std::min(piece, n - i);
      auto part = flat.narrow(0, first + i, m);
      auto raw = convert ? at::empty({m}, t.options().dtype(src_dtype)) : part;
      staging.copy(raw.data_ptr(), static_cast<const char*>(data) + i * size, static_cast<size_t>(m * size));
      if (convert) part.copy_(raw);
      if (narrow) finite = finite.defined() ? finite.logical_and_(part.isfinite().all()) : part.isfinite().all();
    }
    TORCH_CHECK(!finite.defined() || finite.item<bool>(), "a value is beyond float16's largest, 65504; compute in float32 or bfloat16");
  });
}

// ---------------------------------------------------------------- graphs

// The graphs of a thread share the memory of what they compute on the way: they are replayed one after another on one stream, and what
// must outlive a replay is kept. Once the last of them is freed libtorch takes the pool's name for no further capture.
struct Pool {
  at::MempoolId_t id = at::cuda::graph_pool_handle();
};

std::shared_ptr<Pool> thread_pool() {
  static thread_local std::weak_ptr<Pool> current;
  auto pool = current.lock();
  if (pool == nullptr) current = pool = std::make_shared<Pool>();
  return pool;
}

struct Graph {
  std::shared_ptr<Pool> pool = thread_pool();
  c10::DeviceIndex device = c10::cuda::current_device();
  at::cuda::CUDAGraph graph{/*keep_graph=*/true};  // kept after instantiation, so that its nodes can be counted
};

thread_local Graph* recording = nullptr;

// abandon leaves neither the stream nor the allocators recording after libtorch's own begin or end failed half-way.
void abandon(Graph* g) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream(), &status) == cudaSuccess && status != cudaStreamCaptureStatusNone) {
    cudaGraph_t left = nullptr;
    (void)cudaStreamEndCapture(stream(), &left);
    if (left != nullptr) (void)cudaGraphDestroy(left);
  }
  // Each fails where that allocator has ended already, and then nothing is to be released.
  free(guard([&] {
    c10::cuda::CUDACachingAllocator::endAllocateToPool(g->device, g->pool->id);
    c10::cuda::CUDACachingAllocator::releasePool(g->device, g->pool->id);
  }));
  free(guard([&] {
    auto* host = at::getHostAllocator(at::kCUDA);
    host->end_allocate_to_pool(g->pool->id);
    host->release_pool(g->pool->id);
  }));
  (void)cudaGetLastError();
}

char* capture_begin(void** out) {
  *out = nullptr;
  std::unique_ptr<Graph> g;
  char* failed = guard([&] {
    TORCH_CHECK(recording == nullptr, "a capture inside a capture");
    g = std::make_unique<Graph>();
    // Thread-local: other threads of the program may use the runtime meanwhile, for instance to ask for free memory.
    recording = g.get();
    g->graph.capture_begin(g->pool->id, cudaStreamCaptureModeThreadLocal);
  });
  if (failed == nullptr) {
    *out = g.release();
  } else if (g != nullptr) {
    recording = nullptr;
    abandon(g.get());
  }
  return failed;
}

char* capture_end(void* graph, int keep) {
  auto* g = static_cast<Graph*>(graph);
  bool ended = false;
  char* failed = guard([&] {
    TORCH_CHECK(g != nullptr && g == recording, "no capture was begun");
    g->graph.capture_end();
    ended = true;
    if (keep == 0) return;
    size_t nodes = 0;
    C10_CUDA_CHECK(cudaGraphGetNodes(g->graph.raw_cuda_graph(), nullptr, &nodes));
    TORCH_CHECK(nodes > 0, "the captured graph is empty: nothing ran on the thread's stream");
    g->graph.instantiate();
  });
  if (g != nullptr && g == recording) {
    recording = nullptr;
    if (!ended) abandon(g);
  }
  return failed;
}

char* replay(void* graph) {
  return guard([&] {
    TORCH_CHECK(graph != nullptr, "the graph was freed");
    static_cast<Graph*>(graph)->graph.replay();
  });
}

void free_graph(void* graph) {
  char* failed = guard([&] { delete static_cast<Graph*>(graph); });
  free(failed);  // a graph that cannot be freed is no reason to stop
}

}  // namespace

extern "C" {

__attribute__((weak)) char* gsmc_device_ops(const gsm_device_ops** ops) {
  *ops = nullptr;
  return nullptr;
}

__attribute__((visibility("default"))) const gsmc_functions* gsmc_table(void) {
  static const gsmc_functions table = {
      sizeof(gsmc_functions), GSMC_BUILD, devices, info,   init,       synchronize,     memory,
      copy_bytes_,            capture_begin, capture_end, replay, free_graph, gsmc_device_ops,
  };
  return &table;
}
}
