// Positive numbers of any size: a float and an exponent beside it. What a trellis needs, without a logarithm and
// without underflow however long the utterance. Multiplying by a power of two is exact, so when the mantissas are
// brought back to [1, 2) makes no difference to any result.
#pragma once
#include "device.h"

namespace ds2 {

struct alignas(8) Value {
  float m;    // positive
  int32_t e;  // the number is m * 2^e
};

constexpr int32_t kNone = -(1 << 29);        // the exponent of zero; sums of two stay in 32 bits
constexpr int32_t kImpossible = -(1 << 28);  // exponents below count as zero

__device__ __forceinline__ Value none() { return {1.0f, kNone}; }

/// 2^e for e in [-126, 127], and 0 for -127.
__device__ __forceinline__ float power(int32_t e) { return __int_as_float((e + 127) << 23); }

__device__ __forceinline__ Value add(Value a, Value b) {
  const int32_t e = max(a.e, b.e);
  return {fmaf(a.m, power(max(a.e - e, -127)), b.m * power(max(b.e - e, -127))), e};
}

/// e of both in [kNone, -kNone].
__device__ __forceinline__ Value times(Value a, Value b) { return {a.m * b.m, max(a.e + b.e, kNone)}; }

/// The same number with m in [1, 2).
__device__ __forceinline__ Value settle(Value a) {
  const int32_t bits = __float_as_int(a.m);
  return {__int_as_float((bits & 0x7fffff) | 0x3f800000), max(a.e + (bits >> 23) - 127, kNone)};
}

/// exp(x - best) for x <= best, to float's precision whatever its size: the difference is taken with what its rounding
/// lost. Zero below exp(-22,000), and exactly 1 at the best.
__device__ __forceinline__ Value exponential(float x, float best) {
  const float y = x - best;
  if (!(y >= -22000.0f)) return none();
  const float taken = x - y, lost = (x - (y + taken)) + (taken - best);
  const float k = rintf(y * 1.44269504f);
  const float r = fmaf(k, 1.90465421e-9f, fmaf(k, -0.693147182f, y)) + lost;  // ln 2 in two parts
  float m = fmaf(r, 1.0f / 5040, 1.0f / 720);  // |r| < 0.35: the series is enough
  m = fmaf(m, r, 1.0f / 120);
  m = fmaf(m, r, 1.0f / 24);
  m = fmaf(m, r, 1.0f / 6);
  m = fmaf(m, r, 0.5f);
  m = fmaf(m, r, 1.0f);
  m = fmaf(m, r, 1.0f);
  return {m, static_cast<int32_t>(k)};
}

}  // namespace ds2
