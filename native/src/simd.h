// Vectors of DS2_WIDTH floats, the gate functions and the matrix product every kernel here is built on.
// Included once for each instruction set; all of it has internal linkage, so the copies cannot be mixed up by the linker.
//
// A product reads its operands as 32-bit words: a float, or with DS2_BF16 two bfloat16 that follow each other along the
// sum. Either way the sums are floats, and words are packed and broadcast alike; only `words`, `narrow` and `dot` differ.
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

constexpr int W = DS2_WIDTH;  // floats of a vector
constexpr int R = DS2_ROWS;   // rows of a tile; R * 3 accumulators, 3 columns and a broadcast fill the registers

typedef float V __attribute__((vector_size(W * 4)));
typedef int32_t I __attribute__((vector_size(W * 4)));

DS2_INLINE V load(const float *p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}

DS2_INLINE void store(float *p, V v) { memcpy(p, &v, sizeof v); }

/// The first `count` floats at p, zeros after.
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

/// e^f to 2 ulp for |f| <= ln(2) / 2.
DS2_INLINE V exp_reduced(V f) {
  V p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  return p * (f * f) + (f + 1.0f);
}

/// x as k ln(2) + f, |f| <= ln(2) / 2, for |x| < 2^21; k is an integer, by its bits less kRoundBits.
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
constexpr int32_t kRoundBits = 0x4b400000;

DS2_INLINE V reduce_argument(V x, I &k_bits) {
  const V shifted = x * 1.44269504f + kRound, k = shifted - kRound;
  memcpy(&k_bits, &shifted, sizeof k_bits);
  return (x - k * 0.693359375f) - k * -2.12194440e-4f;
}

/// e^x to 2 ulp for |x| <= 80, clamped beyond; a NaN stays one.
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

/// σ(x) and σ(y) with one division between them.
DS2_INLINE void sigmoids(V &x, V &y) {
  const V a = 1.0f + exp(-x), b = 1.0f + exp(-y), inverse = 1.0f / (a * b);
  x = inverse * b;
  y = inverse * a;
}

DS2_INLINE V tanh(V x) { return 1.0f - 2.0f / (1.0f + exp(x + x)); }

#if DS2_BF16
constexpr int P = 2;  // terms of a sum that a word holds

/// Write units unit.. of an operand row.
DS2_INLINE void narrow(float *row, ptrdiff_t unit, V v) {
  const auto halves = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
  memcpy(reinterpret_cast<uint16_t *>(row) + unit, &halves, sizeof halves);
}

DS2_INLINE __m512i rounded(V v) {
  return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v))));
}

/// Words of `first` and `second`, lane by lane.
DS2_INLINE V words(V first, V second) {
  return reinterpret_cast<V>(_mm512_or_si512(rounded(first), _mm512_slli_epi32(rounded(second), 16)));
}

DS2_INLINE V dot(V sum, float x, V column) {
  return reinterpret_cast<V>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                              reinterpret_cast<__m512bh>(_mm512_set1_ps(x)),
                                              reinterpret_cast<__m512bh>(column)));
}
#else
constexpr int P = 1;

DS2_INLINE V words(V first, V) { return first; }
DS2_INLINE void narrow(float *row, ptrdiff_t unit, V v) { store(row + unit, v); }
DS2_INLINE V dot(V sum, float x, V column) { return sum + x * column; }
#endif

/// Words of a sum of n terms.
constexpr ptrdiff_t words_of(ptrdiff_t n) { return (n + P - 1) / P; }

/// out[i][c] = sum over k of a[i*row_stride + k*step] . b[k*C + c], plus what out held if `add`: `rows` rows of A against
/// C packed vectors.
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
      __builtin_prefetch(b + (c + DS2_AHEAD * C) * W);
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
Multiply multiply_of(int rows) {
  static const Multiply table[8] = {
      multiply<1, C>,           multiply<2, C>,           multiply<3, C>,           multiply<4, C>,
      multiply<R < 5 ? R : 5, C>, multiply<R < 6 ? R : 6, C>, multiply<R < 7 ? R : 7, C>, multiply<R < 8 ? R : 8, C>};
  return table[rows - 1];
}

/// The product for a tile of `rows` (1..R) by `columns` (1..3) vectors.
inline Multiply multiply_for(int rows, int columns) {
  return columns == 3 ? multiply_of<3>(rows) : columns == 2 ? multiply_of<2>(rows) : multiply_of<1>(rows);
}

/// Part `i` of `count` things dealt into `parts` nearly equal runs.
inline int32_t part_begin(int32_t i, int32_t count, int32_t parts) {
  return static_cast<int32_t>(static_cast<int64_t>(i) * count / parts);
}

inline int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

}  // namespace
