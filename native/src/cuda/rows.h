// Reading and writing rows of V logits, a warp to a row, 16 bytes a lane at a time where their addresses allow it.
// Which lane has which element depends on V alone, so that a row is summed in the same order wherever it lies.
#pragma once
#include "batch.h"

namespace ds2 {

struct Bfloat16 {
  uint16_t bits;
};

constexpr int kRowThreads = 128;  // four rows a block
constexpr int kLines = 4;         // loads in flight for each lane

template <class X>
constexpr int kWide = 16 / sizeof(X);  // elements of a line

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(Bfloat16 x) { return __int_as_float(static_cast<int32_t>(x.bits) << 16); }

/// The nearest bfloat16, the even one of two.
__device__ __forceinline__ uint32_t bfloat16_bits(float x) {
  const uint32_t bits = static_cast<uint32_t>(__float_as_int(x));
  return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

__device__ __forceinline__ void put(float *to, float x) { *to = x; }
__device__ __forceinline__ void put(Bfloat16 *to, float x) { to->bits = static_cast<uint16_t>(bfloat16_bits(x)); }

__device__ __forceinline__ float float_of(uint32_t bits) { return __int_as_float(static_cast<int32_t>(bits)); }

__device__ __forceinline__ void unpack(uint4 line, float (&x)[4]) {
  x[0] = float_of(line.x), x[1] = float_of(line.y), x[2] = float_of(line.z), x[3] = float_of(line.w);
}
__device__ __forceinline__ void unpack(uint4 line, float (&x)[8]) {
  const uint32_t words[] = {line.x, line.y, line.z, line.w};
#pragma unroll
  for (int j = 0; j < 8; ++j) x[j] = float_of(j % 2 ? words[j / 2] & 0xffff0000u : words[j / 2] << 16);
}

__device__ __forceinline__ uint32_t bits_of(float x) { return static_cast<uint32_t>(__float_as_int(x)); }
__device__ __forceinline__ uint32_t two_bits_of(float a, float b) { return bfloat16_bits(a) | bfloat16_bits(b) << 16; }

__device__ __forceinline__ uint4 pack(const float (&x)[4]) {
  return {bits_of(x[0]), bits_of(x[1]), bits_of(x[2]), bits_of(x[3])};
}
__device__ __forceinline__ uint4 pack(const float (&x)[8]) {
  return {two_bits_of(x[0], x[1]), two_bits_of(x[2], x[3]), two_bits_of(x[4], x[5]), two_bits_of(x[6], x[7])};
}

/// How a lane goes through a row. Its elements come in groups of kWide: side by side where V is a multiple of that,
/// else a warp apart. aligned: whether a group may be moved as one line.
template <class X>
struct Walk {
  static constexpr int kStep = kWarp * kWide<X>;
  int32_t V;
  int lane;
  bool side_by_side, aligned;

  __device__ Walk(int32_t V, const void *array, const void *other, int64_t stride_t, int64_t stride_n)
      : V(V), lane(threadIdx.x % kWarp), side_by_side(V % kWide<X> == 0) {
    const uintptr_t addresses = reinterpret_cast<uintptr_t>(array) | reinterpret_cast<uintptr_t>(other);
    aligned = side_by_side && addresses % 16 == 0 && stride_t % kWide<X> == 0 && stride_n % kWide<X> == 0;
  }
  __device__ int32_t at(int32_t from, int j) const {
    return side_by_side ? from + lane * kWide<X> + j : from + j * kWarp + lane;
  }
  /// The group of the step that begins at `from`; -inf outside the row.
  __device__ void load(const X *row, int32_t from, float (&x)[kWide<X>]) const {
    if (aligned && at(from, 0) < V) return unpack(__ldg(reinterpret_cast<const uint4 *>(row + at(from, 0))), x);
#pragma unroll
    for (int j = 0; j < kWide<X>; ++j) x[j] = at(from, j) < V ? to_float(row[at(from, j)]) : -INFINITY;
  }
  __device__ void store(X *row, int32_t from, const float (&x)[kWide<X>]) const {
    if (aligned) {
      if (at(from, 0) < V) __stwb(reinterpret_cast<uint4 *>(row + at(from, 0)), pack(x));
      return;
    }
#pragma unroll
    for (int j = 0; j < kWide<X>; ++j)
      if (at(from, j) < V) put(row + at(from, j), x[j]);
  }
};

/// The first row of this warp, and from a row of a warp to its next.
__device__ __forceinline__ int64_t first_row() {
  return (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
}
__device__ __forceinline__ int64_t row_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x / kWarp; }

}  // namespace ds2
