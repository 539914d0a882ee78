// Nonnegative numbers with a separate exponent, so that the trellis needs no logarithms and does not underflow, however
// long the utterance. Multiplying by a power of two is exact, so results do not depend on when mantissas are
// normalized.
#pragma once
#include "device.h"

namespace ds2 {

struct alignas(8) ScaledFloat {
  float m;    // positive
  int32_t e;  // the number is m * 2^e
};

constexpr int32_t kZeroExponent = -(1 << 29);  // exponent of zero; the sum of two fits into 32 bits
constexpr int32_t kMinExponent = -(1 << 28);   // a smaller exponent counts as zero

/// Logits this far below the largest of their frame (nats) count as probability zero.
constexpr float kLogitFloor = -22000;

__device__ __forceinline__ ScaledFloat zero() { return {1.0f, kZeroExponent}; }

/// 2^e for e in [-126, 127], and 0 for -127.
__device__ __forceinline__ float power_of_two(int32_t e) { return __int_as_float((e + 127) << 23); }

__device__ __forceinline__ ScaledFloat add(ScaledFloat a, ScaledFloat b) {
  const int32_t e = max(a.e, b.e);
  return {fmaf(a.m, power_of_two(max(a.e - e, -127)), b.m * power_of_two(max(b.e - e, -127))), e};
}

/// Exponents must be in [kZeroExponent, -kZeroExponent].
__device__ __forceinline__ ScaledFloat multiply(ScaledFloat a, ScaledFloat b) {
  return {a.m * b.m, max(a.e + b.e, kZeroExponent)};
}

/// The same number with m in [1, 2).
__device__ __forceinline__ ScaledFloat normalize(ScaledFloat a) {
  const int32_t bits = __float_as_int(a.m);
  return {__int_as_float((bits & 0x7fffff) | 0x3f800000), max(a.e + (bits >> 23) - 127, kZeroExponent)};
}

/// exp(x - max_logit) for x <= max_logit, to float precision over its complete range: the difference is corrected by
/// its rounding error. Zero below kLogitFloor, exactly 1 at the maximum.
__device__ __forceinline__ ScaledFloat scaled_exp(float x, float max_logit) {
  const float y = x - max_logit;
  if (!(y >= kLogitFloor)) return zero();
  const float subtracted = x - y, rounding_error = (x - (y + subtracted)) + (subtracted - max_logit);
  const float k = rintf(y * 1.44269504f);
  const float r = fmaf(k, 1.90465421e-9f, fmaf(k, -0.693147182f, y)) + rounding_error;  // ln 2 in two parts
  float m = fmaf(r, 1.0f / 5040, 1.0f / 720);  // Taylor series, |r| < 0.35
  m = fmaf(m, r, 1.0f / 120);
  m = fmaf(m, r, 1.0f / 24);
  m = fmaf(m, r, 1.0f / 6);
  m = fmaf(m, r, 0.5f);
  m = fmaf(m, r, 1.0f);
  m = fmaf(m, r, 1.0f);
  return {m, static_cast<int32_t>(k)};
}

}  // namespace ds2
