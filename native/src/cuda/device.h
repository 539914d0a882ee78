// One source for two targets: nvcc compiles the kernels for a GPU; with DS2_HOST_SHIM any C++ compiler compiles them
// for the CPU, so that every test run can execute them.
#pragma once
#if defined(DS2_HOST_SHIM)
#include "host_shim.h"
#else
#include <cuda_runtime.h>

#include <cstdint>

namespace ds2 {

/// Queue a kernel on a stream; return an error message, or NULL.
template <class... Parameters>
const char *launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, void *stream,
                   Parameters... arguments) {
  void *pointers[] = {&arguments...};
  const cudaError_t code = cudaLaunchKernel(reinterpret_cast<const void *>(kernel), dim3(blocks), dim3(threads),
                                            pointers, 0, static_cast<cudaStream_t>(stream));
  return code == cudaSuccess ? nullptr : cudaGetErrorString(code);
}

/// Keep a value in a register; otherwise the compiler recomputes cheap expressions at every use, in every frame.
__device__ __forceinline__ void keep_in_register(uint32_t &x) { asm volatile("" : "+r"(x)); }
__device__ __forceinline__ void keep_in_register(int64_t &x) { asm volatile("" : "+l"(x)); }

}  // namespace ds2
#endif

namespace ds2 {
constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
}  // namespace ds2
