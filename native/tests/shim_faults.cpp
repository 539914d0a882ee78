// Kernels with every mistake that the host shim must notice.
#include "cuda/device.h"
#include "ds2_native.h"

namespace {

using namespace ds2;

__global__ void some_wait(int *) {
  if (threadIdx.x != 5) __syncthreads();
}

__global__ void wait_in_two_places(int *) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void two_shuffles(int *out) {
  out[threadIdx.x] = threadIdx.x % 2 ? __shfl_xor_sync(kAllLanes, 1, 1) : 0;
  if (threadIdx.x % 2 == 0) __syncwarp();
}

__global__ void wait_for_each_other(int *) {
  if (threadIdx.x < 16)
    __syncwarp();
  else
    __syncthreads();
}

__global__ void no_barrier(int *out) {  // each takes its neighbour's number, which may not be there yet
  __shared__ int numbers[64];
  numbers[threadIdx.x] = 0;
  __syncthreads();
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = numbers[(threadIdx.x + 1) % 64];
}

__global__ void sound(int *out) {
  __shared__ int numbers[64];
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  const int next = numbers[(threadIdx.x + 1) % 64], votes = __syncthreads_count(next % 2);
  const unsigned odd = __ballot_sync(kAllLanes, next % 2);
  out[threadIdx.x] = next + 100 * __shfl_up_sync(kAllLanes, next, 1) + 10000 * (votes + __popc(odd));
}

}  // namespace

/// Run a kernel as 64 threads; returns what the shim has to say, or NULL. out: 64.
extern "C" DS2_API const char *shim_try(int32_t which, int *out) {
  void (*const kernels[])(int *) = {some_wait,           wait_in_two_places, two_shuffles,
                                    wait_for_each_other, no_barrier,         sound};
  return launch(kernels[which], 1, 64, nullptr, out);
}
