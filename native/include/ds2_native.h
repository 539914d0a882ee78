/** \file ds2_native.h
 *  The complete C interface of the native library.
 *   - Every call returns a status; nothing throws, prints or exits, and no buffer is allocated inside.
 *   - The caller owns every buffer, including the workspace; the *_sizes functions return the sizes.
 *   - Sizes are in elements unless a name ends in _bytes. Arrays are row-major: the first index varies slowest.
 *   - `threads` includes the calling thread; further threads are started and joined within the call if they pay off.
 *   - Results do not depend on `threads`, nor the result of a row on the other rows of its batch.
 *
 *  Notation: D directions, T frames, N utterances, H hidden units, G gates per cell, V symbols, L length of the longest
 *  label sequence, S = 2L + 1 states of the CTC trellis. M rows of an array, one per frame of an utterance, in frame
 *  order: either T*N, with N rows per frame (padded), or the sum of the lengths, with rows only for the utterances that
 *  reach the frame (packed); as utterances are sorted longest first, these are the first ones.
 *  Arrays are float32 unless stated otherwise.
 *
 *  The functions with `cuda` in their name are in a separate library, libds2native_cuda, which has its own
 *  ds2_abi_version and ds2_last_error. All others are in libds2native, which does not need CUDA.
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

#define DS2_ABI_VERSION 8

typedef enum { DS2_OK = 0, DS2_INVALID = 1, DS2_WORKSPACE = 2, DS2_DEVICE = 3 } ds2_status;

/** Precision of the factors of a recurrence's matrix products, and storage format of CTC's logits and their gradients;
 *  sums and everything else are always float32. bfloat16 has 8 bits of mantissa; on a processor without bfloat16
 *  instructions a recurrence is computed in float32. */
typedef enum { DS2_FLOAT32 = 0, DS2_BFLOAT16 = 1 } ds2_precision;

/** The ABI version of this library; a binding must reject any version but its own. */
DS2_API int32_t ds2_abi_version(void);

/** The message of this thread's last failed call; never NULL. */
DS2_API const char *ds2_last_error(void);

/** The instruction set of recurrences in this precision: "base", "avx2", "avx512" or, only for bfloat16, "avx512bf16".
 *  The variable DS2_NATIVE_ISA sets the highest one allowed. Those below avx512bf16 compute bfloat16 products in float32;
 *  CTC uses the one for float32. */
DS2_API const char *ds2_isa(int32_t precision);

/** The cell types of a recurrent layer, with u = U h:
 *      simple    h' = f(x + u)                                                                     (paper eq. 3)
 *      GRU       r, z = sigmoid(x + u) of each   n = f(x_n + r * u_n)   h' = (1 - z) n + z h       (paper eq. 10)
 *      LSTM      i, f, o = sigmoid(x + u) of each   g = tanh(x_g + u_g)   c' = f c + i g   h' = o tanh(c')
 *  f is tanh or the clipped ReLU min(max(x, 0), DS2_CLIP), whose gradient is zero at and beyond both ends. The order of
 *  gates is r, z, n (GRU, G = 3) and i, f, g, o (LSTM, G = 4); simple cells have G = 1. */
typedef enum { DS2_GRU_TANH = 0, DS2_GRU_RELU = 1, DS2_RNN_TANH = 2, DS2_RNN_RELU = 3, DS2_LSTM = 4 } ds2_cell;

#define DS2_CLIP 20.0f

/** The shape of a recurrent layer. */
typedef struct {
  int32_t cell; /* ds2_cell */
  int32_t D, T, N, M, H;
} ds2_rnn_shape;

/** Sizes of a layer's three opaque buffers: the reserve that forward saves for backward (0 if it saves nothing), and
 *  the workspaces of forward and backward. */
DS2_API ds2_status ds2_rnn_sizes(const ds2_rnn_shape *shape, int32_t threads, size_t *out_reserve_bytes,
                                 size_t *out_forward_bytes, size_t *out_backward_bytes);

/** Forward pass of a recurrent layer; the directions share their input projections (Deep Speech 2, section 3).
 *  gates[m][g*H + j]         M*G*H    in, x including biases
 *  recurrent[d][g*H + j][k]  D*G*H*H  in, U: weight from unit k of the last step to gate g of unit j
 *  lengths[n]                N        in, 0..T, longest first; direction 1 starts at the last frame of each utterance
 *  start[s][n][j]            S*N*H    in, the state before the first frame: h, and c of an LSTM (S = 2, otherwise 1);
 *                                     NULL: zeros
 *  h[d][m][j]                D*M*H    out, zero where t >= lengths[n]
 *  end[s][n][j]              S*N*H    out, the state after the last frame, in the layout of `start`, and may be the same
 *                                     array; that of `start` if lengths[n] = 0. NULL if it is not needed
 *  reserve                   out, for backward; NULL if no gradient is needed or its size is 0
 *
 *  An utterance can be computed in pieces, with the `end` of a piece as the `start` of the next; h is then the same to
 *  the bit. This needs D = 1, and has no gradient: reserve must be NULL.
 */
