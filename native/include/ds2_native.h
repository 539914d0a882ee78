/** \file ds2_native.h
 *  The whole C interface of the native library. Rules:
 *   - every call returns a status; nothing throws, prints or exits; no buffer is allocated inside;
 *   - the caller owns every buffer, the workspace included (ask its size first);
 *   - sizes are in elements unless a name ends in _bytes; layout is row-major, the first letter slowest;
 *   - `threads` counts the calling thread; helpers are started and joined inside the call, 1 starts none;
 *   - a result does not depend on `threads`, nor a row's result on the other rows of its batch.
 *
 *  Letters: D directions, T frames, N utterances, H hidden units, M rows of an array: either T*N, frame after frame with
 *  N rows each (padded), or the sum of the lengths, each frame with only the utterances that reach it (packed). As these
 *  are sorted longest first, they are the first ones. All arrays are float32.
 */
#ifndef DS2_NATIVE_H
#define DS2_NATIVE_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#if defined(_WIN32)
#define DS2_API __declspec(dllexport)
#else
#define DS2_API __attribute__((visibility("default")))
#endif

#define DS2_ABI_VERSION 3

typedef enum { DS2_OK = 0, DS2_INVALID = 1, DS2_WORKSPACE = 2 } ds2_status;

/** How the factors of the matrix products are read; sums and everything else are float32 in any case. bfloat16 is twice
 *  as fast and has 8 bits of mantissa; a processor without such instructions computes in float32 instead. */
typedef enum { DS2_FLOAT32 = 0, DS2_BFLOAT16 = 1 } ds2_precision;

/** The version this library was built with; a binding refuses any other than its own. */
DS2_API int32_t ds2_abi_version(void);

/** What went wrong in this thread's last failed call; never NULL. */
DS2_API const char *ds2_last_error(void);

/** The instruction set in use ("avx512", "avx2" or "base"); the environment's DS2_NATIVE_ISA may ask for a lesser one. */
DS2_API const char *ds2_isa(void);

/** Bytes of the three opaque buffers of a GRU layer: what forward saves for backward, and the two workspaces. */
DS2_API ds2_status ds2_gru_sizes(int32_t D, int32_t T, int32_t N, int32_t M, int32_t H, int32_t threads,
                                 size_t *out_reserve_bytes, size_t *out_forward_bytes, size_t *out_backward_bytes);

/** A GRU layer over input projections that its directions share (Deep Speech 2, eq. 10):
 *      r = sigmoid(x_r + U_r h)   z = sigmoid(x_z + U_z h)   n = tanh(x_n + r * (U_n h))   h' = (1 - z) n + z h
 *  gates[m][g*H + j]         M*3H     x, gates in the order r, z, n, biases included
 *  recurrent[d][g*H + j][k]  D*3H*H   U, unit k of the last step to gate g of unit j
 *  lengths[n]                N        0..T, longest first; direction 1 starts at each row's own last frame
 *  h[d][m][j]                D*M*H    out, zero where t >= lengths[n]
 *  reserve                   out, for backward; NULL when no gradient will be asked for
 */
DS2_API ds2_status ds2_gru_forward(int32_t D, int32_t T, int32_t N, int32_t M, int32_t H, const float *gates,
                                   const float *recurrent, const int32_t *lengths, float *h, void *reserve,
                                   void *workspace, size_t workspace_bytes, int32_t threads, int32_t precision);

/** The gradients of ds2_gru_forward.
 *  dh[d][m][j]               in, ignored where t >= lengths[n]; with dh_directions = 1 all directions share dh[0]
 *  dgates[m][g*H + j]        out, summed over directions, zero where t >= lengths[n]
 *  drecurrent[d][g*H + j][k] out
 */
DS2_API ds2_status ds2_gru_backward(int32_t D, int32_t T, int32_t N, int32_t M, int32_t H, const float *recurrent,
                                    const int32_t *lengths, const float *h, const void *reserve, const float *dh,
                                    int32_t dh_directions, float *dgates, float *drecurrent, void *workspace,
                                    size_t workspace_bytes, int32_t threads, int32_t precision);

#ifdef __cplusplus
}
#endif
#endif
