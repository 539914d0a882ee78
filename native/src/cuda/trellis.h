// The trellis in registers. A warp holds 32 P pairs, P adjacent ones per lane, and exchanges them by shuffles. Longer
// label sequences take several warps that overlap by K pairs: the first K of a warp repeat the last K of its neighbor,
// and one more of them becomes stale in every frame, so warps synchronize only every K frames. Emissions and the values
// stored by the other direction are prefetched K frames ahead.
#pragma once
#include "half_pass.h"

namespace ds2 {

constexpr int kTrellisWarps = 8, kTrellisThreads = kTrellisWarps * kWarpSize;

/// Number of warps needed to hold this many pairs.
constexpr int warps_for(int64_t pairs, int P, int K) {
  const int64_t over = pairs - kWarpSize * P, each = kWarpSize * P - K;
  return over <= 0 ? 1 : static_cast<int>(1 + (over + each - 1) / each);
}

__device__ __forceinline__ ScaledFloat from_previous_lane(ScaledFloat x) {
  return {__shfl_up_sync(kAllLanes, x.m, 1), __shfl_up_sync(kAllLanes, x.e, 1)};
}

/// One block per direction per utterance. The first half writes cells (unless NULL) and the states at the middle; the
/// second starts from those states and replaces cells by occupancies.
template <int P, int K, bool kSecondHalf>
__global__ void __launch_bounds__(kTrellisThreads) trellis(const Batch b) {
  __shared__ ScaledFloat edges[2][kTrellisWarps][K][2];
  const HalfPass pass(b, blockIdx.x, kSecondHalf);
  if (!pass.active) return;
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, warps = blockDim.x / kWarpSize;
  const int32_t first = warp * (kWarpSize * P - K) + lane * P;
  const bool owns_pairs = warp == 0 || lane >= K / P;
  const bool keep = owns_pairs && b.cells;
  const int32_t total_e = kSecondHalf ? b.total_exponents[pass.n] : 0;
  const int32_t *slots = b.slots + static_cast<int64_t>(pass.n) * b.L;
  ScaledFloat *states = b.states_at_middle(pass.reverse, pass.n);

  ScaledFloat blank[P], label[P];
  int32_t slot[P];
  uint32_t flags = 0;
  // flags of a pair: the next blank may be skipped; this lane stores the cell of the blank, and of the label
  enum { kMaySkip, kBlank, kLabel };
  const auto has = [&](int flag, int p) { return (flags >> (flag * P + p) & 1) != 0; };
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int32_t i = first + p;
    const bool inside = i <= pass.L, labeled = i >= 1 && inside;
    slot[p] = labeled ? slots[pass.label(i)] : 0;
    const bool may_skip = labeled && i < pass.L && slots[pass.label(i + 1)] != slot[p];
    flags |= (may_skip << kMaySkip * P | (keep && inside) << kBlank * P | (keep && labeled) << kLabel * P) << p;
    blank[p] = kSecondHalf && inside ? states[pass.blank_at(i)] : zero();
    label[p] = kSecondHalf && labeled ? states[pass.label_at(i)] : zero();
    if (!kSecondHalf && i == 0) blank[p] = {1, 0};
  }

  // offsets from one pair to the next, and from one frame to the next
  const int stride = pass.reverse ? -1 : 1;
  int64_t q_stride = static_cast<int64_t>(stride) * b.N * b.U, cell_stride = static_cast<int64_t>(stride) * b.N * b.S;
  keep_in_register(flags), keep_in_register(q_stride), keep_in_register(cell_stride);
  const int64_t row = static_cast<int64_t>(pass.frame(pass.begin)) * b.N + pass.n;
  const ScaledFloat *q = b.emissions + row * b.U;
  ScaledFloat *blanks = b.cells + row * b.S + pass.blank_at(first);
  ScaledFloat *labels = b.cells + row * b.S + pass.label_at(first);
  const ScaledFloat *next_blanks = blanks, *next_labels = labels;
  ScaledFloat q_blank[K], q_label[K][P], other_blank[K][P], other_label[K][P];
  const auto prefetch = [&](int k) {
    q_blank[k] = q[0];
#pragma unroll
    for (int p = 0; p < P; ++p) {
      q_label[k][p] = q[slot[p]];
      if (kSecondHalf && has(kBlank, p)) other_blank[k][p] = next_blanks[p * stride];
      if (kSecondHalf && has(kLabel, p)) other_label[k][p] = next_labels[p * stride];
    }
    q += q_stride;
    if (kSecondHalf) next_blanks += cell_stride, next_labels += cell_stride;
  };
  const auto advance = [&](int k) {
    ScaledFloat to_next[P];
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const ScaledFloat both = add(blank[p], label[p]);
      to_next[p] = has(kMaySkip, p) ? both : blank[p];
      blank[p] = both;
    }
    ScaledFloat from_previous = from_previous_lane(to_next[P - 1]);
    if (first == 0) from_previous = zero();
#pragma unroll
    for (int p = 0; p < P; ++p) {
      label[p] = add(label[p], p ? to_next[p - 1] : from_previous);
      if (!kSecondHalf && has(kBlank, p)) blanks[p * stride] = blank[p];
      if (!kSecondHalf && has(kLabel, p)) labels[p * stride] = label[p];
      blank[p] = multiply(blank[p], q_blank[k]);
      label[p] = multiply(label[p], q_label[k][p]);
      if (kSecondHalf && has(kBlank, p)) blanks[p * stride].m = state_occupancy(blank[p], other_blank[k][p], total_e);
      if (kSecondHalf && has(kLabel, p)) labels[p * stride].m = state_occupancy(label[p], other_label[k][p], total_e);
    }
    blanks += cell_stride, labels += cell_stride;
  };

#pragma unroll
  for (int k = 0; k < K; ++k)
    if (pass.begin + k < pass.end) prefetch(k);
  int buffer = 0;
  for (int32_t step = pass.begin; step < pass.end; step += K) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (step + k >= pass.end) continue;
      advance(k);
      if (step + k + K < pass.end) prefetch(k);
    }
#pragma unroll
    for (int p = 0; p < P; ++p) blank[p] = normalize(blank[p]), label[p] = normalize(label[p]);
    if (warps == 1) continue;
    const int last = lane - (kWarpSize - K / P);
#pragma unroll
    for (int p = 0; p < P; ++p)
      if (last >= 0) edges[buffer][warp][last * P + p][0] = blank[p], edges[buffer][warp][last * P + p][1] = label[p];
    __syncthreads();
#pragma unroll
    for (int p = 0; p < P; ++p)
      if (!owns_pairs) {
        blank[p] = edges[buffer][warp - 1][lane * P + p][0];
        label[p] = edges[buffer][warp - 1][lane * P + p][1];
      }
    buffer ^= 1;
  }
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int32_t i = first + p;
    if (!kSecondHalf && owns_pairs && i <= pass.L) states[pass.blank_at(i)] = blank[p];
    if (!kSecondHalf && owns_pairs && i <= pass.L && i > 0) states[pass.label_at(i)] = label[p];
  }
}

}  // namespace ds2
