// The trellis in registers. A warp holds 32 P pairs, P side by side in each lane, and hands them on by shuffles. Longer
// labels take several warps, which overlap by K pairs: a warp's first K are its neighbour's last, walked twice, so that
// warps need to meet only every K frames, when one frame after the other has made these K stale. Emissions, and what
// the other direction left, are asked for K frames ahead.
#pragma once
#include "chain.h"

namespace ds2 {

constexpr int kTrellisWarps = 8, kTrellisThreads = kTrellisWarps * kWarp;

/// Warps that hold this many pairs.
constexpr int warps_for(int64_t pairs, int P, int K) {
  const int64_t over = pairs - kWarp * P, each = kWarp * P - K;
  return over <= 0 ? 1 : static_cast<int>(1 + (over + each - 1) / each);
}

__device__ __forceinline__ Value from_lane_before(Value x) {
  return {__shfl_up_sync(kAllLanes, x.m, 1), __shfl_up_sync(kAllLanes, x.e, 1)};
}

/// A block for each direction of each utterance. The first half leaves cells (unless NULL) and states; the second
/// begins at those states and turns cells into shares.
template <int P, int K, bool kSecond>
__global__ void __launch_bounds__(kTrellisThreads) trellis(const Batch b) {
  __shared__ Value edges[2][kTrellisWarps][K][2];
  const Chain chain(b, blockIdx.x, kSecond);
  if (!chain.live) return;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, warps = blockDim.x / kWarp;
  const int32_t first = warp * (kWarp * P - K) + lane * P;
  const bool owner = warp == 0 || lane >= K / P;
  const bool keep = owner && b.cells;
  const int32_t scale = kSecond ? b.scales[chain.n] : 0;
  const int32_t *places = b.places + static_cast<int64_t>(chain.n) * b.L;
  Value *states = b.stopped(chain.reverse, chain.n);

  Value blank[P], label[P];
  int32_t place[P];
  uint32_t flags = 0;
  enum { kOpen, kBlank, kLabel };  // the way to the next label needs no blank; a cell is this lane's to keep
  const auto is = [&](int what, int p) { return (flags >> (what * P + p) & 1) != 0; };
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int32_t i = first + p;
    const bool inside = i <= chain.L, labelled = i >= 1 && inside;
    place[p] = labelled ? places[chain.label(i)] : 0;
    const bool open = labelled && i < chain.L && places[chain.label(i + 1)] != place[p];
    flags |= (open << kOpen * P | (keep && inside) << kBlank * P | (keep && labelled) << kLabel * P) << p;
    blank[p] = kSecond && inside ? states[chain.blank_at(i)] : none();
    label[p] = kSecond && labelled ? states[chain.label_at(i)] : none();
    if (!kSecond && i == 0) blank[p] = {1, 0};
  }

  // from a pair to the next, and from a frame to the next
  const int hop = chain.reverse ? -1 : 1;
  int64_t q_hop = static_cast<int64_t>(hop) * b.N * b.U, cell_hop = static_cast<int64_t>(hop) * b.N * b.S;
  hold(flags), hold(q_hop), hold(cell_hop);
  const int64_t row = static_cast<int64_t>(chain.frame(chain.begin)) * b.N + chain.n;
  const Value *q = b.emissions + row * b.U;
  Value *blanks = b.cells + row * b.S + chain.blank_at(first), *labels = b.cells + row * b.S + chain.label_at(first);
  const Value *blanks_ahead = blanks, *labels_ahead = labels;
  Value q_blank[K], q_label[K][P], other_blank[K][P], other_label[K][P];
  const auto fetch = [&](int k) {
    q_blank[k] = q[0];
#pragma unroll
    for (int p = 0; p < P; ++p) {
      q_label[k][p] = q[place[p]];
      if (kSecond && is(kBlank, p)) other_blank[k][p] = blanks_ahead[p * hop];
      if (kSecond && is(kLabel, p)) other_label[k][p] = labels_ahead[p * hop];
    }
    q += q_hop;
    if (kSecond) blanks_ahead += cell_hop, labels_ahead += cell_hop;
  };
  const auto walk = [&](int k) {
    Value way[P];
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const Value both = add(blank[p], label[p]);
      way[p] = is(kOpen, p) ? both : blank[p];
      blank[p] = both;
    }
    Value before = from_lane_before(way[P - 1]);
    if (first == 0) before = none();
#pragma unroll
    for (int p = 0; p < P; ++p) {
      label[p] = add(label[p], p ? way[p - 1] : before);
      if (!kSecond && is(kBlank, p)) blanks[p * hop] = blank[p];
      if (!kSecond && is(kLabel, p)) labels[p * hop] = label[p];
      blank[p] = times(blank[p], q_blank[k]);
      label[p] = times(label[p], q_label[k][p]);
      if (kSecond && is(kBlank, p)) blanks[p * hop].m = share(blank[p], other_blank[k][p], scale);
      if (kSecond && is(kLabel, p)) labels[p * hop].m = share(label[p], other_label[k][p], scale);
    }
    blanks += cell_hop, labels += cell_hop;
  };

#pragma unroll
  for (int k = 0; k < K; ++k)
    if (chain.begin + k < chain.end) fetch(k);
  int turn = 0;
  for (int32_t step = chain.begin; step < chain.end; step += K) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (step + k >= chain.end) continue;
      walk(k);
      if (step + k + K < chain.end) fetch(k);
    }
#pragma unroll
    for (int p = 0; p < P; ++p) blank[p] = settle(blank[p]), label[p] = settle(label[p]);
    if (warps == 1) continue;
    const int last = lane - (kWarp - K / P);
#pragma unroll
    for (int p = 0; p < P; ++p)
      if (last >= 0) edges[turn][warp][last * P + p][0] = blank[p], edges[turn][warp][last * P + p][1] = label[p];
    __syncthreads();
#pragma unroll
    for (int p = 0; p < P; ++p)
      if (!owner) blank[p] = edges[turn][warp - 1][lane * P + p][0], label[p] = edges[turn][warp - 1][lane * P + p][1];
    turn ^= 1;
  }
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int32_t i = first + p;
    if (!kSecond && owner && i <= chain.L) states[chain.blank_at(i)] = blank[p];
    if (!kSecond && owner && i <= chain.L && i > 0) states[chain.label_at(i)] = label[p];
  }
}

}  // namespace ds2
