// From the shares of the states to those of the symbols, and from these to the gradient.
#pragma once
#include "softmax.h"

namespace ds2 {

constexpr int32_t kShort = 16;  // labels of one symbol that one lane sums; more are a warp's work

__device__ __forceinline__ float warp_sum(float x) {
  for (int by = 1; by < kWarp; by *= 2) x += __shfl_xor_sync(kAllLanes, x, by);
  return x;
}

/// Writes occupancy: of each row and distinct symbol, the share of the alignments that are there, of sum 1 in each row.
__global__ void __launch_bounds__(kRowThreads) occupy(const Batch b) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t r = first_row(); r < b.rows(); r += row_stride()) {
    const int32_t n = static_cast<int32_t>(r % b.N);
    if (r / b.N >= b.counted[n]) continue;
    const int32_t L = b.target_lengths[n], distinct = b.distinct[n];
    const Value *blanks = b.cells + r * b.S, *labels = blanks + b.L + 1;
    const int32_t *sorted = b.sorted + static_cast<int64_t>(n) * b.L;
    const int32_t *starts = b.starts + static_cast<int64_t>(n) * (b.U + 1);
    float *out = b.occupancy + r * b.U, blank = 0, label = 0;
    for (int32_t i = lane; i <= L; i += kWarp) blank += blanks[i].m;
    for (int32_t i = lane; i < L; i += kWarp) label += labels[i].m;
    blank = warp_sum(blank);
    const float scale = 1 / (blank + warp_sum(label));
    if (lane == 0) out[0] = blank * scale;
    for (int32_t from = 1; from < distinct; from += kWarp) {
      const int32_t u = from + lane, start = u < distinct ? starts[u] : 0, end = u < distinct ? starts[u + 1] : 0;
      if (u < distinct && end - start <= kShort) {
        float sum = 0;
        for (int32_t i = start; i < end; ++i) sum += labels[sorted[i]].m;
        out[u] = sum * scale;
      }
      for (unsigned many = __ballot_sync(kAllLanes, end - start > kShort); many; many &= many - 1) {
        const int whose = __ffs(static_cast<int>(many)) - 1;
        const int32_t its_start = __shfl_sync(kAllLanes, start, whose), its_end = __shfl_sync(kAllLanes, end, whose);
        float sum = 0;
        for (int32_t i = its_start + lane; i < its_end; i += kWarp) sum += labels[sorted[i]].m;
        sum = warp_sum(sum);
        if (lane == 0) out[from + whose] = sum * scale;
      }
    }
  }
}

/// Every element of dlogits, in one pass over the logits.
template <class X>
__global__ void __launch_bounds__(kRowThreads) gradient(const Batch b, const float *dcosts, void *dlogits) {
  constexpr int32_t kStep = Walk<X>::kStep;
  const Walk<X> walk(b.V, b.logits, dlogits, b.stride_t, b.stride_n);
  for (int64_t r = first_row(); r < b.rows(); r += row_stride()) {
    const int32_t n = static_cast<int32_t>(r % b.N);
    const X *in = static_cast<const X *>(b.logits) + b.element(r);
    X *out = static_cast<X *>(dlogits) + b.element(r);
    const bool counts = r / b.N < b.counted[n];
    const Peak peak = counts ? b.peaks[r] : Peak{0, 0};
    const float dcost = counts ? dcosts[n] : 0, scale = 1 / (1 + peak.rest);
    for (int32_t from = 0; from < b.V; from += kLines * kStep) {
      float x[kLines][kWide<X>];
#pragma unroll
      for (int i = 0; i < kLines; ++i)
        if (counts && from + i * kStep < b.V) walk.load(in, from + i * kStep, x[i]);
#pragma unroll
      for (int i = 0; i < kLines; ++i) {
#pragma unroll
        for (int j = 0; j < kWide<X>; ++j) x[i][j] = counts ? dcost * (__expf(x[i][j] - peak.best) * scale) : 0;
        if (from + i * kStep < b.V) walk.store(out, from + i * kStep, x[i]);
      }
    }
    if (!counts) continue;
    __syncwarp();
    const int32_t *symbols = b.symbols + static_cast<int64_t>(n) * b.U;
    for (int32_t u = walk.lane; u < b.distinct[n]; u += kWarp) {
      const int32_t v = symbols[u];
      put(out + v, dcost * (__expf(to_float(in[v]) - peak.best) * scale - b.occupancy[r * b.U + u]));
    }
  }
}

}  // namespace ds2