DS2_API ds2_status ds2_rnn_forward(const ds2_rnn_shape *shape, const float *gates, const float *recurrent,
                                   const int32_t *lengths, const float *start, float *h, float *end, void *reserve,
                                   void *workspace, size_t workspace_bytes, int32_t threads, int32_t precision);

/** Gradients of ds2_rnn_forward.
 *  dh[d][m][j]               in, upstream gradient, ignored where t >= lengths[n]; if dh_directions = 1, all
 *                            directions use dh[0]
 *  dgates[m][g*H + j]        out, summed over the directions, zero where t >= lengths[n]
 *  drecurrent[d][g*H + j][k] out
 */
DS2_API ds2_status ds2_rnn_backward(const ds2_rnn_shape *shape, const float *recurrent, const int32_t *lengths,
                                    const float *h, const void *reserve, const float *dh, int32_t dh_directions,
                                    float *dgates, float *drecurrent, void *workspace, size_t workspace_bytes,
                                    int32_t threads, int32_t precision);

/** Storage format of a packed matrix for inference; sums are float32 in the first two.
 *      float32    as given
 *      bfloat16   weights rounded to bfloat16, activations in float32
 *      int8       weights rounded to q * s, |q| <= 127, with a scale s per output: its largest |weight| / 127, rounded up
 *                 to 17 bits, so that a matrix of such weights is packed without a change. Activations are rounded to
 *                 integers per row, with the scale of its largest magnitude / Q, Q = min(32767, (2^31 - 1) / (127 K)):
 *                 sums are then exact in 32 bits. Magnitudes below 2^-110 count as zero.
 *  bfloat16 and int8 are read in a half and a quarter of the time from a cache or memory that limits the speed. */
typedef enum { DS2_WEIGHTS_FLOAT32 = 0, DS2_WEIGHTS_BFLOAT16 = 1, DS2_WEIGHTS_INT8 = 2 } ds2_weights;

/** The shape of a matrix W of J outputs and K inputs; J <= 2^24, K <= 2^17. */
typedef struct {
  int32_t format; /* ds2_weights */
  int32_t J, K;
} ds2_matrix_shape;

/** Sizes of a packed matrix, and of the workspace for calls with up to M rows or streams. */
DS2_API ds2_status ds2_matrix_sizes(const ds2_matrix_shape *shape, int32_t M, size_t *out_packed_bytes,
                                    size_t *out_workspace_bytes);

/** Pack a matrix. The layout depends on the processor: it is for calls in this process, not for a file.
 *  weights[j][k]             J*K      in
 *  packed                    out, aligned to 4 bytes; to 64 bytes it is read faster
 */
DS2_API ds2_status ds2_matrix_pack(const ds2_matrix_shape *shape, const float *weights, void *packed);

/** The products y[m] = f(W x[m] + bias) of M rows. A row's result is the same to the bit whatever the other rows are. In
 *  float32 the sum is over k in order. In int8 it is also the same on every processor, before f. If a row contains a NaN,
 *  so does each of its outputs; in int8 also if it contains an infinity.
 *  packed                    in
 *  bias[j]                   J        in, NULL: zeros
 *  activation                f: 0 none, 1 the clipped ReLU min(max(y, 0), DS2_CLIP)
 *  x[m]                      M        in, pointers to rows of K; rows may overlap (the windows of a convolution)
 *  y[m][j]                   M*J      out, must not overlap a row
 *
 *  Calls on different threads can share a packed matrix, each with its own workspace.
 */
DS2_API ds2_status ds2_matrix_apply(const ds2_matrix_shape *shape, const void *packed, const float *bias,
                                    int32_t activation, int32_t M, const float *const *x, float *y, void *workspace,
                                    size_t workspace_bytes);

/** The next frames of N streams through a recurrent layer, forward in time. A stream's result is the same to the bit
 *  whatever its chunks and the other streams are; in float32 it is that of ds2_rnn_forward in float32.
 *  shape                     of U: J = G*H, K = H
 *  cell                      ds2_cell
 *  packed                    in, U, packed from recurrent[g*H + j][k]
 *  lengths[n]                N        in, T_n >= 0 frames of stream n, in any order
 *  gates[n][t][g*H + j]      N        in, pointers to T_n*G*H, x including biases
 *  state[n][s][j]            N        in and out, pointers to S*H: h, and c of an LSTM (S = 2, otherwise 1); zeros before
 *                                     the first frame
 *  h[n][t][j]                N        out, pointers to T_n*H
 *  Pointers of a stream are not read if T_n = 0.
 */
