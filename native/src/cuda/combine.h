// Combines the forward and backward states at the middle frame into the label sequence's probability, cost and verdict.
#pragma once
#include "half_pass.h"

namespace ds2 {

constexpr int kCombineThreads = 128;

/// One block per utterance. Writes costs, verdicts, gradient_frames, total_exponents.
__global__ void __launch_bounds__(kCombineThreads) combine(const Batch b) {
  __shared__ double log_denominators[kCombineThreads];
  __shared__ ScaledFloat totals[kCombineThreads];
  const int32_t n = blockIdx.x, frames = b.frames[n], thread = threadIdx.x;
  double log_denominator = 0;
  bool not_finite = false;
  for (int32_t t = thread; t < frames; t += kCombineThreads) {
    const SoftmaxStats stats = b.stats[static_cast<int64_t>(t) * b.N + n];
    not_finite |= stats.max_logit != stats.max_logit;
    log_denominator += log1p(static_cast<double>(stats.denom_minus_1));
  }

  ScaledFloat total = zero();
  if (frames > 0) {
    const HalfPass pass(b, 2 * n, false);
    const ScaledFloat *alpha = b.states_at_middle(0, n), *beta = b.states_at_middle(1, n);
    const int32_t *slots = b.slots + static_cast<int64_t>(n) * b.L;
    for (int32_t i = thread; i <= pass.L; i += kCombineThreads) {
      const ScaledFloat blank = alpha[pass.blank_at(i)], label = i > 0 ? alpha[pass.label_at(i)] : zero();
      total = normalize(add(total, multiply(add(blank, label), beta[pass.blank_at(i)])));
      if (i == 0) continue;
      ScaledFloat from_previous = alpha[pass.blank_at(i - 1)];
      if (i > 1 && slots[i - 2] != slots[i - 1]) from_previous = add(from_previous, alpha[pass.label_at(i - 1)]);
      total = normalize(add(total, multiply(add(label, from_previous), beta[pass.label_at(i)])));
    }
  }
  log_denominators[thread] = log_denominator, totals[thread] = total;
  not_finite = __syncthreads_or(not_finite);
  for (int half = kCombineThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      log_denominators[thread] += log_denominators[thread + half];
      totals[thread] = normalize(add(totals[thread], totals[thread + half]));
    }
    __syncthreads();
  }
  if (thread > 0) return;

  int32_t verdict = b.verdicts[n];
  double cost = verdict == DS2_CTC_FINE ? 0 : verdict == DS2_CTC_TOO_SHORT ? INFINITY : NAN;
  if (frames > 0) {
    total = totals[0];
    cost = log_denominators[0] - log(static_cast<double>(total.m)) - total.e * 0.693147180559945309;
    if (not_finite) verdict = DS2_CTC_NOT_FINITE, cost = NAN;
    else if (total.e < kMinExponent) verdict = DS2_CTC_IMPOSSIBLE, cost = INFINITY;
  }
  b.verdicts[n] = verdict;
  b.costs[n] = cost < 0 ? 0 : static_cast<float>(cost);
  b.gradient_frames[n] = verdict == DS2_CTC_FINE ? frames : 0;
  b.total_exponents[n] = total.e;
}

}  // namespace ds2
