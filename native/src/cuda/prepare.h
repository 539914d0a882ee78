// What must be known of each utterance before its frames are read: whether it can be solved at all, and its distinct
// symbols, by one sort of its label (Deep Speech 2, appendix A.2: labels grouped by key, so that each key is summed in
// a fixed order).
#pragma once
#include "batch.h"

namespace ds2 {

constexpr int kPrepareThreads = 128;

/// Number the distinct symbols of a sorted label, with one warp; returns how many there are, the blank included.
__device__ inline int32_t number_symbols(const Batch &b, int32_t n, const int32_t *label, int32_t size) {
  const int lane = threadIdx.x % kWarp;
  const int32_t *sorted = b.sorted + static_cast<int64_t>(n) * b.L;
  int32_t *places = b.places + static_cast<int64_t>(n) * b.L;
  int32_t *symbols = b.symbols + static_cast<int64_t>(n) * b.U;
  int32_t *starts = b.starts + static_cast<int64_t>(n) * (b.U + 1);
  int32_t before = 1;
  for (int32_t from = 0; from < size; from += kWarp) {
    const int32_t rank = from + lane;
    const bool inside = rank < size;
    const int32_t symbol = inside ? label[sorted[rank]] : 0;
    const bool is_new = inside && (rank == 0 || symbol != label[sorted[rank - 1]]);
    const unsigned all_new = __ballot_sync(kAllLanes, is_new);
    const int32_t place = before - 1 + __popc(all_new & (kAllLanes >> (kWarp - 1 - lane)));
    if (inside) places[sorted[rank]] = place;
    if (is_new) symbols[place] = symbol, starts[place] = rank;
    before += __popc(all_new);
  }
  if (lane == 0) symbols[0] = b.blank, starts[before] = size;
  return before;
}

/// A block for each utterance. Writes verdicts (not yet final), frames, distinct, symbols, starts, sorted, places.
__global__ void __launch_bounds__(kPrepareThreads) prepare(const Batch b) {
  const int32_t n = blockIdx.x, frames = b.input_lengths[n], size = b.target_lengths[n];
  const int32_t *label = b.targets + static_cast<int64_t>(n) * b.L;
  ds2_ctc_verdict verdict = DS2_CTC_FINE;
  if (frames < 0 || frames > b.T || size < 0 || size > b.L) {
    verdict = DS2_CTC_BAD_LENGTH;
  } else {
    bool bad = false;
    int64_t needed = size;
    for (int32_t from = 0; from < size; from += kPrepareThreads) {
      const int32_t i = from + static_cast<int32_t>(threadIdx.x);
      const int32_t symbol = i < size ? label[i] : -1;
      bad |= i < size && (symbol < 0 || symbol >= b.V || symbol == b.blank);
      needed += __syncthreads_count(i > 0 && i < size && symbol == label[i - 1]);
    }
    if (__syncthreads_or(bad))
      verdict = DS2_CTC_BAD_LABEL;
    else if (needed > frames)
      verdict = DS2_CTC_TOO_SHORT;
  }
  if (threadIdx.x == 0) {
    b.verdicts[n] = verdict;
    b.frames[n] = verdict == DS2_CTC_FINE ? frames : 0;
  }
  if (verdict != DS2_CTC_FINE) return;

  int32_t *sorted = b.sorted + static_cast<int64_t>(n) * b.L;
  for (int32_t i = threadIdx.x; i < size; i += kPrepareThreads) {
    const int32_t symbol = label[i];
    int32_t rank = 0;
    for (int32_t j = 0; j < size; ++j) rank += label[j] < symbol || (label[j] == symbol && j < i);
    sorted[rank] = i;
  }
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  const int32_t distinct = number_symbols(b, n, label, size);
  if (threadIdx.x == 0) b.distinct[n] = distinct;
}

}  // namespace ds2
