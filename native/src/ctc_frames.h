// The two passes of CTC over all V symbols of a frame: the softmax in forward, and the gradient.
#pragma once
#include <math.h>

#include "ctc.h"
#include "glibc.h"
#include "shuffle.h"
#include "simd.h"

namespace {

using ds2::CtcGradient;
using ds2::CtcUtterance;
using ds2::kRowHeader;
using ds2::kSmallAlphabet;

constexpr float kNegativeInfinity = -__builtin_huge_valf();

typedef uint16_t Bfloat16s __attribute__((vector_size(W * 2)));

DS2_INLINE V load(const uint16_t *p) {
  Bfloat16s halves;
  memcpy(&halves, p, sizeof halves);
  const I bits = __builtin_convertvector(halves, I) << 16;
  V v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

DS2_INLINE float widen(float x) { return x; }
DS2_INLINE float widen(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

DS2_INLINE void store_scalar(float *p, float x) { *p = x; }
DS2_INLINE void store_scalar(uint16_t *p, float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  *p = x != x ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // round to nearest even
}

DS2_INLINE void store(uint16_t *p, V v) {
  typedef uint32_t Bits __attribute__((vector_size(W * 4)));
  Bits bits;
  memcpy(&bits, &v, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const Bfloat16s halves = __builtin_convertvector(bits, Bfloat16s);
  memcpy(p, &halves, sizeof halves);
}

/// The first `count` < W elements at p, then -inf.
template <class X>
DS2_INLINE V load_partial(const X *p, int32_t count) {
  V v = V{} + kNegativeInfinity;
  for (int32_t i = 0; i < count; ++i) v[i] = widen(p[i]);
  return v;
}

/// The last `symbols` % W logits of a row in the highest lanes, or all of a shorter row in the lowest; -inf elsewhere.
template <class X>
DS2_INLINE V load_tail(const X *row, int32_t symbols) {
  const int32_t count = symbols % W;
  if (symbols < W) return load_partial(row, symbols);
  const V v = load(row + symbols - W);
  return lane_indices() >= W - count ? v : V{} + kNegativeInfinity;
}

/// The largest logit of a row, and the sum of exp(x - largest) over all other logits: the softmax denominator minus 1,
/// which may be tiny and still be the vector_end cost of an utterance. NaN if a logit is NaN.
template <class X>
DS2_INLINE void compute_softmax_statistics(const X *row, int32_t symbols, float &largest, float &denom_minus_1) {
  const int32_t vector_end = symbols / W * W;
  const V last = symbols % W ? load_tail(row, symbols) : V{} + kNegativeInfinity;
  V maxima[4] = {last, last, last, last};
  int32_t v = 0;
  for (; v + 4 * W <= vector_end; v += 4 * W)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) maxima[i] = max(maxima[i], load(row + v + i * W));
  for (; v < vector_end; v += W) maxima[0] = max(maxima[0], load(row + v));
  largest = reduce(max(max(maxima[0], maxima[1]), max(maxima[2], maxima[3])), [](V a, V b) { return max(a, b); });
  V other_sum = {}, equal_count = {};
  const auto accumulate = [&](V x) {
    const I equal = x == largest;
    other_sum += equal < 0 ? V{} : exp(x - largest);
    equal_count -= __builtin_convertvector(equal, V);
  };
  if (symbols % W) accumulate(last);
  for (v = 0; v < vector_end; v += W) accumulate(load(row + v));
  const auto sum = [](V a, V b) { return a + b; };
  denom_minus_1 = reduce(other_sum, sum) + (reduce(equal_count, sum) - 1);
}

/// Fill the rows of an utterance; return the log of the product of softmax denominators relative to the largest logits,
/// or NaN if logits are not finite.
template <class X>
double fill_softmax_rows(const CtcUtterance &u) {
  double log_sum = 0, product = 1;
  const X *logits = static_cast<const X *>(u.logits);
  float *out = u.rows;
  for (int32_t t = 0; t < u.T; ++t, logits += u.stride, out += kRowHeader + u.U) {
    float denom_minus_1;
    compute_softmax_statistics(logits, u.V, out[0], denom_minus_1);
    if (out[0] - out[0] != 0) return out[0] - out[0];
    out[1] = 1 / (1 + denom_minus_1);
    if (u.V <= kSmallAlphabet) {
      for (int32_t v = 0; v < u.V; ++v) out[kRowHeader + v] = widen(logits[v]);
    } else {
      for (int32_t s = 0; s < u.U; ++s) out[kRowHeader + s] = widen(logits[u.symbols[s]]);
    }
    product *= 1 + static_cast<double>(denom_minus_1);  // grows by at most 2^31 per frame
    if (t % 32 == 31) log_sum += log(product), product = 1;
  }
  return log_sum + log(product);
}

/// Store f(in[v..v+W), v) to out for all vectors. The last vector overlaps the one before it; if there is only a
/// partial vector, it is padded with -inf.
template <class X, class F>
DS2_INLINE void map_vectors(X *out, const X *in, int32_t count, const F &f) {
  int32_t v = 0;
  for (; v + W <= count; v += W) store(out + v, f(load(in + v), v));
  if (v == count) return;
  if (v > 0) return store(out + count - W, f(load(in + count - W), count - W));
  const V result = f(load_partial(in, count), 0);
  for (; v < count; ++v) store_scalar(out + v, result[v]);
}

/// Write scale * (softmax - occupancy) for one frame.
template <class X>
void write_gradient(const CtcGradient &g) {
  X *out = static_cast<X *>(g.gradient);
  if (!g.row) {
    memset(out, 0, g.V * sizeof(X));
    return;
  }
  const X *x = static_cast<const X *>(g.logits);
  const float largest = g.row[0], factor = g.scale * g.row[1], *occupancies = g.row + kRowHeader;
  const auto softmax = [&](V logits) { return exp(logits - largest) * factor; };
  if (g.V <= kSmallAlphabet) {
    map_vectors(out, x, g.V, [&](V logits, int32_t v) {
      return softmax(logits) - g.scale * (g.V < W ? load(occupancies, g.V) : load(occupancies + v));
    });
    return;
  }
  map_vectors(out, x, g.V, [&](V logits, int32_t) { return softmax(logits); });
  for (int32_t s = 0; s < g.U; s += W) {
    const int32_t count = g.U - s < W ? g.U - s : W;
    float chosen[W] = {}, gradient[W];
    for (int32_t i = 0; i < count; ++i) chosen[i] = widen(x[g.symbols[s + i]]);
    store(gradient, softmax(load(chosen)) - g.scale * load(occupancies + s, count));
    for (int32_t i = 0; i < count; ++i) store_scalar(out + g.symbols[s + i], gradient[i]);
  }
}

}  // namespace
