// The softmax's statistics of every row, read once, and the emissions of the symbols its utterance is about.
#pragma once
#include "rows.h"

namespace ds2 {

/// Take a group of elements, not all of them -inf, into a peak.
template <int kCount>
__device__ __forceinline__ void take(Peak &peak, const float (&x)[kCount]) {
  float best = x[0];
#pragma unroll
  for (int j = 1; j < kCount; ++j) best = fmaxf(best, x[j]);
  bool skipped = true;  // whether the best has been left out of `rest`
  if (best > peak.best) {
    peak.rest = peak.best > -INFINITY ? (peak.rest + 1) * __expf(peak.best - best) : peak.rest;
    peak.best = best;
    skipped = false;
  }
  const float base = peak.best > -INFINITY ? peak.best : 0;
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    const bool skip = !skipped && x[j] == base;
    peak.rest += skip ? 0 : __expf(x[j] - base);
    skipped |= skip;
  }
}

__device__ __forceinline__ Peak merge(Peak a, Peak b) {
  if (b.best > a.best) {
    const Peak c = a;
    a = b, b = c;
  }
  return {a.best, a.rest + (b.best > -INFINITY ? (b.rest + 1) * __expf(b.best - a.best) : b.rest)};
}

/// The peak of a row, known to all lanes.
template <class X>
__device__ Peak scan(const Walk<X> &walk, const X *row) {
  Peak peak{-INFINITY, 0};
  for (int32_t from = 0; from < walk.V; from += kLines * Walk<X>::kStep) {
    float x[kLines][kWide<X>];
#pragma unroll
    for (int i = 0; i < kLines; ++i)
      if (from + i * Walk<X>::kStep < walk.V) walk.load(row, from + i * Walk<X>::kStep, x[i]);
#pragma unroll
    for (int i = 0; i < kLines; ++i)
      if (from + i * Walk<X>::kStep < walk.V) take(peak, x[i]);
  }
  for (int by = 1; by < kWarp; by *= 2)
    peak = merge(peak, {__shfl_xor_sync(kAllLanes, peak.best, by), __shfl_xor_sync(kAllLanes, peak.rest, by)});
  return {__shfl_sync(kAllLanes, peak.best, 0), __shfl_sync(kAllLanes, peak.rest, 0)};
}

/// Writes peaks and emissions. A row that is not finite has the peak NaN.
template <class X>
__global__ void __launch_bounds__(kRowThreads) softmax(const Batch b) {
  const Walk<X> walk(b.V, b.logits, nullptr, b.stride_t, b.stride_n);
  for (int64_t r = first_row(); r < b.rows(); r += row_stride()) {
    const int32_t n = static_cast<int32_t>(r % b.N);
    if (r / b.N >= b.frames[n]) continue;
    const X *row = static_cast<const X *>(b.logits) + b.element(r);
    const Peak peak = scan(walk, row);
    const bool finite = peak.best < INFINITY && peak.best > -INFINITY && peak.rest >= 0;
    if (walk.lane == 0) b.peaks[r] = {finite ? peak.best : NAN, peak.rest};
    const int32_t *symbols = b.symbols + static_cast<int64_t>(n) * b.U;
    for (int32_t u = walk.lane; u < b.distinct[n]; u += kWarp)
      b.emissions[r * b.U + u] = finite ? exponential(to_float(row[symbols[u]]), peak.best) : Value{1, 0};
  }
}

}  // namespace ds2
