// The formats of a packed matrix. A panel is W outputs, a group two panels, and weights are stored group by group and
// step by step: a step has the weights of one input, or of two for int8, for the 2 W outputs of the group. Each has
//   Word         what a step reads from a row of activations: a float, or two int16 values
//   Sums         a vector of sums, one per output
//   terms        inputs per step
//   step_bytes   bytes of a step
//   load_step    the weights of a step, for each panel as the factor of `add_products`
//   store_step   its reverse, from 2 W weights (int8: already quantised) per input
#pragma once
#include "matrix.h"
#include "simd.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

using namespace ds2;

constexpr int kGroup = 2 * W;  // outputs per group

typedef int16_t S __attribute__((vector_size(W * 4)));  // 2 W values of 16 bits
typedef uint32_t U __attribute__((vector_size(W * 4)));

struct Float32 {
  typedef float Word;
  typedef V Sums, Factors;
  static constexpr ptrdiff_t terms = 1, step_bytes = kGroup * 4;

  DS2_INLINE_MEMBER static void load_step(const char *p, V &first, V &second) {
    memcpy(&first, p, sizeof first);
    memcpy(&second, p + sizeof first, sizeof second);
  }
  static void store_step(char *p, const float (*weights)[kGroup]) { memcpy(p, weights, step_bytes); }
  DS2_INLINE_MEMBER static V add_products(V sums, float x, V weights) { return sums + x * weights; }
};

/// x rounded to the nearest bfloat16, halves to even; a NaN stays one.
inline uint32_t to_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return x == x ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : bits >> 16 | 0x40;
}

/// A word of 32 bits holds the weight of the first panel in its low half and that of the second in its high half.
struct Bfloat16 {
  typedef float Word;
  typedef V Sums, Factors;
  static constexpr ptrdiff_t terms = 1, step_bytes = kGroup * 2;

  DS2_INLINE_MEMBER static void load_step(const char *p, V &first, V &second) {
    I words;
    memcpy(&words, p, sizeof words);
    const I low = words << 16, high = words & -65536;
    memcpy(&first, &low, sizeof first);
    memcpy(&second, &high, sizeof second);
  }
  static void store_step(char *p, const float (*weights)[kGroup]) {
    uint32_t words[W];
    for (int i = 0; i < W; ++i) words[i] = to_bfloat16(weights[0][i]) | to_bfloat16(weights[0][W + i]) << 16;
    memcpy(p, words, sizeof words);
  }
  DS2_INLINE_MEMBER static V add_products(V sums, float x, V weights) { return sums + x * weights; }
};

/// Pairs of inputs: sums of two products of 16 bits are exact in 32. Sums are modulo 2^32; the result is exact.
struct Int8 {
  typedef int32_t __attribute__((may_alias)) Word;  // two int16
  typedef U Sums;
  typedef S Factors;
  static constexpr ptrdiff_t terms = 2, step_bytes = kGroup * 2;

#if defined(__AVX512BW__)
  // a conversion is one instruction, shifts would be three for two panels, on a port that products need
  DS2_INLINE_MEMBER static void load_step(const char *p, S &first, S &second) {
    __m256i bytes[2];
    memcpy(bytes, p, sizeof bytes);
    first = reinterpret_cast<S>(_mm512_cvtepi8_epi16(bytes[0]));
    second = reinterpret_cast<S>(_mm512_cvtepi8_epi16(bytes[1]));
  }
  static char *place(char *p, int panel, int lane, int term) { return p + (panel * W + lane) * 2 + term; }
  static int8_t stored(int, float weight) { return static_cast<int8_t>(weight); }
  static uint32_t first_offset(const int16_t *, int32_t) { return 0; }
#else
  // A word of 16 bits holds the weight of the first panel in its low byte and that of the second in its high byte. The
  // first is stored as weight + 128, so that it takes one instruction to extend; its sums are too large by 128 times
  // the sum of the row.
  DS2_INLINE_MEMBER static void load_step(const char *p, S &first, S &second) {
    S words;
    memcpy(&words, p, sizeof words);
    first = words & 255;
    second = words >> 8;
  }
  static char *place(char *p, int panel, int lane, int term) { return p + (lane * 2 + term) * 2 + panel; }
  static int8_t stored(int panel, float weight) {
    return static_cast<int8_t>(static_cast<uint8_t>(static_cast<int>(weight) + (panel == 0 ? 128 : 0)));
  }
  static uint32_t first_offset(const int16_t *row, int32_t K) {
    int64_t sum = 0;
    for (int32_t k = 0; k < K; ++k) sum += row[k];
    return static_cast<uint32_t>(sum) * 128;
  }
#endif
  static void store_step(char *p, const float (*weights)[kGroup]) {
    for (int panel = 0; panel < 2; ++panel)
      for (int lane = 0; lane < W; ++lane)
        for (int term = 0; term < terms; ++term)
          *place(p, panel, lane, term) = stored(panel, weights[term][panel * W + lane]);
  }

