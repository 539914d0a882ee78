// Sums the occupancies of states by symbol, and computes the gradient from them.
#pragma once
#include "softmax.h"

namespace ds2 {

/// Up to this many occurrences of a symbol are summed by a single lane, more by the warp.
constexpr int32_t kMaxSerialLabels = 16;

__device__ __forceinline__ float warp_sum(float x) {
  for (int by = 1; by < kWarpSize; by *= 2) x += __shfl_xor_sync(kAllLanes, x, by);
  return x;
}

/// Writes occupancy: the posterior probability of each distinct symbol, normalized to sum 1 per row.
__global__ void __launch_bounds__(kRowThreads) compute_occupancies(const Batch b) {
  const int lane = threadIdx.x % kWarpSize;
  for (int64_t r = first_row(); r < b.rows(); r += row_stride()) {
    const int32_t n = static_cast<int32_t>(r % b.N);
    if (r / b.N >= b.gradient_frames[n]) continue;
    const int32_t L = b.target_lengths[n], num_symbols = b.num_symbols[n];
    const ScaledFloat *blanks = b.cells + r * b.S, *labels = blanks + b.L + 1;
    const int32_t *sorted_labels = b.sorted_labels + static_cast<int64_t>(n) * b.L;
    const int32_t *symbol_starts = b.symbol_starts + static_cast<int64_t>(n) * (b.U + 1);
    float *out = b.occupancy + r * b.U, blank = 0, label = 0;
    for (int32_t i = lane; i <= L; i += kWarpSize) blank += blanks[i].m;
    for (int32_t i = lane; i < L; i += kWarpSize) label += labels[i].m;
    blank = warp_sum(blank);
    const float scale = 1 / (blank + warp_sum(label));
    if (lane == 0) out[0] = blank * scale;
    for (int32_t from = 1; from < num_symbols; from += kWarpSize) {
      const int32_t u = from + lane;
      const int32_t start = u < num_symbols ? symbol_starts[u] : 0, end = u < num_symbols ? symbol_starts[u + 1] : 0;
      if (u < num_symbols && end - start <= kMaxSerialLabels) {
        float sum = 0;
        for (int32_t i = start; i < end; ++i) sum += labels[sorted_labels[i]].m;
        out[u] = sum * scale;
      }
      for (unsigned many = __ballot_sync(kAllLanes, end - start > kMaxSerialLabels); many; many &= many - 1) {
        const int owner = __ffs(static_cast<int>(many)) - 1;
        const int32_t owner_start = __shfl_sync(kAllLanes, start, owner);
        const int32_t owner_end = __shfl_sync(kAllLanes, end, owner);
        float sum = 0;
        for (int32_t i = owner_start + lane; i < owner_end; i += kWarpSize) sum += labels[sorted_labels[i]].m;
        sum = warp_sum(sum);
        if (lane == 0) out[from + owner] = sum * scale;
      }
    }
  }
}

/// Writes all elements of dlogits in one pass over the logits.
template <class X>
__global__ void __launch_bounds__(kRowThreads) gradient(const Batch b, const float *dcosts, void *dlogits) {
  constexpr int32_t kStep = RowAccess<X>::kStep;
  const RowAccess<X> access(b.V, b.logits, dlogits, b.stride_t, b.stride_n);
  for (int64_t r = first_row(); r < b.rows(); r += row_stride()) {
    const int32_t n = static_cast<int32_t>(r % b.N);
    const X *in = static_cast<const X *>(b.logits) + b.element(r);
    X *out = static_cast<X *>(dlogits) + b.element(r);
    const bool has_gradient = r / b.N < b.gradient_frames[n];
    const SoftmaxStats stats = has_gradient ? b.stats[r] : SoftmaxStats{0, 0};
    const float dcost = has_gradient ? dcosts[n] : 0, scale = 1 / (1 + stats.denom_minus_1);
    for (int32_t from = 0; from < b.V; from += kLoadsInFlight * kStep) {
      float x[kLoadsInFlight][kVectorSize<X>];
#pragma unroll
      for (int i = 0; i < kLoadsInFlight; ++i)
        if (has_gradient && from + i * kStep < b.V) access.load(in, from + i * kStep, x[i]);
#pragma unroll
      for (int i = 0; i < kLoadsInFlight; ++i) {
#pragma unroll
        for (int j = 0; j < kVectorSize<X>; ++j)
          x[i][j] = has_gradient ? dcost * (__expf(x[i][j] - stats.max_logit) * scale) : 0;
        if (from + i * kStep < b.V) access.store(out, from + i * kStep, x[i]);
      }
    }
    if (!has_gradient) continue;
    __syncwarp();
    const int32_t *symbols = b.symbols + static_cast<int64_t>(n) * b.U;
    for (int32_t u = access.lane; u < b.num_symbols[n]; u += kWarpSize) {
      const int32_t v = symbols[u];
      store_element(out + v, dcost * (__expf(to_float(in[v]) - stats.max_logit) * scale - b.occupancy[r * b.U + u]));
    }
  }
}

}  // namespace ds2
