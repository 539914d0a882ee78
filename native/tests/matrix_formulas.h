// Products with a matrix in each format, and the recurrences over them, by their formulas: to the bit, as the kernels
// promise the order of the sums and every rounding.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ds2_native.h"

namespace {

using Floats = std::vector<float>;

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Rounded to the nearest bfloat16, halves to even.
inline float to_bfloat16(float x) {
  const uint32_t bits = bits_of(x), rest = bits & 0xffff, down = bits - rest;
  const bool up = rest > 0x8000 || (rest == 0x8000 && (bits >> 16 & 1));
  return from_bits(up ? down + 0x10000 : down);
}

inline float largest_of(const float *x, int count) {
  float largest = 0;
  for (int k = 0; k < count; ++k) {
    if (!std::isfinite(x[k])) return NAN;
    largest = std::max(largest, std::fabs(x[k]));
  }
  return largest;
}

/// The scale of a row of int8 weights: largest / 127, rounded up to 17 bits.
inline float scale_of_weights(const float *row, int K) {
  const float scale = largest_of(row, K) / 127;
  if (!(scale > 0)) return scale;
  int exponent;
  const double mantissa = std::frexp(static_cast<double>(scale), &exponent);
  return static_cast<float>(std::ldexp(std::ceil(std::ldexp(mantissa, 17)), exponent - 17));
}

struct Quantised {
  std::vector<int> values;
  float scale;
};

inline Quantised quantise_weights(const float *row, int K) {
  Quantised q{std::vector<int>(K), scale_of_weights(row, K)};
  for (int k = 0; k < K && q.scale > 0; ++k) q.values[k] = static_cast<int>(std::nearbyint(row[k] / q.scale));
  return q;
}

inline Quantised quantise_activations(const float *x, int K) {
  const float most = static_cast<float>(std::min<int64_t>(32767, 0x7fffffff / (INT64_C(127) * K)));
  const float largest = largest_of(x, K);
  Quantised q{std::vector<int>(K), largest / most};
  if (!(largest > 0)) return q;
  const float factor = most / largest;
  for (int k = 0; k < K; ++k) q.values[k] = static_cast<int>(std::nearbyint(x[k] * factor));
  return q;
}

/// One output: row `w` of the matrix times x. `is_fused`: whether the processor rounds a product and its sum once.
inline float product(int format, const float *w, const float *x, int K, bool is_fused) {
  if (format == DS2_WEIGHTS_INT8) {
    const Quantised weights = quantise_weights(w, K), row = quantise_activations(x, K);
    int64_t sum = 0;
    for (int k = 0; k < K; ++k) sum += weights.values[k] * row.values[k];
    return static_cast<float>(sum) * (weights.scale * row.scale);
  }
  float sum = 0;
  for (int k = 0; k < K; ++k) {
    const float weight = format == DS2_WEIGHTS_BFLOAT16 ? to_bfloat16(w[k]) : w[k];
    sum = is_fused ? std::fma(x[k], weight, sum) : sum + x[k] * weight;
  }
  return sum;
}

/// The same in double precision, without any rounding.
inline double exact_product(const float *w, const float *x, int K) {
  double sum = 0;
  for (int k = 0; k < K; ++k) sum += static_cast<double>(w[k]) * x[k];
  return sum;
}

/// Bound of the error of a product, from the rounding of its factors and sums.
inline double allowed_error(int format, const float *w, const float *x, int K) {
  double magnitudes = 0, rounding = 0;
  const double weight_step = scale_of_weights(w, K);
  const double step = largest_of(x, K) / static_cast<double>(std::min<int64_t>(32767, 0x7fffffff / (INT64_C(127) * K)));
  for (int k = 0; k < K; ++k) {
    magnitudes += std::fabs(static_cast<double>(w[k]) * x[k]);
    rounding += weight_step / 2 * std::fabs(x[k]) + step / 2 * (std::fabs(w[k]) + weight_step / 2);
  }
  if (format == DS2_WEIGHTS_INT8) return rounding * 1.001 + magnitudes * 1e-6 + 1e-30;
  return magnitudes * (K * 6e-8 + (format == DS2_WEIGHTS_BFLOAT16 ? 1.0 / 256 : 0)) + 1e-30;
}

}  // namespace