  DS2_INLINE_MEMBER static U add_products(U sums, int32_t x, S weights) {
#if DS2_VNNI
    return reinterpret_cast<U>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sums), _mm512_set1_epi32(x),
                                                   reinterpret_cast<__m512i>(weights)));
#elif defined(__AVX512BW__)
    return sums + reinterpret_cast<U>(_mm512_madd_epi16(_mm512_set1_epi32(x), reinterpret_cast<__m512i>(weights)));
#elif defined(__AVX2__)
    return sums + reinterpret_cast<U>(_mm256_madd_epi16(_mm256_set1_epi32(x), reinterpret_cast<__m256i>(weights)));
#elif defined(__SSE2__)
    return sums + reinterpret_cast<U>(_mm_madd_epi16(_mm_set1_epi32(x), reinterpret_cast<__m128i>(weights)));
#else
    const I words = reinterpret_cast<I>(weights);
    const int32_t low = static_cast<int16_t>(x), high = x >> 16;
    return sums + reinterpret_cast<U>(((words << 16) >> 16) * low + (words >> 16) * high);
#endif
  }
};

/// Steps of K inputs.
template <class Format>
constexpr ptrdiff_t step_count(int32_t K) {
  return (K + Format::terms - 1) / Format::terms;
}

/// A magnitude below 2^-110 counts as zero, so that its reciprocal times 32767 is finite.
constexpr float kSmallest = 7.70371978e-34f;

/// The largest magnitude; NaN if a value is not finite. Bits of positive floats are in the order of their values.
inline float largest_magnitude(const float *x, ptrdiff_t count) {
  int32_t largest = 0;
  for (ptrdiff_t i = 0; i < count; ++i) {
    int32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  if (largest >= 0x7f800000) return __builtin_nanf("");
  float magnitude;
  memcpy(&magnitude, &largest, sizeof magnitude);
  return magnitude;
}

/// The value of one step of a row of int8 weights: its largest magnitude / 127, rounded up to 17 bits. Products with
/// 127 are then exact, so that weights that were quantised before get the same scale and the same integers.
inline float weight_scale(const float *row, int32_t K) {
  const float largest = largest_magnitude(row, K);
  if (largest < kSmallest || largest != largest) return largest < kSmallest ? 0.0f : largest;
  const float scale = largest / 127.0f;
  uint32_t bits;
  memcpy(&bits, &scale, sizeof bits);
  bits = (bits + 0x7f) & ~UINT32_C(0x7f);
  float rounded;
  memcpy(&rounded, &bits, sizeof rounded);
  return rounded;
}

/// Round K activations to multiples of the returned scale, with zeros up to padded_inputs(K). A row that is not finite
/// has the scale NaN.
inline float quantise_row(const float *x, int32_t K, int16_t *out) {
  const float largest = largest_magnitude(x, K), most = static_cast<float>(largest_activation(K));
  const ptrdiff_t end = static_cast<ptrdiff_t>(padded_inputs(K));
  if (!(largest >= kSmallest)) {
    memset(out, 0, static_cast<size_t>(end) * sizeof(int16_t));
    return largest == largest ? 0.0f : largest;
  }
  const float factor = most / largest;
  for (ptrdiff_t k = 0; k < K; ++k) out[k] = static_cast<int16_t>(static_cast<int32_t>(__builtin_rintf(x[k] * factor)));
  for (ptrdiff_t k = K; k < end; ++k) out[k] = 0;
  return largest / most;
}

}  // namespace
