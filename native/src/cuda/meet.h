// Where the two directions of an utterance meet: its probability, and with that its cost and its verdict.
#pragma once
#include "chain.h"

namespace ds2 {

constexpr int kMeetThreads = 128;

/// A block for each utterance. Writes costs, verdicts, counted, scales.
__global__ void __launch_bounds__(kMeetThreads) meet(const Batch b) {
  __shared__ double normalisers[kMeetThreads];
  __shared__ Value totals[kMeetThreads];
  const int32_t n = blockIdx.x, frames = b.frames[n], thread = threadIdx.x;
  double normaliser = 0;
  bool broken = false;
  for (int32_t t = thread; t < frames; t += kMeetThreads) {
    const Peak peak = b.peaks[static_cast<int64_t>(t) * b.N + n];
    broken |= peak.best != peak.best;
    normaliser += log1p(static_cast<double>(peak.rest));
  }

  Value total = none();
  if (frames > 0) {
    const Chain chain(b, 2 * n, false);
    const Value *behind = b.stopped(0, n), *ahead = b.stopped(1, n);
    const int32_t *places = b.places + static_cast<int64_t>(n) * b.L;
    for (int32_t i = thread; i <= chain.L; i += kMeetThreads) {
      const Value blank = behind[chain.blank_at(i)], label = i > 0 ? behind[chain.label_at(i)] : none();
      total = settle(add(total, times(add(blank, label), ahead[chain.blank_at(i)])));
      if (i == 0) continue;
      Value way = behind[chain.blank_at(i - 1)];
      if (i > 1 && places[i - 2] != places[i - 1]) way = add(way, behind[chain.label_at(i - 1)]);
      total = settle(add(total, times(add(label, way), ahead[chain.label_at(i)])));
    }
  }
  normalisers[thread] = normaliser, totals[thread] = total;
  broken = __syncthreads_or(broken);
  for (int half = kMeetThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      normalisers[thread] += normalisers[thread + half];
      totals[thread] = settle(add(totals[thread], totals[thread + half]));
    }
    __syncthreads();
  }
  if (thread > 0) return;

  int32_t verdict = b.verdicts[n];
  double cost = verdict == DS2_CTC_FINE ? 0 : verdict == DS2_CTC_TOO_SHORT ? INFINITY : NAN;
  if (frames > 0) {
    total = totals[0];
    cost = normalisers[0] - log(static_cast<double>(total.m)) - total.e * 0.693147180559945309;
    if (broken) verdict = DS2_CTC_NOT_FINITE, cost = NAN;
    else if (total.e < kImpossible) verdict = DS2_CTC_IMPOSSIBLE, cost = INFINITY;
  }
  b.verdicts[n] = verdict;
  b.costs[n] = cost < 0 ? 0 : static_cast<float>(cost);
  b.counted[n] = verdict == DS2_CTC_FINE ? frames : 0;
  b.scales[n] = total.e;
}

}  // namespace ds2
