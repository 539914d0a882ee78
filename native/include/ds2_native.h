/** \file ds2_native.h
 *  The whole C interface of the native library. Rules:
 *   - every call returns a status; nothing throws, prints or exits; no buffer is allocated inside;
 *   - the caller owns every buffer, the workspace included (ask its size first);
 *   - sizes are in elements unless a name ends in _bytes; layout is row-major, the first letter slowest;
 *   - `threads` counts the calling thread; helpers are started and joined inside the call where they are worth it;
 *   - a result does not depend on `threads`, nor a row's result on the other rows of its batch.
 *
 *  Letters: D directions, T frames, N utterances, H hidden units, G gates of a cell, M rows of an array: either T*N, frame after frame with
 *  N rows each (padded), or the sum of the lengths, each frame with only the utterances that reach it (packed). As these
 *  are sorted longest first, they are the first ones. V symbols, L the longest label, S = 2L + 1 states of a CTC trellis.
 *  Arrays are float32 unless they say otherwise.
 *
 *  The functions with `cuda` in their name are in a library of their own, libds2native_cuda, which has its own
 *  ds2_abi_version and ds2_last_error; everything else is in libds2native and needs no CUDA.
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

#define DS2_ABI_VERSION 5

typedef enum { DS2_OK = 0, DS2_INVALID = 1, DS2_WORKSPACE = 2, DS2_DEVICE = 3 } ds2_status;

/** How the factors of a recurrence's matrix products are read, and how the logits of CTC and their gradients are stored; sums
 *  and everything else are float32 in any case. bfloat16 has 8 bits of mantissa; a processor without such instructions
 *  computes a recurrence in float32 instead. */
typedef enum { DS2_FLOAT32 = 0, DS2_BFLOAT16 = 1 } ds2_precision;

/** The version this library was built with; a binding refuses any other than its own. */
DS2_API int32_t ds2_abi_version(void);

/** What went wrong in this thread's last failed call; never NULL. */
DS2_API const char *ds2_last_error(void);

/** The instruction set in use ("avx512", "avx2" or "base"); the environment's DS2_NATIVE_ISA may ask for a lesser one. */
DS2_API const char *ds2_isa(void);

/** The cells of a recurrent layer, with u = U h:
 *      simple    h' = f(x + u)                                                                     (paper eq. 3)
 *      GRU       r, z = sigmoid(x + u) of each   n = f(x_n + r * u_n)   h' = (1 - z) n + z h       (paper eq. 10)
 *      LSTM      i, f, o = sigmoid(x + u) of each   g = tanh(x_g + u_g)   c' = f c + i g   h' = o tanh(c')
 *  f is tanh, or relu: min(max(x, 0), DS2_CLIP), whose gradient is zero at both ends and beyond. Gates are in the order
 *  r, z, n (G = 3) and i, f, g, o (G = 4); G = 1 in a simple cell. */
typedef enum { DS2_GRU_TANH = 0, DS2_GRU_RELU = 1, DS2_RNN_TANH = 2, DS2_RNN_RELU = 3, DS2_LSTM = 4 } ds2_cell;

#define DS2_CLIP 20.0f

/** A recurrent layer. */
typedef struct {
  int32_t cell; /* ds2_cell */
  int32_t D, T, N, M, H;
} ds2_rnn_shape;

/** Bytes of the three opaque buffers of a layer: what forward saves for backward (0: nothing), and the two workspaces. */
DS2_API ds2_status ds2_rnn_sizes(const ds2_rnn_shape *shape, int32_t threads, size_t *out_reserve_bytes,
                                 size_t *out_forward_bytes, size_t *out_backward_bytes);

/** A recurrent layer over input projections that its directions share (Deep Speech 2, section 3):
 *  gates[m][g*H + j]         M*G*H    x, biases included
 *  recurrent[d][g*H + j][k]  D*G*H*H  U, unit k of the last step to gate g of unit j
 *  lengths[n]                N        0..T, longest first; direction 1 starts at each row's own last frame
 *  h[d][m][j]                D*M*H    out, zero where t >= lengths[n]
 *  reserve                   out, for backward; NULL when no gradient will be asked for, or nothing is saved
 */
DS2_API ds2_status ds2_rnn_forward(const ds2_rnn_shape *shape, const float *gates, const float *recurrent,
                                   const int32_t *lengths, float *h, void *reserve, void *workspace,
                                   size_t workspace_bytes, int32_t threads, int32_t precision);

/** The gradients of ds2_rnn_forward.
 *  dh[d][m][j]               in, ignored where t >= lengths[n]; with dh_directions = 1 all directions share dh[0]
 *  dgates[m][g*H + j]        out, summed over directions, zero where t >= lengths[n]
 *  drecurrent[d][g*H + j][k] out
 */
