// The C interface of libgsmeval_cuda.so: what needs the symbols of libtorch_cuda.so, which the program does not link. It is loaded
// at run time after that library (cuda_load.go) and exports gsmc_table. Its sources are in cuda/; this header stands here because
// Go builds a package anew only for files of its own folder.
//
// A function returns NULL, or a message that the caller frees. Those that name no device work on the one that init chose for the
// calling thread.
#pragma once
#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  char name[256];
  int major, minor;         // compute capability
  int driver, runtime;      // CUDA versions, 1000 major + 10 minor
  int64_t total, free;      // bytes of memory
  int attend_bf16;          // at::SDPBackend that libtorch chooses for a decode step in bfloat16, grouped heads and a mask
  int attend_f32;           // and in float32
} gsmc_info;

typedef struct {
  int64_t size;             // of this struct; a library with another is from another build
  const char* build;        // a hash of the library's sources and flags
  char* (*devices)(int* n); // how many the driver sees; 0 comes with a message why
  char* (*info)(int device, gsmc_info* out);

  // Makes device the thread's own, with a stream of the pool as its current one as long as the thread lives: graphs cannot be
  // captured on the default stream. tf32 allows (1) or forbids (0) TF32 in float32 products, for the whole process; -1 leaves it.
  char* (*init)(int device, int tf32);
  char* (*synchronize)(void);
  // The caching allocator's bytes: in tensors, held from the driver, and the most that tensors took.
  char* (*memory)(int64_t* allocated, int64_t* reserved, int64_t* peak);
  // gsm_copy_bytes_ for a tensor on the thread's device, through pinned memory; it does not wait for the last copies.
  char* (*copy_bytes_)(gsm_tensor dst, int64_t first, const void* data, int64_t bytes, int src_type);

  // What the thread's stream is given between begin and end becomes *graph instead of being run. Begin and end are called in pairs:
  // end also after a failure between them, with keep 0, which ends the capture and makes nothing.
  char* (*capture_begin)(void** graph);
  char* (*capture_end)(void* graph, int keep);
  char* (*replay)(void* graph);
  void (*free_graph)(void* graph);

  // The kernels in place of plain operations, for gsm_use_device_ops: *ops is NULL in a library without them. The thread's device
  // must be chosen.
  char* (*device_ops)(const gsm_device_ops** ops);
} gsmc_functions;

const gsmc_functions* gsmc_table(void);

// Defined by the kernels' file, where there is one.
char* gsmc_device_ops(const gsm_device_ops** ops);

#ifdef __cplusplus
}
#endif
