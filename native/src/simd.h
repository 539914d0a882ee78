// Vectors of DS2_WIDTH floats, the gate functions and the matrix product that all kernels are built on.
// Compiled once per instruction set; everything has internal linkage, so the linker cannot mix up the copies.
//
// A product reads its operands as 32-bit words: one float, or with DS2_BF16 two bfloat16 values that are adjacent along
// the summed dimension. Sums are floats in both cases, and words are packed and broadcast in the same way; only
// `pack_words`, `store_operand` and `dot` differ.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if DS2_BF16
#include <immintrin.h>
#endif

#define DS2_INLINE static inline __attribute__((always_inline))
#define DS2_INLINE_MEMBER inline __attribute__((always_inline))

namespace {

constexpr int W = DS2_WIDTH;  // floats per vector
constexpr int R = DS2_ROWS;   // rows per tile: R * 3 accumulators, 3 columns and a broadcast value fill the registers

typedef float V __attribute__((vector_size(W * 4)));
typedef int32_t I __attribute__((vector_size(W * 4)));

DS2_INLINE V load(const float *p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}

DS2_INLINE void store(float *p, V v) { memcpy(p, &v, sizeof v); }

/// The first `count` floats at p, then zeros.
DS2_INLINE V load(const float *p, int count) {
  if (count >= W) return load(p);
  V v = {};
  for (int i = 0; i < count; ++i) v[i] = p[i];
  return v;
}

DS2_INLINE void store(float *p, V v, int count) {
  if (count >= W) return store(p, v);
  for (int i = 0; i < count; ++i) p[i] = v[i];
}

/// e^f within 2 ulp, for |f| <= ln(2) / 2.
DS2_INLINE V exp_reduced(V f) {
  V p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  return p * (f * f) + (f + 1.0f);
}

/// Split x, |x| < 2^21, into k ln(2) + f with |f| <= ln(2) / 2; returns f. The integer k is k_bits - kRoundBits.
constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
constexpr int32_t kRoundBits = 0x4b400000;

DS2_INLINE V reduce_argument(V x, I &k_bits) {
  const V shifted = x * 1.44269504f + kRoundMagic, k = shifted - kRoundMagic;
  memcpy(&k_bits, &shifted, sizeof k_bits);
  return (x - k * 0.693359375f) - k * -2.12194440e-4f;
}

/// e^x within 2 ulp, x clamped to [-80, 80]; NaN is propagated.
DS2_INLINE V exp(V x) {
  const V lowest = V{} - 80.0f, highest = V{} + 80.0f;
  x = x < lowest ? lowest : x;
  x = x > highest ? highest : x;
  I k;
  const V f = reduce_argument(x, k);
  const I bits = (k << 23) + 0x3f800000;
  V scale;
  memcpy(&scale, &bits, sizeof scale);
  return exp_reduced(f) * scale;
}

/// Replace x and y by σ(x) and σ(y), with a single division.
DS2_INLINE void sigmoid_pair(V &x, V &y) {
  const V a = 1.0f + exp(-x), b = 1.0f + exp(-y), inverse = 1.0f / (a * b);
  x = inverse * b;
  y = inverse * a;
}

DS2_INLINE V tanh(V x) { return 1.0f - 2.0f / (1.0f + exp(x + x)); }

#if DS2_BF16
constexpr int P = 2;  // terms of a sum per word

/// Store W units of an operand row, from `unit` on.
DS2_INLINE void store_operand(float *row, ptrdiff_t unit, V v) {
  const auto halves = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
  memcpy(reinterpret_cast<uint16_t *>(row) + unit, &halves, sizeof halves);
}

DS2_INLINE __m512i to_bf16_words(V v) {
  return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v))));
}

/// One word per lane, holding the terms `first` and `second`.
DS2_INLINE V pack_words(V first, V second) {
  return reinterpret_cast<V>(_mm512_or_si512(to_bf16_words(first), _mm512_slli_epi32(to_bf16_words(second), 16)));
}

DS2_INLINE V dot(V sum, float x, V column) {
  return reinterpret_cast<V>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                              reinterpret_cast<__m512bh>(_mm512_set1_ps(x)),
                                              reinterpret_cast<__m512bh>(column)));
}
#else
constexpr int P = 1;

DS2_INLINE V pack_words(V first, V) { return first; }
DS2_INLINE void store_operand(float *row, ptrdiff_t unit, V v) { store(row + unit, v); }
DS2_INLINE V dot(V sum, float x, V column) { return sum + x * column; }
#endif

/// Words that hold n terms of a sum.
constexpr ptrdiff_t word_count(ptrdiff_t n) { return (n + P - 1) / P; }

/// out[i][c] = sum over k of a[i*row_stride + k*step] . b[k*C + c], added to out if `add`: the product of `rows` rows
/// of A with C packed vectors per term.
template <int rows, int C>
__attribute__((noinline)) void multiply(V *out, const float *a, ptrdiff_t row_stride, ptrdiff_t step, const float *b,
                                        ptrdiff_t depth, bool add) {
  V sum[rows][C];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sum[i][c] = add ? out[i * C + c] : V{};
  for (ptrdiff_t k = 0; k < depth; ++k, a += step, b += C * W) {
    V column[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      column[c] = load(b + c * W);
      __builtin_prefetch(b + (c + DS2_PREFETCH * C) * W);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const float x = a[i * row_stride];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sum[i][c] = dot(sum[i][c], x, column[c]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) out[i * C + c] = sum[i][c];
}

typedef void (*Multiply)(V *, const float *, ptrdiff_t, ptrdiff_t, const float *, ptrdiff_t, bool);

template <int C>
Multiply multiply_table(int rows) {
  static const Multiply table[8] = {
      multiply<1, C>,           multiply<2, C>,           multiply<3, C>,           multiply<4, C>,
      multiply<R < 5 ? R : 5, C>, multiply<R < 6 ? R : 6, C>, multiply<R < 7 ? R : 7, C>, multiply<R < 8 ? R : 8, C>};
  return table[rows - 1];
}

/// The instance of `multiply` for a tile of `rows` (1..R) by `columns` (1..3) vectors.
inline Multiply select_multiply(int rows, int columns) {
  return columns == 3 ? multiply_table<3>(rows) : columns == 2 ? multiply_table<2>(rows) : multiply_table<1>(rows);
}

/// First index of part `i` when `count` items are split into `parts` contiguous, nearly equal parts.
inline int32_t part_begin(int32_t i, int32_t count, int32_t parts) {
  return static_cast<int32_t>(static_cast<int64_t>(i) * count / parts);
}

inline int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

}  // namespace
