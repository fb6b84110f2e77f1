// What a device computes by itself: operations whose arguments all lie on it, without a host array or a wait, so that a decode step can
// be captured once and replayed. device.cpp has them in plain libtorch operations, for any device (the reference); a library of
// kernels may put its own in their place (gsm_device_ops).
//
// R rows, D features, H query heads over KV key-value heads of hd dimensions, V tokens. Indices are int64, `live` is int32, sums are
// float64. Row-wise: a row's bits depend on that row alone, and not on R.
#pragma once
#include "shim.h"

#ifdef __cplusplus
extern "C" {
#endif

// Philox streams of the rows of an activation. Absent tensors: step 0; every row a group of its own; every row live.
typedef struct {
  gsm_tensor keys;    // [R] Philox key, the bits of a uint64
  gsm_tensor pos;     // [R] second counter word
  gsm_tensor step;    // [R] fourth counter word, or NULL
  gsm_tensor group;   // [R, 2] rows [first, end) of the statistics whose spread together is row r's, or NULL
  gsm_tensor live;    // [R] rows that count in sums, or NULL
  gsm_tensor sums;    // [R, 2] float64: sum of squares of what was added, and D * spread^2, are added to it; may be NULL
} gsm_noise_rows;

// The state of a decode loop, one row a slot. All but z is read and written in place.
typedef struct {
  gsm_tensor tokens;  // [R] the token that the next step feeds
  gsm_tensor pos;     // [R] its position
  gsm_tensor count;   // [R] tokens generated so far
  gsm_tensor limit;   // [R] tokens to generate at most
  gsm_tensor live;    // [R] 1 while the sequence goes on
  gsm_tensor status;  // [R] int32: 0 going on, 1 end token, 2 limit, 3 a logit was not finite
  gsm_tensor out;     // [R, N] int32 generated tokens
  gsm_tensor temps;   // [R, N] float64 temperature of token t; 0 is greedy
  gsm_tensor keys;    // [R] Philox key of the sampling
  gsm_tensor ends;    // [V] uint8, 1 for end tokens
} gsm_decode_state;

// Every function returns NULL, or a message that the caller frees. An entry that is NULL is not provided.
typedef struct {
  char* (*rms_norm)(gsm_tensor* out, gsm_tensor x, gsm_tensor w, double eps, double offset);
  char* (*silu_mul)(gsm_tensor* out, gsm_tensor gate, gsm_tensor up);
  char* (*gelu_mul)(gsm_tensor* out, gsm_tensor gate, gsm_tensor up);
  // x [R, H, hd] in place, by cos and sin [P, rot], float32.
  char* (*rope_at)(gsm_tensor x, gsm_tensor cos, gsm_tensor sin, gsm_tensor pos);
  // Row r of x [R, KV, hd] to slot[r], pos[r] of cache [slots, KV, capacity, hd].
  char* (*store_at)(gsm_tensor cache, gsm_tensor x, gsm_tensor slot, gsm_tensor pos);
  // Row r of q [R, H, hd] to positions 0..pos[r] of slot r: [R, H * hd]. No pos is length or more; the bits do not depend on length.
  char* (*attend_at)(gsm_tensor* out, gsm_tensor q, gsm_tensor k, gsm_tensor v, gsm_tensor pos, int64_t length, double scale, double softcap);
  // x [R, D] -> [R, 2] float64: mean and sum of squared deviations, or largest magnitude and 0.
  char* (*row_stats)(gsm_tensor* out, gsm_tensor x, int absmax);
  // x [M, D] -> x + scale * spread * N; rows are those of the M rows, but stats has all rows that groups name.
  char* (*noise_at)(gsm_tensor* out, gsm_tensor x, gsm_tensor stats, int absmax, double scale, uint32_t site, const gsm_noise_rows* rows);
  // Philox words of blocks [0, n) for tests: [n, 4] int64; normals: [n, 4] float32.
  char* (*philox_at)(gsm_tensor words, gsm_tensor normals, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key);
  // Picks each live row's next token from z [R, V] float32, and ends the sequences that have to.
  char* (*choose_at)(gsm_tensor z, const gsm_decode_state* state);
} gsm_device_ops;

// ops take the place of the plain operations on tensors of that device type ('c': CUDA, 'h': host, in tests); NULL: the plain ones again.
void gsm_use_device_ops(char device, const gsm_device_ops* ops);

char* gsm_assign(gsm_tensor dst, gsm_tensor src);
int gsm_attention_ignores_length(int device);

char* gsm_rope_at(gsm_tensor x, gsm_tensor cos, gsm_tensor sin, gsm_tensor pos);
char* gsm_store_at(gsm_tensor cache, gsm_tensor x, gsm_tensor slot, gsm_tensor pos);
char* gsm_attend_at(gsm_tensor* out, gsm_tensor q, gsm_tensor k, gsm_tensor v, gsm_tensor pos, int64_t length, double scale, double softcap);
char* gsm_row_stats(gsm_tensor* out, gsm_tensor x, int absmax);
char* gsm_noise_at(gsm_tensor* out, gsm_tensor x, gsm_tensor stats, int absmax, double scale, uint32_t site, const gsm_noise_rows* rows, int reference);
char* gsm_philox_at(gsm_tensor words, gsm_tensor normals, uint32_t block0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key, int reference);
char* gsm_choose_at(gsm_tensor z, const gsm_decode_state* state, int reference);

#ifdef __cplusplus
}
#endif
