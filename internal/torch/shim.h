// The C interface of the shim. Every function returns NULL, or a message that the caller frees.
// A gsm_tensor is a gotch tensor: an at::Tensor on the heap.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void* gsm_tensor;

char* gsm_init_thread(int threads);
int gsm_threads(void);
int64_t gsm_check_loops(int threads, int64_t loops);
char* gsm_cpu_capability(char* out, int n);
const char* gsm_kernels(void);
char* gsm_use_kernels(const char* name);

char* gsm_from_bytes(gsm_tensor* out, const void* data, int64_t bytes, const int64_t* shape, int dims, int src_type, int dst_type, int device);
char* gsm_copy_bytes_(gsm_tensor dst, int64_t first, const void* data, int64_t bytes, int src_type);
char* gsm_read_floats(gsm_tensor t, float* out, int64_t n);
char* gsm_read_bytes(gsm_tensor t, void* out, int64_t bytes, int element);
char* gsm_hash(gsm_tensor t, uint64_t* out);

char* gsm_rope_powers(gsm_tensor* out, double theta, int64_t dim);
char* gsm_rms_norm(gsm_tensor* out, gsm_tensor x, gsm_tensor w, double eps, double offset);
char* gsm_rope_(gsm_tensor x, gsm_tensor cos, gsm_tensor sin, const int32_t* pos, int64_t rows);
char* gsm_kv_store(gsm_tensor cache, gsm_tensor x, const int32_t* slot, const int32_t* pos, int64_t rows);
char* gsm_attention(gsm_tensor* out, gsm_tensor q, gsm_tensor k_cache, gsm_tensor v_cache,
                    const int32_t* slot, const int32_t* pos, int64_t rows, double scale, double softcap);
char* gsm_linear(gsm_tensor* out, gsm_tensor x, gsm_tensor w, gsm_tensor b);
char* gsm_stream_weight(gsm_tensor* out, gsm_tensor w);
char* gsm_streamed_linear(gsm_tensor* out, gsm_tensor x, gsm_tensor w, int64_t n, gsm_tensor b);
char* gsm_silu_mul(gsm_tensor* out, gsm_tensor gate, gsm_tensor up);
char* gsm_gelu_mul(gsm_tensor* out, gsm_tensor gate, gsm_tensor up);
char* gsm_softcap_(gsm_tensor x, double cap);

char* gsm_spread(float* out, gsm_tensor x, const int32_t* groups, int64_t n_groups, int absmax);
char* gsm_noise(gsm_tensor* out, gsm_tensor x, double scale, const float* spread, const uint64_t* keys,
                const uint32_t* pos, const uint32_t* step, uint32_t site, int64_t rows, int reference, double* sumsq);
char* gsm_weight_noise_(gsm_tensor w, double scale, int absmax, int per_row, uint64_t key, int reference,
                        double* sumsq, double* spread);
int gsm_scan(const float* z, int64_t n, int64_t* top);
int64_t gsm_may_win(const float* z, int64_t n, float inverse_t, float best, uint32_t step, uint64_t key, int32_t* out);
char* gsm_philox_words(uint32_t* out, int64_t blocks, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key, int reference);
char* gsm_normals(float* out, int64_t blocks, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key, int reference);

#ifdef __cplusplus
}
#endif
