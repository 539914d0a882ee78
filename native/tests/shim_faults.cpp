// Kernels with each of the mistakes that the host shim must detect.
#include "cuda/device.h"
#include "ds2_native.h"

namespace {

using namespace ds2;

__global__ void some_skip_barrier(int *) {
  if (threadIdx.x != 5) __syncthreads();
}

__global__ void barrier_at_two_lines(int *) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void shuffle_at_two_lines(int *out) {
  out[threadIdx.x] = threadIdx.x % 2 ? __shfl_xor_sync(kAllLanes, 1, 1) : 0;
  if (threadIdx.x % 2 == 0) __syncwarp();
}

__global__ void deadlock(int *) {
  if (threadIdx.x < 16)
    __syncwarp();
  else
    __syncthreads();
}

__global__ void no_barrier(int *out) {  // reads the number of its neighbor, which may not have been written yet
  __shared__ int numbers[64];
  numbers[threadIdx.x] = 0;
  __syncthreads();
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = numbers[(threadIdx.x + 1) % 64];
}

__global__ void correct(int *out) {
  __shared__ int numbers[64];
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  const int next = numbers[(threadIdx.x + 1) % 64], votes = __syncthreads_count(next % 2);
  const unsigned odd = __ballot_sync(kAllLanes, next % 2);
  out[threadIdx.x] = next + 100 * __shfl_up_sync(kAllLanes, next, 1) + 10000 * (votes + __popc(odd));
}

}  // namespace

/// Run kernel number `which` with 64 threads; return the error message of the shim, or NULL. out: (64,).
extern "C" DS2_API const char *shim_try(int32_t which, int *out) {
  void (*const kernels[])(int *) = {some_skip_barrier, barrier_at_two_lines, shuffle_at_two_lines,
                                    deadlock,          no_barrier,           correct};
  return launch(kernels[which], 1, 64, nullptr, out);
}
