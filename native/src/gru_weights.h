// drecurrent[j][k] = sum over frames and rows of dg[j] * h_before[k]: one long product, kWeightRows terms at a time,
// padding left out.
#pragma once
#include "gru.h"
#include "simd.h"

namespace {

using namespace ds2;

/// The terms of one block: where each finds its state, its gate gradients and its candidate gradients.
struct Terms {
  const float *state[kWeightRows], *dgates[kWeightRows], *dcandidate[kWeightRows];
  int32_t count;
};

/// packed[g][term][unit of group g]; groups lie end to end.
void pack_states(const Terms &terms, int32_t H, int32_t panels, int32_t groups, float *out) {
  for (int32_t g = 0; g < groups; ++g) {
    const int32_t begin = part_begin(g, panels, groups), end = part_begin(g + 1, panels, groups);
    for (int32_t m = 0; m < terms.count; ++m)
      for (int32_t p = begin; p < end; ++p, out += W) store(out, load(terms.state[m] + p * W, H - p * W));
  }
}

/// packed[term][R]: gate units j..j+rows, which one of the three gates holds.
void pack_gates(const Terms &terms, const float *const *source, int32_t j, int32_t rows, float *out) {
  for (int32_t m = 0; m < terms.count; ++m, out += R)
    for (int32_t i = 0; i < rows; ++i) out[i] = source[m][j + i];
}

void add_terms(const GruWeights &w, const Terms &terms, bool first) {
  const int32_t H = w.H, panels = ceil_div(H, W), groups = ceil_div(panels, 3);
  alignas(64) float gates[kWeightRows * R];
  pack_states(terms, H, panels, groups, w.packed);
  for (int32_t j = w.row_begin, rows; j < w.row_end; j += rows) {
    const int32_t edge = j < 2 * H && w.row_end > 2 * H ? 2 * H : w.row_end;
    rows = edge - j < R ? edge - j : R;
    const bool candidate = j >= 2 * H;
    pack_gates(terms, candidate ? terms.dcandidate : terms.dgates, candidate ? j - 2 * H : j, rows, gates);
    for (int32_t g = 0; g < groups; ++g) {
      const int32_t panel = part_begin(g, panels, groups), columns = part_begin(g + 1, panels, groups) - panel;
      V sums[R * 3];
      for (int32_t i = 0; i < rows; ++i)
        for (int32_t c = 0; c < columns; ++c) {
          const ptrdiff_t unit = static_cast<ptrdiff_t>(panel + c) * W;
          sums[i * columns + c] = first ? V{} : load(w.drecurrent + static_cast<ptrdiff_t>(j + i) * H + unit, H - unit);
        }
      multiply_for(rows, columns)(sums, gates, 1, R, w.packed + static_cast<ptrdiff_t>(panel) * W * terms.count,
                                  terms.count);
      for (int32_t i = 0; i < rows; ++i)
        for (int32_t c = 0; c < columns; ++c) {
          const ptrdiff_t unit = static_cast<ptrdiff_t>(panel + c) * W;
          store(w.drecurrent + static_cast<ptrdiff_t>(j + i) * H + unit, sums[i * columns + c], H - unit);
        }
    }
  }
}

void weights(const GruWeights &w) {
  const ptrdiff_t H = w.H;
  Terms terms;
  terms.count = 0;
  bool first = true;
  for (int32_t step = 1; step < w.T; ++step) {
    const int32_t t = w.direction == 0 ? step : step - 1;         // the frame whose gates these are
    const int32_t before = w.direction == 0 ? step - 1 : step;    // the frame whose state went into them
    for (int32_t n = 0; n < w.N && w.lengths[n] > step; ++n) {
      const ptrdiff_t at = static_cast<ptrdiff_t>(t) * w.N + n;
      terms.state[terms.count] = w.h + (static_cast<ptrdiff_t>(before) * w.N + n) * H;
      terms.dgates[terms.count] = w.dgates + at * 3 * H;
      terms.dcandidate[terms.count] = w.dcandidate + at * H;
      if (++terms.count < kWeightRows) continue;
      add_terms(w, terms, first);
      terms.count = 0;
      first = false;
    }
  }
  if (first || terms.count > 0) add_terms(w, terms, first);
}

}  // namespace
