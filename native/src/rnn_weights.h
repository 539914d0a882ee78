// drecurrent[j][k] = sum over frames and rows of dgate[j] * h_previous[k]: one long product, kWeightTerms terms at a
// time, without padding.
#pragma once
#include "rnn.h"
#include "simd.h"

namespace {

using namespace ds2;

/// A block of terms of the sum: pointers to the previous state, the gate gradients and du_last of each.
struct Terms {
  const float *state[kWeightTerms], *dgates[kWeightTerms], *du_last[kWeightTerms];
  int32_t count;
};

/// Pack terms m and m + 1 into words, `lanes` units from `at` on.
DS2_INLINE V pack_pair(const Terms &terms, const float *const *source, int32_t m, ptrdiff_t at, int lanes) {
  return pack_words(load(source[m] + at, lanes), P > 1 && m + 1 < terms.count ? load(source[m + 1] + at, lanes) : V{});
}

/// Pack the states: packed[g][word of terms][unit of group g]. Groups are contiguous.
void pack_states(const Terms &terms, int32_t H, int32_t panels, int32_t groups, float *out) {
  for (int32_t g = 0; g < groups; ++g) {
    const int32_t begin = part_begin(g, panels, groups), end = part_begin(g + 1, panels, groups);
    for (int32_t m = 0; m < terms.count; m += P)
      for (int32_t p = begin; p < end; ++p, out += W) store(out, pack_pair(terms, terms.state, m, p * W, H - p * W));
  }
}

/// Add the terms to rows j..j+rows of a gate; consecutive words of `gates` are W floats apart.
void add_tile(const RnnWeights &w, const Terms &terms, ptrdiff_t j, int32_t rows, const float *gates, bool first) {
  const ptrdiff_t H = w.H, depth = word_count(terms.count);
  const int32_t panels = ceil_div(w.H, W), groups = ceil_div(panels, 3);
  for (int32_t g = 0; g < groups; ++g) {
    const int32_t panel = part_begin(g, panels, groups), columns = part_begin(g + 1, panels, groups) - panel;
    const ptrdiff_t unit = static_cast<ptrdiff_t>(panel) * W;
    V sums[R * 3];
    for (int32_t i = 0; i < rows && !first; ++i)
      for (int32_t c = 0; c < columns; ++c)
        sums[i * columns + c] = load(w.drecurrent + (j + i) * H + unit + c * W, static_cast<int>(H - unit - c * W));
    select_multiply(rows, columns)(sums, gates, 1, W, w.packed + unit * depth, depth, !first);
    for (int32_t i = 0; i < rows; ++i)
      for (int32_t c = 0; c < columns; ++c)
        store(w.drecurrent + (j + i) * H + unit + c * W, sums[i * columns + c], static_cast<int>(H - unit - c * W));
  }
}

template <class Cell>
void add_terms(const RnnWeights &w, const Terms &terms, bool first) {
  const int32_t H = w.H, panels = ceil_div(H, W);
  alignas(64) float gates[kWeightTerms * W];
  pack_states(terms, H, panels, ceil_div(panels, 3), w.packed);
  const int32_t end = part_begin(w.shard + 1, Cell::gates * panels, w.shards);
  for (int32_t block = part_begin(w.shard, Cell::gates * panels, w.shards); block < end; ++block) {
    const int32_t gate = block / panels, j = block % panels * W, rows = H - j < W ? H - j : W;
    const bool separate_du = Cell::separate_du && gate == Cell::gates - 1;
    const float *const *source = separate_du ? terms.du_last : terms.dgates;
    const ptrdiff_t at = separate_du ? j : static_cast<ptrdiff_t>(gate) * H + j;
    for (int32_t m = 0; m < terms.count; m += P) store(gates + m / P * W, pack_pair(terms, source, m, at, H - j));
    for (int32_t i = 0; i < rows; i += R)
      add_tile(w, terms, static_cast<ptrdiff_t>(gate) * H + j + i, rows - i < R ? rows - i : R, gates + i, first);
  }
}

template <class Cell>
void weights(const RnnWeights &w) {
  const ptrdiff_t H = w.H;
  Terms terms;
  terms.count = 0;
  bool first = true;
  for (int32_t step = 1; step < w.T; ++step) {
    const int32_t t = w.direction == 0 ? step : step - 1;         // the frame of the gates
    const int32_t previous = w.direction == 0 ? step - 1 : step;  // the frame of their input state
    for (int32_t n = 0; n < w.N && w.lengths[n] > step; ++n) {
      const ptrdiff_t at = static_cast<ptrdiff_t>(w.row_starts[t]) + n;
      terms.state[terms.count] = w.h + (static_cast<ptrdiff_t>(w.row_starts[previous]) + n) * H;
      terms.dgates[terms.count] = w.dgates + at * Cell::gates * H;
      if (Cell::separate_du) terms.du_last[terms.count] = w.du_last + at * H;
      if (++terms.count < kWeightTerms) continue;
      add_terms<Cell>(w, terms, first);
      terms.count = 0;
      first = false;
    }
  }
  if (first || terms.count > 0) add_terms<Cell>(w, terms, first);
}

}  // namespace
