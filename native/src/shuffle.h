// Lane permutations and reductions of vectors, and bit casts between floats and integers.
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

DS2_INLINE V max(V a, V b) { return a > b ? a : b; }
DS2_INLINE I max(I a, I b) { return a > b ? a : b; }

DS2_INLINE I lane_indices() {
  I lanes;
  for (int i = 0; i < W; ++i) lanes[i] = i;
  return lanes;
}

/// Lanes of a lookup table that `permute` can index in registers; 0 where it would go through memory.
#if defined(__clang__)
constexpr int kTableLanes = 0;
#else
constexpr int kTableLanes = W >= 8 ? W : 0;
#endif

/// Lane i of the result is lane index[i] of the concatenation of a and b.
template <class T>
DS2_INLINE T permute(T a, T b, I index) {
#if defined(__clang__)
  T out;
  for (int i = 0; i < W; ++i) out[i] = index[i] < W ? a[index[i]] : b[index[i] - W];
  return out;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

/// The W lanes of the concatenation of a and b that start at lane `by`.
template <int by, class T>
DS2_INLINE T slide(T a, T b) {
  return permute(a, b, lane_indices() + by);
}

/// Reduce all lanes with `op`, in a fixed order.
template <class Op>
DS2_INLINE float reduce(V v, Op op) {
  if constexpr (W > 8) v = op(v, slide<W / 2>(v, v));
  if constexpr (W > 4) v = op(v, slide<(W > 8 ? 4 : W / 2)>(v, v));
  v = op(v, slide<2>(v, v));
  v = op(v, slide<1>(v, v));
  return v[0];
}

}  // namespace
