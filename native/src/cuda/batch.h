// What the kernels of a call share: the caller's arrays, and what lies where in `saved` and in the workspace.
//
// Letters: those of ds2_native.h, and U, the most distinct symbols of an utterance: min(V, L + 1), the blank among
// them; S = 2L + 1 states. A row is a frame of an utterance, t * N + n. The labels of an utterance are known by their
// place among its distinct symbols, in which the blank is number 0 and the others follow in ascending order.
#pragma once
#include <cstddef>

#include "ds2_native.h"
#include "extended.h"

namespace ds2 {

struct alignas(8) Peak {
  float best;  // the largest logit of a row; NaN when the row is not finite
  float rest;  // the sum of exp(x - best) over all the others: the softmax's denominator less one, as it may be tiny
};

struct Batch {
  int32_t T, N, V, L, U, S, blank;
  int64_t stride_t, stride_n;
  const void *logits;
  const int32_t *targets, *input_lengths, *target_lengths;
  float *costs;
  int32_t *verdicts;

  // saved for backward
  int32_t *counted;   // (N,) frames that have a gradient: 0 unless the utterance is fine
  int32_t *distinct;  // (N,) how many of U it has
  int32_t *symbols;   // (N, U)
  Peak *peaks;        // (T, N)
  float *occupancy;   // (T, N, U) share of the alignments; NULL when there is nothing to save

  // workspace
  int32_t *frames;   // (N,) frames to be read: 0 when the lengths or the label forbid
  int32_t *places;   // (N, L) which distinct symbol a label is
  int32_t *sorted;   // (N, L) positions of labels, by symbol and then by position
  int32_t *starts;   // (N, U + 1) where in `sorted` the labels of symbol 1.. start; one more for the end
  int32_t *scales;   // (N,) the exponent of the label's probability
  Value *emissions;  // (T, N, U) exp(x - best)
  Value *states;     // (2, N, 2, S) the trellis where a direction stopped; the second is for taking turns
  Value *cells;      // (T, N, S) sums of one direction, then in .m the shares; NULL when there is nothing to save

  __device__ int64_t rows() const { return static_cast<int64_t>(T) * N; }
  __device__ int64_t element(int64_t row) const { return row / N * stride_t + row % N * stride_n; }
  __device__ Value *stopped(int direction, int32_t n) const {
    return states + (static_cast<int64_t>(direction) * N + n) * 2 * S;
  }
};

/// Hands out parts of a buffer, each on a line of its own; from NULL it only counts.
class Carver {
 public:
  explicit Carver(void *start) : start_(reinterpret_cast<uintptr_t>(start)), at_(up(start_)) {}
  template <class T>
  void take(T *&part, size_t count) {
    part = reinterpret_cast<T *>(at_);
    const uintptr_t end = at_ + count * sizeof(T);
    at_ = up(end);
#if defined(DS2_HOST_SHIM)
    at_ += kLine;
    if (start_) shim_forbid(end, at_ - end);
#endif
  }
  size_t bytes() const { return at_ - start_ + kLine; }

 private:
  static constexpr uintptr_t kLine = 128;
  static uintptr_t up(uintptr_t at) { return (at + kLine - 1) / kLine * kLine; }
  uintptr_t start_, at_;
};

inline Batch batch_of(const ds2_ctc_shape &s) {
  Batch b{};
  b.T = s.T, b.N = s.N, b.V = s.V, b.L = s.L, b.blank = s.blank;
  b.U = s.V <= s.L ? s.V : s.L + 1;
  b.S = 2 * s.L + 1;
  b.stride_t = s.stride_t, b.stride_n = s.stride_n;
  return b;
}

inline void take_head(Batch &b, Carver &from) {
  const size_t N = b.N;
  from.take(b.counted, N);
  from.take(b.distinct, N);
  from.take(b.symbols, N * b.U);
  from.take(b.peaks, N * b.T);
}

inline size_t place_saved(Batch &b, void *saved) {
  Carver from(saved);
  take_head(b, from);
  from.take(b.occupancy, static_cast<size_t>(b.N) * b.T * b.U);
  return from.bytes();
}

/// keep: whether there is a `saved`; without it the little that forward needs of it lies here.
inline size_t place_workspace(Batch &b, void *workspace, bool keep) {
  const size_t N = b.N, L = b.L, U = b.U, S = b.S, rows = N * b.T;
  Carver from(workspace);
  from.take(b.frames, N);
  from.take(b.places, N * L);
  from.take(b.sorted, N * L);
  from.take(b.starts, N * (U + 1));
  from.take(b.scales, N);
  from.take(b.emissions, rows * U);
  from.take(b.states, 4 * N * S);
  if (keep)
    from.take(b.cells, rows * S);
  else
    take_head(b, from);
  return from.bytes();
}

}  // namespace ds2
