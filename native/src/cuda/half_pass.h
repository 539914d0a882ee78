// The forward and the backward pass over an utterance's trellis. Both are the same recursion (Graves et al. 2006, eqs.
// 6-10): the backward pass runs over the reversed labels and the reversed frames. The two start at opposite ends at the
// same time and meet at the middle frame, where the label sequence's probability is known. Each then continues through
// the half that the other has done, and multiplies its own value of a cell with the stored one to get the cell's
// occupancy. So each cell is stored once, and the cost alone takes half the steps.
//
// A pair is a label and the blank after it, i = 0..L; pair 0 has no label. In frame t, with emissions q:
//     blank[i] = (blank[i] + label[i]) q_blank
//     label[i] = (label[i] + to_next[i - 1]) q_i
//     to_next[i] = blank[i] + label[i] if label i + 1 is a different symbol (the blank may be skipped), else blank[i]
// starting from blank[0] = 1. A pass stores the value of a cell before the emission, as the other pass includes it.
#pragma once
#include "batch.h"

namespace ds2 {

/// One half of the pass of one direction of one utterance.
struct HalfPass {
  int32_t n, T, L, width;
  bool reverse, active;
  int32_t begin, end;  // steps of this half

  /// index: 2n + direction. second_half: whether the pass continues after the middle.
  __device__ HalfPass(const Batch &b, int32_t index, bool second_half)
      : n(index / 2), T(b.frames[n]), L(0), width(b.L), reverse(index % 2) {
    active = second_half ? b.gradient_frames[n] > 0 : T > 0;
    if (active) L = b.target_lengths[n];
    const int32_t middle = reverse ? T - T / 2 : T / 2;
    begin = second_half ? middle : 0;
    end = second_half ? T : middle;
  }
  __device__ int32_t frame(int32_t step) const { return reverse ? T - 1 - step : step; }
  /// Index of the label of pair i = 1..L.
  __device__ int32_t label(int32_t i) const { return reverse ? L - i : i - 1; }
  /// Index of a pair's states among the S of a frame: all blanks in order, then all labels.
  __device__ int32_t blank_at(int32_t i) const { return reverse ? L - i : i; }
  __device__ int32_t label_at(int32_t i) const { return width + 1 + label(i); }
};

/// Posterior probability of a state. total_exponent: of the label sequence's probability. A negligible value becomes
/// zero.
__device__ __forceinline__ float state_occupancy(ScaledFloat own, ScaledFloat other, int32_t total_exponent) {
  const float x = own.m * other.m * power_of_two(max(own.e + other.e - total_exponent, -127));
  return x < 0x1p-64f ? 0 : x;
}

}  // namespace ds2
