// One direction through an utterance's trellis. Both are the same recursion (Graves et al. 2006, eqs. 6-10): backward
// walks the reversed label through the reversed frames. They start at the two ends and meet in the middle, where the
// label's probability is known; each then goes on through the other's half, where what the other left in each cell
// makes with its own the share of that cell. So both run at once, each cell is kept once, and a cost alone takes half
// the steps.
//
// A pair is a label and the blank after it, i = 0..L, without a label at 0. In frame t, with emissions q:
//     blank[i] = (blank[i] + label[i]) q_blank
//     label[i] = (label[i] + way[i - 1]) q_i,   way[i] = blank[i], and + label[i] where label i + 1 is another symbol
// from blank[0] = 1. What a direction leaves in a cell is its sum before the emission, which the other's has.
#pragma once
#include "batch.h"

namespace ds2 {

struct Chain {
  int32_t n, T, L, width;
  bool reverse, live;
  int32_t begin, end;  // steps of this half

  /// index: 2n + direction. second: whether this is the half after the middle.
  __device__ Chain(const Batch &b, int32_t index, bool second)
      : n(index / 2), T(b.frames[n]), L(0), width(b.L), reverse(index % 2) {
    live = second ? b.counted[n] > 0 : T > 0;
    if (live) L = b.target_lengths[n];
    const int32_t middle = reverse ? T - T / 2 : T / 2;
    begin = second ? middle : 0;
    end = second ? T : middle;
  }
  __device__ int32_t frame(int32_t step) const { return reverse ? T - 1 - step : step; }
  /// Which label pair i = 1..L has.
  __device__ int32_t label(int32_t i) const { return reverse ? L - i : i - 1; }
  /// Where the states of pair i are among the S of a frame: the blanks in order, then the labels.
  __device__ int32_t blank_at(int32_t i) const { return reverse ? L - i : i; }
  __device__ int32_t label_at(int32_t i) const { return width + 1 + label(i); }
};

/// How much of the label's probability, 2^scale or so, passes through a cell. What is nothing beside the rest is zero.
__device__ __forceinline__ float share(Value mine, Value others, int32_t scale) {
  const float x = mine.m * others.m * power(max(mine.e + others.e - scale, -127));
  return x < 0x1p-64f ? 0 : x;
}

}  // namespace ds2
