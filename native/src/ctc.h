// One utterance of a CTC call, and the table of kernels that an instruction set provides for it. Plain types only, as
// in rnn.h.
//
// An utterance only needs the U distinct symbols of its label and the blank, so that all V symbols are read once per
// frame and direction; a small alphabet is kept complete and in order. Each row of `rows` is a frame: kRowHeader
// floats, then one float per symbol, which is its logit until `compute_occupancies` replaces it with its occupancy.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "padding.h"

namespace ds2 {

constexpr int32_t kRowHeader = 2;              // the frame's largest logit m, and 1 / sum of exp(x - m)
constexpr int32_t kZeroExponent = -(1 << 29);  // exponent of probability zero; the sum of two fits into 32 bits
constexpr int32_t kSmallAlphabet = 64;         // alphabets up to this size are kept complete

struct CtcUtterance {
  int32_t T, V, L, U;
  int32_t blank;  // index of the blank among the U symbols
  bool bfloat16;
  const void *logits;
  int64_t stride;           // elements from one frame to the next
  const int32_t *symbols;   // (U,): all V in order if V <= kSmallAlphabet
  const int32_t *slots;     // (padded(L + 1),): index among the U symbols of label i = 1..L; otherwise 0
  const int32_t *may_skip;  // (padded(L + 1),): -1 if the blank between labels i and i + 1 may be skipped, otherwise 0
  float *rows;              // (T, kRowHeader + U), followed by one vector of padding
  bool keep_alpha;          // otherwise only the last two frames are kept, and occupancies cannot be computed
  float *alpha;             // workspace: (keep_alpha ? T + 1 : 2, trellis_floats(L))
  float *scratch;           // workspace: scratch_floats(L, U)
};

/// Floats per frame of the trellis: mantissas and exponents of L + 1 labels and L + 1 blanks.
constexpr size_t trellis_floats(size_t L) { return 4 * padded(L + 1); }
constexpr size_t scratch_floats(size_t L, size_t U) { return trellis_floats(L) + 11 * padded(L + 1) + 6 * padded(U); }

struct CtcTotal {
  double cost;       // nats; infinite if the label has probability zero, NaN if the logits are not finite
  int32_t exponent;  // of the label's probability relative to the largest logits
  bool finite;       // whether the logits are finite
};

/// The gradient of one frame.
struct CtcGradient {
  int32_t V, U;
  bool bfloat16;
  float scale;  // upstream gradient: that of the utterance's cost
  const void *logits;
  void *gradient;
  const int32_t *symbols;
  const float *row;  // NULL: the gradient is zero
};

struct CtcKernels {
  CtcTotal (*forward)(const CtcUtterance &);                             // fills rows
  void (*compute_occupancies)(const CtcUtterance &, const CtcTotal &);  // replaces the logits in rows
  void (*write_gradient)(const CtcGradient &);
};

namespace base { const CtcKernels &ctc_kernels(); }
namespace avx2 { const CtcKernels &ctc_kernels(); }
namespace avx512 { const CtcKernels &ctc_kernels(); }

}  // namespace ds2
