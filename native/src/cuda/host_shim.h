// CUDA's words for a plain C++ compiler, so that the kernels' own source runs where there is no GPU. A block's threads
// are fibers that change places at barriers and shuffles only; in which order they run is the caller's choice, so that
// a missing barrier shows as a result that depends on the order. A barrier that some thread never reaches, or that
// threads of one warp reach at different lines, ends the launch with a sentence. One launch at a time; blocks one after
// another.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

namespace ds2 {

using std::max;
using std::min;

struct ShimIndex {
  unsigned x;
};
extern ShimIndex threadIdx, blockIdx, blockDim, gridDim;

/// Run kernel(context) as every thread of a grid; returns what went wrong, or NULL.
const char *shim_run(unsigned blocks, unsigned threads, void (*kernel)(void *), void *context);

/// Wait for all threads of this one's warp or block, each at the same line; returns what each of them brought.
const uint64_t *shim_meet_warp(unsigned mask, uint64_t brought, int line);
const uint64_t *shim_meet_block(uint64_t brought, int line);

template <class... Parameters>
const char *launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, void *, Parameters... arguments) {
  auto call = [&] { kernel(arguments...); };
  return shim_run(blocks, threads, [](void *context) { (*static_cast<decltype(call) *>(context))(); }, &call);
}

template <class To, class From>
To shim_bits(From from) {
  To to{};
  std::memcpy(&to, &from, sizeof(To) < sizeof(From) ? sizeof(To) : sizeof(From));
  return to;
}

/// Under the address sanitizer, nobody may touch these bytes from now on.
void shim_forbid(uintptr_t start, size_t bytes);

template <class T>
void hold(T &) {}

inline float __int_as_float(int32_t bits) { return shim_bits<float>(bits); }
inline int32_t __float_as_int(float x) { return shim_bits<int32_t>(x); }
inline float __expf(float x) { return std::exp(x); }
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
inline uint4 __ldg(const uint4 *from) {
  uint4 line;
  std::memcpy(&line, from, sizeof line);
  return line;
}
inline void __stwb(uint4 *to, uint4 line) { std::memcpy(to, &line, sizeof line); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

inline unsigned shim_lane() { return threadIdx.x % 32; }

template <class T>
T __shfl_sync(unsigned mask, T x, int lane, int line = __builtin_LINE()) {
  return shim_bits<T>(shim_meet_warp(mask, shim_bits<uint64_t>(x), line)[lane]);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned by, int line = __builtin_LINE()) {
  const unsigned lane = shim_lane();
  return shim_bits<T>(shim_meet_warp(mask, shim_bits<uint64_t>(x), line)[lane < by ? lane : lane - by]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int with, int line = __builtin_LINE()) {
  return shim_bits<T>(shim_meet_warp(mask, shim_bits<uint64_t>(x), line)[shim_lane() ^ with]);
}
inline unsigned __ballot_sync(unsigned mask, bool vote, int line = __builtin_LINE()) {
  const uint64_t *votes = shim_meet_warp(mask, vote, line);
  unsigned all = 0;
  for (int lane = 0; lane < 32; ++lane) all |= static_cast<unsigned>(votes[lane]) << lane;
  return all;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) { shim_meet_warp(mask, 0, line); }
inline void __syncthreads(int line = __builtin_LINE()) { shim_meet_block(0, line); }
inline int __syncthreads_or(bool vote, int line = __builtin_LINE()) {
  const uint64_t *votes = shim_meet_block(vote, line);
  return std::any_of(votes, votes + blockDim.x, [](uint64_t v) { return v != 0; });
}
inline int __syncthreads_count(bool vote, int line = __builtin_LINE()) {
  const uint64_t *votes = shim_meet_block(vote, line);
  return static_cast<int>(std::count_if(votes, votes + blockDim.x, [](uint64_t v) { return v != 0; }));
}

}  // namespace ds2
