// The parts of CUDA that the kernels use, for a plain C++ compiler, so that their source runs without a GPU. The
// threads of a block are fibers that switch only at barriers and shuffles. The caller chooses the order in which they
// run, so that a missing barrier shows as a result that depends on the order. A barrier that some thread never reaches,
// or that threads of one warp reach at different lines, ends the launch with an error message. Launches run one at a
// time, and so do blocks.
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

/// Run kernel(context) as every thread of a grid; return an error message, or NULL.
const char *shim_run(unsigned blocks, unsigned threads, void (*kernel)(void *), void *context);

/// Wait for all threads of the warp or block, which must be at the same line; return the values passed by all of them.
const uint64_t *shim_exchange_warp(unsigned mask, uint64_t value, int line);
const uint64_t *shim_exchange_block(uint64_t value, int line);

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

/// Make the bytes inaccessible under AddressSanitizer.
void shim_poison(uintptr_t start, size_t bytes);

template <class T>
void keep_in_register(T &) {}

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
  return shim_bits<T>(shim_exchange_warp(mask, shim_bits<uint64_t>(x), line)[lane]);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned by, int line = __builtin_LINE()) {
  const unsigned lane = shim_lane();
  return shim_bits<T>(shim_exchange_warp(mask, shim_bits<uint64_t>(x), line)[lane < by ? lane : lane - by]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int with, int line = __builtin_LINE()) {
  return shim_bits<T>(shim_exchange_warp(mask, shim_bits<uint64_t>(x), line)[shim_lane() ^ with]);
}
inline unsigned __ballot_sync(unsigned mask, bool vote, int line = __builtin_LINE()) {
  const uint64_t *votes = shim_exchange_warp(mask, vote, line);
  unsigned all = 0;
  for (int lane = 0; lane < 32; ++lane) all |= static_cast<unsigned>(votes[lane]) << lane;
  return all;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) { shim_exchange_warp(mask, 0, line); }
inline void __syncthreads(int line = __builtin_LINE()) { shim_exchange_block(0, line); }
inline int __syncthreads_or(bool vote, int line = __builtin_LINE()) {
  const uint64_t *votes = shim_exchange_block(vote, line);
  return std::any_of(votes, votes + blockDim.x, [](uint64_t v) { return v != 0; });
}
inline int __syncthreads_count(bool vote, int line = __builtin_LINE()) {
  const uint64_t *votes = shim_exchange_block(vote, line);
  return static_cast<int>(std::count_if(votes, votes + blockDim.x, [](uint64_t v) { return v != 0; }));
}

}  // namespace ds2
