// Validates each utterance and finds its distinct symbols before its frames are read, by one sort of its labels (Deep
// Speech 2, appendix A.2: labels grouped by key, so that each key is summed in a fixed order).
#pragma once
#include "batch.h"

namespace ds2 {

constexpr int kPrepareThreads = 128;

/// Assign slots to the distinct symbols of the sorted labels, with one warp; return their number, including the blank.
__device__ inline int32_t assign_slots(const Batch &b, int32_t n, const int32_t *label, int32_t L) {
  const int lane = threadIdx.x % kWarpSize;
  const int32_t *sorted_labels = b.sorted_labels + static_cast<int64_t>(n) * b.L;
  int32_t *slots = b.slots + static_cast<int64_t>(n) * b.L;
  int32_t *symbols = b.symbols + static_cast<int64_t>(n) * b.U;
  int32_t *symbol_starts = b.symbol_starts + static_cast<int64_t>(n) * (b.U + 1);
  int32_t count = 1;
  for (int32_t from = 0; from < L; from += kWarpSize) {
    const int32_t rank = from + lane;
    const bool inside = rank < L;
    const int32_t symbol = inside ? label[sorted_labels[rank]] : 0;
    const bool is_new = inside && (rank == 0 || symbol != label[sorted_labels[rank - 1]]);
    const unsigned all_new = __ballot_sync(kAllLanes, is_new);
    const int32_t slot = count - 1 + __popc(all_new & (kAllLanes >> (kWarpSize - 1 - lane)));
    if (inside) slots[sorted_labels[rank]] = slot;
    if (is_new) symbols[slot] = symbol, symbol_starts[slot] = rank;
    count += __popc(all_new);
  }
  if (lane == 0) symbols[0] = b.blank, symbol_starts[count] = L;
  return count;
}

/// One block per utterance. Writes verdicts (not yet final), frames, num_symbols, symbols, symbol_starts, sorted_labels
/// and slots.
__global__ void __launch_bounds__(kPrepareThreads) prepare(const Batch b) {
  const int32_t n = blockIdx.x, frames = b.input_lengths[n], L = b.target_lengths[n];
  const int32_t *label = b.targets + static_cast<int64_t>(n) * b.L;
  ds2_ctc_verdict verdict = DS2_CTC_FINE;
  if (frames < 0 || frames > b.T || L < 0 || L > b.L) {
    verdict = DS2_CTC_BAD_LENGTH;
  } else {
    bool invalid = false;
    int64_t needed = L;
    for (int32_t from = 0; from < L; from += kPrepareThreads) {
      const int32_t i = from + static_cast<int32_t>(threadIdx.x);
      const int32_t symbol = i < L ? label[i] : -1;
      invalid |= i < L && (symbol < 0 || symbol >= b.V || symbol == b.blank);
      needed += __syncthreads_count(i > 0 && i < L && symbol == label[i - 1]);
    }
    if (__syncthreads_or(invalid))
      verdict = DS2_CTC_BAD_LABEL;
    else if (needed > frames)
      verdict = DS2_CTC_TOO_SHORT;
  }
  if (threadIdx.x == 0) {
    b.verdicts[n] = verdict;
    b.frames[n] = verdict == DS2_CTC_FINE ? frames : 0;
  }
  if (verdict != DS2_CTC_FINE) return;

  int32_t *sorted_labels = b.sorted_labels + static_cast<int64_t>(n) * b.L;
  for (int32_t i = threadIdx.x; i < L; i += kPrepareThreads) {
    const int32_t symbol = label[i];
    int32_t rank = 0;
    for (int32_t j = 0; j < L; ++j) rank += label[j] < symbol || (label[j] == symbol && j < i);
    sorted_labels[rank] = i;
  }
  __syncthreads();
  if (threadIdx.x >= kWarpSize) return;
  const int32_t num_symbols = assign_slots(b, n, label, L);
  if (threadIdx.x == 0) b.num_symbols[n] = num_symbols;
}

}  // namespace ds2
