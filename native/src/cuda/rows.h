// Reading and writing rows of V logits, one warp per row, with 16-byte accesses per lane if the addresses are aligned.
// The elements of each lane depend on V alone, so a row is summed in the same order at any address.
#pragma once
#include "batch.h"

namespace ds2 {

struct Bfloat16 {
  uint16_t bits;
};

constexpr int kRowThreads = 128;  // four rows per block
constexpr int kLoadsInFlight = 4;         // per lane

template <class X>
constexpr int kVectorSize = 16 / sizeof(X);  // elements per 16-byte access

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(Bfloat16 x) { return __int_as_float(static_cast<int32_t>(x.bits) << 16); }

/// Round to the nearest bfloat16, ties to even.
__device__ __forceinline__ uint32_t bfloat16_bits(float x) {
  const uint32_t bits = static_cast<uint32_t>(__float_as_int(x));
  return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

__device__ __forceinline__ void store_element(float *to, float x) { *to = x; }
__device__ __forceinline__ void store_element(Bfloat16 *to, float x) {
  to->bits = static_cast<uint16_t>(bfloat16_bits(x));
}

__device__ __forceinline__ float bits_to_float(uint32_t bits) { return __int_as_float(static_cast<int32_t>(bits)); }

__device__ __forceinline__ void unpack(uint4 vector, float (&x)[4]) {
  x[0] = bits_to_float(vector.x), x[1] = bits_to_float(vector.y);
  x[2] = bits_to_float(vector.z), x[3] = bits_to_float(vector.w);
}
__device__ __forceinline__ void unpack(uint4 vector, float (&x)[8]) {
  const uint32_t words[] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
  for (int j = 0; j < 8; ++j) x[j] = bits_to_float(j % 2 ? words[j / 2] & 0xffff0000u : words[j / 2] << 16);
}

__device__ __forceinline__ uint32_t float_bits(float x) { return static_cast<uint32_t>(__float_as_int(x)); }
__device__ __forceinline__ uint32_t bfloat16_pair_bits(float a, float b) {
  return bfloat16_bits(a) | bfloat16_bits(b) << 16;
}

__device__ __forceinline__ uint4 pack(const float (&x)[4]) {
  return {float_bits(x[0]), float_bits(x[1]), float_bits(x[2]), float_bits(x[3])};
}
__device__ __forceinline__ uint4 pack(const float (&x)[8]) {
  return {bfloat16_pair_bits(x[0], x[1]), bfloat16_pair_bits(x[2], x[3]), bfloat16_pair_bits(x[4], x[5]),
          bfloat16_pair_bits(x[6], x[7])};
}

/// How a lane accesses a row. Its elements come in groups of kVectorSize: adjacent ones if V is a multiple of that,
/// otherwise kWarpSize elements apart. aligned: whether a group can be moved by one 16-byte access.
template <class X>
struct RowAccess {
  static constexpr int kStep = kWarpSize * kVectorSize<X>;
  int32_t V;
  int lane;
  bool contiguous, aligned;

  __device__ RowAccess(int32_t V, const void *array, const void *other, int64_t stride_t, int64_t stride_n)
      : V(V), lane(threadIdx.x % kWarpSize), contiguous(V % kVectorSize<X> == 0) {
    const uintptr_t addresses = reinterpret_cast<uintptr_t>(array) | reinterpret_cast<uintptr_t>(other);
    aligned = contiguous && addresses % 16 == 0 && stride_t % kVectorSize<X> == 0 && stride_n % kVectorSize<X> == 0;
  }
  __device__ int32_t at(int32_t from, int j) const {
    return contiguous ? from + lane * kVectorSize<X> + j : from + j * kWarpSize + lane;
  }
  /// Load the group of the step that begins at `from`; -inf beyond the row.
  __device__ void load(const X *row, int32_t from, float (&x)[kVectorSize<X>]) const {
    if (aligned && at(from, 0) < V) return unpack(__ldg(reinterpret_cast<const uint4 *>(row + at(from, 0))), x);
#pragma unroll
    for (int j = 0; j < kVectorSize<X>; ++j) x[j] = at(from, j) < V ? to_float(row[at(from, j)]) : -INFINITY;
  }
  __device__ void store(X *row, int32_t from, const float (&x)[kVectorSize<X>]) const {
    if (aligned) {
      if (at(from, 0) < V) __stwb(reinterpret_cast<uint4 *>(row + at(from, 0)), pack(x));
      return;
    }
#pragma unroll
    for (int j = 0; j < kVectorSize<X>; ++j)
      if (at(from, j) < V) store_element(row + at(from, j), x[j]);
  }
};

/// The first row of this warp, and the distance to its next row.
__device__ __forceinline__ int64_t first_row() {
  return (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarpSize;
}
__device__ __forceinline__ int64_t row_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x / kWarpSize; }

}  // namespace ds2
