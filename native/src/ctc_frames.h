// The two passes of CTC that meet all V symbols of a frame: the softmax going forward, the gradient going back.
#pragma once
#include <math.h>

#include "ctc.h"
#include "shuffle.h"
#include "simd.h"

namespace {

using ds2::CtcGradient;
using ds2::CtcUtterance;
using ds2::kHead;
using ds2::kSmall;

constexpr float kNegativeInfinity = -__builtin_huge_valf();

typedef uint16_t Halves __attribute__((vector_size(W * 2)));

DS2_INLINE V load(const uint16_t *p) {
  Halves halves;
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

DS2_INLINE void narrow_to(float *p, float x) { *p = x; }
DS2_INLINE void narrow_to(uint16_t *p, float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  *p = x != x ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // to nearest, ties to even
}

DS2_INLINE void store_as(float *p, V v) { store(p, v); }
DS2_INLINE void store_as(uint16_t *p, V v) {
  typedef uint32_t Bits __attribute__((vector_size(W * 4)));
  Bits bits;
  memcpy(&bits, &v, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  const Halves halves = __builtin_convertvector(bits, Halves);
  memcpy(p, &halves, sizeof halves);
}

/// The W floats from p on, of which only the first `count` are there; -inf after.
template <class X>
DS2_INLINE V load_some(const X *p, int32_t count) {
  V v = V{} + kNegativeInfinity;
  for (int32_t i = 0; i < count; ++i) v[i] = widen(p[i]);
  return v;
}

/// The V % W last logits of a row, -inf elsewhere.
template <class X>
DS2_INLINE V load_last(const X *row, int32_t symbols) {
  const int32_t rest = symbols % W;
  if (symbols < W) return load_some(row, symbols);
  const V v = load(row + symbols - W);
  return lane_numbers() >= W - rest ? v : V{} + kNegativeInfinity;
}

/// The best logit of a row, and the sum of exp(x - best) over all the others: the softmax's denominator less one, which may
/// be tiny and still be all that an utterance costs. NaN where a logit is NaN.
template <class X>
DS2_INLINE void soften(const X *row, int32_t symbols, float &best, float &rest) {
  const int32_t whole = symbols / W * W;
  const V last = symbols % W ? load_last(row, symbols) : V{} + kNegativeInfinity;
  V top[4] = {last, last, last, last};
  int32_t v = 0;
  for (; v + 4 * W <= whole; v += 4 * W)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) top[i] = larger(top[i], load(row + v + i * W));
  for (; v < whole; v += W) top[0] = larger(top[0], load(row + v));
  best = reduce(larger(larger(top[0], top[1]), larger(top[2], top[3])), [](V a, V b) { return larger(a, b); });
  V others = {}, equals = {};
  const auto take = [&](V x) {
    const I equal = x == best;
    others += equal < 0 ? V{} : exp(x - best);
    equals -= __builtin_convertvector(equal, V);
  };
  if (symbols % W) take(last);
  for (v = 0; v < whole; v += W) take(load(row + v));
  const auto sum = [](V a, V b) { return a + b; };
  rest = reduce(others, sum) + (reduce(equals, sum) - 1);
}

/// Fill the rows of an utterance; returns ln of the product of softmax denominators relative to the best logits, or NaN.
template <class X>
double measure(const CtcUtterance &u) {
  double logs = 0, product = 1;
  const X *logits = static_cast<const X *>(u.logits);
  float *out = u.rows;
  for (int32_t t = 0; t < u.T; ++t, logits += u.stride, out += kHead + u.U) {
    float rest;
    soften(logits, u.V, out[0], rest);
    if (out[0] - out[0] != 0) return out[0] - out[0];
    out[1] = 1 / (1 + rest);
    if (u.V <= kSmall) {
      for (int32_t v = 0; v < u.V; ++v) out[kHead + v] = widen(logits[v]);
    } else {
      for (int32_t s = 0; s < u.U; ++s) out[kHead + s] = widen(logits[u.symbols[s]]);
    }
    product *= 1 + static_cast<double>(rest);  // at most 2^31 times as much with every frame
    if (t % 32 == 31) logs += log(product), product = 1;
  }
  return logs + log(product);
}

/// Apply f to p[0..count) by vectors, the last one overlapping the one before or, where there is none, in a copy.
template <class X, class F>
DS2_INLINE void for_vectors(X *out, const X *in, int32_t count, const F &f) {
  int32_t v = 0;
  for (; v + W <= count; v += W) store_as(out + v, f(load(in + v), v));
  if (v == count) return;
  if (v > 0) return store_as(out + count - W, f(load(in + count - W), count - W));
  const V result = f(load_some(in, count), 0);
  for (; v < count; ++v) narrow_to(out + v, result[v]);
}

/// dcost * (softmax - occupancy) of one frame.
template <class X>
void write_gradient(const CtcGradient &g) {
  X *out = static_cast<X *>(g.gradient);
  if (!g.row) {
    memset(out, 0, g.V * sizeof(X));
    return;
  }
  const X *x = static_cast<const X *>(g.logits);
  const float best = g.row[0], factor = g.scale * g.row[1], *taken = g.row + kHead;
  const auto softmax = [&](V logits) { return exp(logits - best) * factor; };
  if (g.V <= kSmall) {
    for_vectors(out, x, g.V, [&](V logits, int32_t v) {
      return softmax(logits) - g.scale * (g.V < W ? load(taken, g.V) : load(taken + v));
    });
    return;
  }
  for_vectors(out, x, g.V, [&](V logits, int32_t) { return softmax(logits); });
  for (int32_t s = 0; s < g.U; s += W) {
    const int32_t count = g.U - s < W ? g.U - s : W;
    float chosen[W] = {}, gradient[W];
    for (int32_t i = 0; i < count; ++i) chosen[i] = widen(x[g.symbols[s + i]]);
    store(gradient, softmax(load(chosen)) - g.scale * load(taken + s, count));
    for (int32_t i = 0; i < count; ++i) narrow_to(out + g.symbols[s + i], gradient[i]);
  }
}

}  // namespace