DS2_API ds2_status ds2_rnn_backward(const ds2_rnn_shape *shape, const float *recurrent, const int32_t *lengths,
                                    const float *h, const void *reserve, const float *dh, int32_t dh_directions,
                                    float *dgates, float *drecurrent, void *workspace, size_t workspace_bytes,
                                    int32_t threads, int32_t precision);

/** A batch for CTC. logits[t*stride_t + n*stride_n + v], strides in elements: (N*V, V) for frame-major (T, N, V),
 *  (V, T*V) for utterance-major (N, T, V). No two rows may overlap. */
typedef struct {
  int32_t T, N, V, L;  /* L: the width of targets, 0 when every label is empty; N < 2^30, L < 2^29 */
  int32_t blank;       /* 0..V-1 */
  int32_t precision;   /* ds2_precision of logits and dlogits */
  int64_t stride_t, stride_n;
} ds2_ctc_shape;

/** What became of one utterance. Only DS2_CTC_FINE has a gradient: all others get exactly zero. Lengths are judged first, then
 *  labels, then whether they fit, and logits last. */
typedef enum {
  DS2_CTC_FINE = 0,
  DS2_CTC_TOO_SHORT = 1,  /* needs a step a label, and one more between equal neighbours: cost +inf */
  DS2_CTC_IMPOSSIBLE = 2, /* every alignment meets a symbol of probability zero: cost +inf */
  DS2_CTC_NOT_FINITE = 3, /* a NaN or +inf among the logits, or a frame of nothing but -inf: cost NaN */
  DS2_CTC_BAD_LABEL = 4,  /* a label outside 0..V-1, or the blank: cost NaN */
  DS2_CTC_BAD_LENGTH = 5  /* an input length outside 0..T or a target length outside 0..L: cost NaN */
} ds2_ctc_verdict;

/** Bytes of what forward saves for backward, and of forward's workspace (without and with anything to save). */
DS2_API ds2_status ds2_ctc_sizes(const ds2_ctc_shape *shape, int32_t threads, size_t *out_saved_bytes,
                                 size_t *out_cost_bytes, size_t *out_forward_bytes);

/** Connectionist temporal classification (Graves et al. 2006; Deep Speech 2, eq. 9): the cost of each utterance, -ln of the
 *  probability of its label summed over all alignments, of softmax(logits).
 *  logits                    in, float32 or bfloat16; nothing is read where t >= input_lengths[n]. -inf is probability
 *                            zero, and so is what lies more than 22,000 nats below the best of its frame.
 *  targets[n*L + i]          in, N*L int32; nothing is read where i >= target_lengths[n]; NULL when L = 0
 *  input_lengths, target_lengths    in, N int32
 *  costs                     out, N, in nats; above 186 million they count as infinite. Off by 1e-6 of their value at most; on
 *                            CUDA, where a cost is nearly 0, by 6e-8 for each frame.
 *  verdicts                  out, N int32, ds2_ctc_verdict
 *  saved                     out, for backward; NULL when no gradient will be asked for (out_cost_bytes of workspace do)
 */
DS2_API ds2_status ds2_ctc_forward(const ds2_ctc_shape *shape, const void *logits, const int32_t *targets,
                                   const int32_t *input_lengths, const int32_t *target_lengths, float *costs,
                                   int32_t *verdicts, void *saved, void *workspace, size_t workspace_bytes,
                                   int32_t threads);

/** The gradient of sum over n of dcosts[n] * costs[n]:
 *      dlogits[t][n][v] = dcosts[n] * (softmax(logits[t][n])[v] - the share of alignments that are at v in frame t)
 *  logits, saved             in, forward's
 *  dcosts                    in, N
 *  dlogits                   out, of the strides and precision of logits, but not logits themselves; zero where
 *                            t >= input_lengths[n]
 */
DS2_API ds2_status ds2_ctc_backward(const ds2_ctc_shape *shape, const void *logits, const void *saved,
                                    const float *dcosts, void *dlogits, int32_t threads);

/** The same on a CUDA device: every pointer but `shape` is device memory, on the device that is current, and the work is
 *  queued on `stream` (a cudaStream_t) without waiting for it. Bit-identical from run to run. The buffers must live until
 *  the stream has passed; what is saved is not what the CPU saves. */
DS2_API ds2_status ds2_ctc_cuda_sizes(const ds2_ctc_shape *shape, size_t *out_saved_bytes, size_t *out_cost_bytes,
                                      size_t *out_forward_bytes);
DS2_API ds2_status ds2_ctc_cuda_forward(const ds2_ctc_shape *shape, const void *logits, const int32_t *targets,
                                        const int32_t *input_lengths, const int32_t *target_lengths, float *costs,
                                        int32_t *verdicts, void *saved, void *workspace, size_t workspace_bytes,
                                        void *stream);
DS2_API ds2_status ds2_ctc_cuda_backward(const ds2_ctc_shape *shape, const void *logits, const void *saved,
                                         const float *dcosts, void *dlogits, void *stream);

#ifdef __cplusplus
}
#endif
#endif
