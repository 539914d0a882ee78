// One source, two machines: compiled by nvcc the kernels run on a GPU; compiled by any C++ compiler with DS2_HOST_SHIM
// they run on the processor, where every test can see them.
#pragma once
#if defined(DS2_HOST_SHIM)
#include "host_shim.h"
#else
#include <cuda_runtime.h>

#include <cstdint>

namespace ds2 {

/// Queue a kernel on a stream; returns what is wrong, or NULL.
template <class... Parameters>
const char *launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, void *stream,
                   Parameters... arguments) {
  void *pointers[] = {&arguments...};
  const cudaError_t code = cudaLaunchKernel(reinterpret_cast<const void *>(kernel), dim3(blocks), dim3(threads),
                                            pointers, 0, static_cast<cudaStream_t>(stream));
  return code == cudaSuccess ? nullptr : cudaGetErrorString(code);
}

/// Keep a number in a register: else the compiler computes what is simple anew at every use, in every frame.
__device__ __forceinline__ void hold(uint32_t &x) { asm volatile("" : "+r"(x)); }
__device__ __forceinline__ void hold(int64_t &x) { asm volatile("" : "+l"(x)); }

}  // namespace ds2
#endif

namespace ds2 {
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
}  // namespace ds2