DS2_API ds2_status ds2_rnn_advance(const ds2_matrix_shape *shape, int32_t cell, const void *packed, int32_t N,
                                   const int32_t *lengths, const float *const *gates, float *const *state,
                                   float *const *h, void *workspace, size_t workspace_bytes);

/** Row convolution (Deep Speech 2, equation 11): y[m][j] = sum over taps t of weights[t][j] * frames[m + t][j], in
 *  order.
 *  frames[m][j]              (M + taps - 1)*H   in
 *  weights[t][j]             taps*H             in
 *  y[m][j]                   M*H                out
 */
DS2_API ds2_status ds2_row_conv(int32_t H, int32_t taps, int32_t M, const float *frames, const float *weights,
                                float *y);

/** The shape of a CTC batch. Logits are at [t*stride_t + n*stride_n + v], with strides in elements: (N*V, V) for
 *  frame-major (T, N, V), (V, T*V) for utterance-major (N, T, V). Rows must not overlap. */
typedef struct {
  int32_t T, N, V, L;  /* L: columns of targets, 0 if all label sequences are empty; N < 2^30, L < 2^29 */
  int32_t blank;       /* 0..V-1 */
  int32_t precision;   /* ds2_precision of logits and dlogits */
  int64_t stride_t, stride_n;
} ds2_ctc_shape;

/** The outcome for one utterance. Only DS2_CTC_FINE has a gradient; for all others it is exactly zero. Lengths are
 *  checked first, then labels, then whether the labels fit into the frames, and the logits last. */
typedef enum {
  DS2_CTC_FINE = 0,
  DS2_CTC_TOO_SHORT = 1,  /* fewer frames than labels plus blanks between equal neighbors: cost +inf */
  DS2_CTC_IMPOSSIBLE = 2, /* every alignment contains a symbol of probability zero: cost +inf */
  DS2_CTC_NOT_FINITE = 3, /* a logit is NaN or +inf, or all logits of a frame are -inf: cost NaN */
  DS2_CTC_BAD_LABEL = 4,  /* a label is outside 0..V-1 or is the blank: cost NaN */
  DS2_CTC_BAD_LENGTH = 5  /* the input length is outside 0..T or the target length outside 0..L: cost NaN */
} ds2_ctc_verdict;

/** Sizes of the buffer that forward saves for backward, and of forward's workspace if it saves nothing (cost) or saves
 *  that buffer (forward). */
DS2_API ds2_status ds2_ctc_sizes(const ds2_ctc_shape *shape, int32_t threads, size_t *out_saved_bytes,
                                 size_t *out_cost_bytes, size_t *out_forward_bytes);

/** Connectionist temporal classification (Graves et al. 2006; Deep Speech 2, eq. 9). The cost of an utterance is -ln of
 *  the probability of its labels, summed over all alignments, under softmax(logits).
 *  logits                    in, float32 or bfloat16; not read where t >= input_lengths[n]. -inf is probability zero,
 *                            and so is any logit more than 22,000 nats below the largest of its frame.
 *  targets[n*L + i]          in, N*L int32; not read where i >= target_lengths[n]; NULL if L = 0
 *  input_lengths, target_lengths    in, N int32
 *  costs                     out, N, nats; above 186 million they count as infinite. The relative error is at most
 *                            1e-6; on CUDA, costs close to 0 have an absolute error of up to 6e-8 per frame.
 *  verdicts                  out, N int32, ds2_ctc_verdict
 *  saved                     out, for backward; NULL if no gradient is needed (out_cost_bytes of workspace suffice)
 */
DS2_API ds2_status ds2_ctc_forward(const ds2_ctc_shape *shape, const void *logits, const int32_t *targets,
                                   const int32_t *input_lengths, const int32_t *target_lengths, float *costs,
                                   int32_t *verdicts, void *saved, void *workspace, size_t workspace_bytes,
                                   int32_t threads);

/** The gradient of sum over n of dcosts[n] * costs[n]; the occupancy of v is the posterior probability that an
 *  alignment of the labels is at symbol v:
 *      dlogits[t][n][v] = dcosts[n] * (softmax(logits[t][n])[v] - occupancy of v in frame t)
 *  logits, saved             in, those of forward
 *  dcosts                    in, N, upstream gradient
 *  dlogits                   out, strides and precision as logits, a different buffer; zero where t >= input_lengths[n]
 */
DS2_API ds2_status ds2_ctc_backward(const ds2_ctc_shape *shape, const void *logits, const void *saved,
                                    const float *dcosts, void *dlogits, int32_t threads);

/** CTC on a CUDA device. Every pointer but `shape` is memory of the current device; the work is queued on `stream` (a
 *  cudaStream_t), and the call returns without waiting for it. Results are bit-identical from run to run. The buffers
 *  must stay allocated until the stream has completed the work; `saved` has a different layout from that of the CPU. */
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
