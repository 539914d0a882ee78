// Validation of a batch, common to the CPU and CUDA libraries.
#pragma once
#include "status.h"

namespace ds2 {

constexpr double kMaxWords = 1e17;  // 32-bit words: their size in bytes fits into size_t

inline ds2_status check_shape(const ds2_ctc_shape *s) {
  if (!s) return fail(DS2_INVALID, "shape is NULL");
  if (s->T < 0 || s->N < 0 || s->V < 1 || s->L < 0)
    return fail(DS2_INVALID, "expected T, N, L >= 0, V > 0, got T=%d N=%d V=%d L=%d", s->T, s->N, s->V, s->L);
  if (s->N >= 1 << 30 || s->L >= 1 << 29)  // 2N CUDA blocks, 2L + 1 states
    return fail(DS2_INVALID, "expected N < 2^30 and L < 2^29, got N=%d L=%d", s->N, s->L);
  const double cells = (s->T + 1.0) * (s->N + 1.0) * (8.0 * s->L + 64.0), logits = 1.0 * s->T * s->N * s->V;
  if (cells > kMaxWords || logits > kMaxWords)
    return fail(DS2_INVALID, "expected a batch that fits in memory, got T=%d N=%d V=%d L=%d", s->T, s->N, s->V, s->L);
  if (s->blank < 0 || s->blank >= s->V) return fail(DS2_INVALID, "expected blank in 0..%d, got %d", s->V - 1, s->blank);
  if (s->precision != DS2_FLOAT32 && s->precision != DS2_BFLOAT16)
    return fail(DS2_INVALID, "expected precision = 0 (float32) or 1 (bfloat16), got %d", s->precision);
  return DS2_OK;
}

}  // namespace ds2
