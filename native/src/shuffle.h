// Moving numbers between the lanes of vectors, and reading floats as their bits.
#pragma once
#include "simd.h"

namespace {

DS2_INLINE V as_floats(I bits) {
  V v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

DS2_INLINE I as_bits(V v) {
  I bits;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

DS2_INLINE I load_ints(const void *p) {
  I v;
  memcpy(&v, p, sizeof v);
  return v;
}

DS2_INLINE void store_ints(void *p, I v) { memcpy(p, &v, sizeof v); }

DS2_INLINE V larger(V a, V b) { return a > b ? a : b; }
DS2_INLINE I larger(I a, I b) { return a > b ? a : b; }

DS2_INLINE I lane_numbers() {
  I lanes;
  for (int i = 0; i < W; ++i) lanes[i] = i;
  return lanes;
}

/// Lanes of a vector that `pick` chooses from at once without going through memory; 0 where it cannot.
#if defined(__clang__)
constexpr int kTable = 0;
#else
constexpr int kTable = W >= 8 ? W : 0;
#endif

/// Lane i of the result is lane chosen[i] of a, or of b where that is W or more.
template <class T>
DS2_INLINE T pick(T a, T b, I chosen) {
#if defined(__clang__)
  T out;
  for (int i = 0; i < W; ++i) out[i] = chosen[i] < W ? a[chosen[i]] : b[chosen[i] - W];
  return out;
#else
  return __builtin_shuffle(a, b, chosen);
#endif
}

/// Lanes `by`, by + 1 … of a, followed by the first ones of b.
template <int by, class T>
DS2_INLINE T slide(T a, T b) {
  return pick(a, b, lane_numbers() + by);
}

/// All lanes joined by `join`, in the same order on every call.
template <class Join>
DS2_INLINE float reduce(V v, Join join) {
  if constexpr (W > 8) v = join(v, slide<W / 2>(v, v));
  if constexpr (W > 4) v = join(v, slide<(W > 8 ? 4 : W / 2)>(v, v));
  v = join(v, slide<2>(v, v));
  v = join(v, slide<1>(v, v));
  return v[0];
}

}  // namespace
