// One utterance of a CTC call, and the kernels an instruction set offers for it. Plain types only, as in rnn.h.
//
// An utterance is reduced to the U distinct symbols of its label and the blank, so V is met once a frame; a small alphabet
// is kept whole and in order. A row of `rows` is a frame: kHead floats, then one for each symbol: its logit, which `occupy`
// turns into its occupancy.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace ds2 {

constexpr int32_t kHead = 2;         // the best logit m of a frame, and 1 / sum of exp(x - m)
constexpr int32_t kNone = -(1 << 29);  // the exponent of a probability of zero; sums of two stay in 32 bits
constexpr int32_t kLanes = 16;       // floats of the widest vector: what buffers are padded to

constexpr int32_t kSmall = 64;       // symbols of an alphabet that is kept whole

constexpr size_t padded(size_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

struct CtcUtterance {
  int32_t T, V, L, U;
  int32_t blank;  // which of the U
  bool bfloat16;
  const void *logits;
  int64_t stride;          // elements from a frame to the next
  const int32_t *symbols;  // U; all V in order where V <= kSmall
  const int32_t *slots;    // padded(L + 1): which of the U label i is, i = 1..L; 0 elsewhere
  const int32_t *doors;    // padded(L + 1): -1 where label i + 1 may follow label i without a blank between, else 0
  float *rows;             // (T, kHead + U), and a vector's width more
  bool keep_alpha;         // else only the last two frames are kept, and no occupancies can be had
  float *alpha;            // workspace: keep_alpha ? T + 1 : 2 times trellis_floats(L)
  float *scratch;          // workspace: scratch_floats(L, U)
};

/// The cells of a frame: mantissa and exponent of L + 1 labels and L + 1 blanks.
constexpr size_t trellis_floats(size_t L) { return 4 * padded(L + 1); }
constexpr size_t scratch_floats(size_t L, size_t U) { return trellis_floats(L) + 11 * padded(L + 1) + 6 * padded(U); }

struct CtcTotal {
  double cost;       // infinite when the label has probability zero, NaN when the logits are not finite
  int32_t exponent;  // of the label's probability relative to the best symbols
  bool finite;       // whether the logits were
};

/// The gradient of one frame.
struct CtcGradient {
  int32_t V, U;
  bool bfloat16;
  float scale;
  const void *logits;
  void *gradient;
  const int32_t *symbols;
  const float *row;  // NULL: the gradient is zero
};

struct CtcKernels {
  CtcTotal (*forward)(const CtcUtterance &);              // fills rows
  void (*occupy)(const CtcUtterance &, const CtcTotal &);  // turns the logits of rows into occupancies
  void (*gradient)(const CtcGradient &);
};

namespace base { const CtcKernels &ctc_kernels(); }
namespace avx2 { const CtcKernels &ctc_kernels(); }
namespace avx512 { const CtcKernels &ctc_kernels(); }

}  // namespace ds2
