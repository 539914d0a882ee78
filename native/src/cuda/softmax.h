// The softmax statistics of every row, read once, and the emissions of its utterance's distinct symbols.
#pragma once
#include "rows.h"

namespace ds2 {

/// Accumulate a group of elements, not all of them -inf, into the statistics.
template <int kCount>
__device__ __forceinline__ void accumulate(SoftmaxStats &stats, const float (&x)[kCount]) {
  float max_logit = x[0];
#pragma unroll
  for (int j = 1; j < kCount; ++j) max_logit = fmaxf(max_logit, x[j]);
  bool skipped = true;  // whether one maximum has been left out of the sum
  if (max_logit > stats.max_logit) {
    const float sum = stats.denom_minus_1;
    stats.denom_minus_1 = stats.max_logit > -INFINITY ? (sum + 1) * __expf(stats.max_logit - max_logit) : sum;
    stats.max_logit = max_logit;
    skipped = false;
  }
  const float base = stats.max_logit > -INFINITY ? stats.max_logit : 0;
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const bool skip = !skipped && x[j] == base;
    stats.denom_minus_1 += skip ? 0 : __expf(x[j] - base);
    skipped |= skip;
  }
}

__device__ __forceinline__ SoftmaxStats merge(SoftmaxStats a, SoftmaxStats b) {
  if (b.max_logit > a.max_logit) {
    const SoftmaxStats c = a;
    a = b, b = c;
  }
  const float sum = b.denom_minus_1;
  return {a.max_logit,
          a.denom_minus_1 + (b.max_logit > -INFINITY ? (sum + 1) * __expf(b.max_logit - a.max_logit) : sum)};
}

/// The statistics of a row, broadcast to all lanes.
template <class X>
__device__ SoftmaxStats compute_row_stats(const RowAccess<X> &access, const X *row) {
  SoftmaxStats stats{-INFINITY, 0};
  for (int32_t from = 0; from < access.V; from += kLoadsInFlight * RowAccess<X>::kStep) {
    float x[kLoadsInFlight][kVectorSize<X>];
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i)
      if (from + i * RowAccess<X>::kStep < access.V) access.load(row, from + i * RowAccess<X>::kStep, x[i]);
#pragma unroll
    for (int i = 0; i < kLoadsInFlight; ++i)
      if (from + i * RowAccess<X>::kStep < access.V) accumulate(stats, x[i]);
  }
  for (int by = 1; by < kWarpSize; by *= 2)
    stats = merge(stats, {__shfl_xor_sync(kAllLanes, stats.max_logit, by),
                          __shfl_xor_sync(kAllLanes, stats.denom_minus_1, by)});
  return {__shfl_sync(kAllLanes, stats.max_logit, 0), __shfl_sync(kAllLanes, stats.denom_minus_1, 0)};
}

/// Writes stats and emissions. The maximum of a row that is not finite is NaN.
template <class X>
__global__ void __launch_bounds__(kRowThreads) softmax(const Batch b) {
  const RowAccess<X> access(b.V, b.logits, nullptr, b.stride_t, b.stride_n);
  for (int64_t r = first_row(); r < b.rows(); r += row_stride()) {
    const int32_t n = static_cast<int32_t>(r % b.N);
    if (r / b.N >= b.frames[n]) continue;
    const X *row = static_cast<const X *>(b.logits) + b.element(r);
    const SoftmaxStats stats = compute_row_stats(access, row);
    const bool finite = stats.max_logit < INFINITY && stats.max_logit > -INFINITY && stats.denom_minus_1 >= 0;
    if (access.lane == 0) b.stats[r] = {finite ? stats.max_logit : NAN, stats.denom_minus_1};
    const int32_t *symbols = b.symbols + static_cast<int64_t>(n) * b.U;
    for (int32_t u = access.lane; u < b.num_symbols[n]; u += kWarpSize)
      b.emissions[r * b.U + u] = finite ? scaled_exp(to_float(row[symbols[u]]), stats.max_logit) : ScaledFloat{1, 0};
  }
}

}  // namespace ds2
