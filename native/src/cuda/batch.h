// The arguments shared by the kernels of a call: the caller's arrays and the parts of `saved` and of the workspace.
//
// Notation: those of ds2_native.h, and U, the maximum number of distinct symbols of an utterance, min(V, L + 1),
// including the blank. A row is a frame of an utterance, t * N + n. The slot of a label is its index among the distinct
// symbols of its utterance: the blank has slot 0, the others follow in ascending order.
#pragma once
#include <cstddef>

#include "ds2_native.h"
#include "scaled_float.h"

namespace ds2 {

struct alignas(8) SoftmaxStats {
  float max_logit;      // largest logit of a row; NaN if the row is not finite
  float denom_minus_1;  // sum of exp(x - max_logit) over all other logits; kept without the 1, as it may be tiny
};

struct Batch {
  int32_t T, N, V, L, U, S, blank;
  int64_t stride_t, stride_n;
  const void *logits;
  const int32_t *targets, *input_lengths, *target_lengths;
  float *costs;
  int32_t *verdicts;

  // saved for backward
  int32_t *gradient_frames;  // (N,) frames with a gradient: 0 unless the verdict is DS2_CTC_FINE
  int32_t *num_symbols;      // (N,) number of distinct symbols, at most U
  int32_t *symbols;          // (N, U) distinct symbols by slot
  SoftmaxStats *stats;       // (T, N)
  float *occupancy;          // (T, N, U) posterior probability of each distinct symbol; NULL if nothing is saved

  // workspace
  int32_t *frames;             // (N,) frames to read: 0 if the lengths or the labels are invalid
  int32_t *slots;              // (N, L) slot of each label
  int32_t *sorted_labels;      // (N, L) positions of the labels, sorted by symbol, then by position
  int32_t *symbol_starts;      // (N, U + 1) index in `sorted_labels` of the first label of slot 1.., and the end
  int32_t *total_exponents;    // (N,) exponent of the label sequence's probability
  ScaledFloat *emissions;      // (T, N, U) exp(x - max_logit)
  ScaledFloat *middle_states;  // (2, N, 2, S) states of each direction at the middle; the second S are a buffer
  ScaledFloat *cells;          // (T, N, S) alpha or beta, then occupancies in .m; NULL if nothing is saved

  __device__ int64_t rows() const { return static_cast<int64_t>(T) * N; }
  __device__ int64_t element(int64_t row) const { return row / N * stride_t + row % N * stride_n; }
  __device__ ScaledFloat *states_at_middle(int direction, int32_t n) const {
    return middle_states + (static_cast<int64_t>(direction) * N + n) * 2 * S;
  }
};

/// Allocates consecutive parts of a buffer, each aligned to 128 bytes; given NULL, it only counts the bytes.
class BumpAllocator {
 public:
  explicit BumpAllocator(void *start) : start_(reinterpret_cast<uintptr_t>(start)), at_(align(start_)) {}
  template <class T>
  void allocate(T *&part, size_t count) {
    part = reinterpret_cast<T *>(at_);
    const uintptr_t end = at_ + count * sizeof(T);
    at_ = align(end);
#if defined(DS2_HOST_SHIM)
    at_ += kAlignment;
    if (start_) shim_poison(end, at_ - end);
#endif
  }
  size_t bytes() const { return at_ - start_ + kAlignment; }

 private:
  static constexpr uintptr_t kAlignment = 128;
  static uintptr_t align(uintptr_t at) { return (at + kAlignment - 1) / kAlignment * kAlignment; }
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

inline void allocate_header(Batch &b, BumpAllocator &from) {
  const size_t N = b.N;
  from.allocate(b.gradient_frames, N);
  from.allocate(b.num_symbols, N);
  from.allocate(b.symbols, N * b.U);
  from.allocate(b.stats, N * b.T);
}

inline size_t allocate_saved(Batch &b, void *saved) {
  BumpAllocator from(saved);
  allocate_header(b, from);
  from.allocate(b.occupancy, static_cast<size_t>(b.N) * b.T * b.U);
  return from.bytes();
}

/// keep: whether there is a `saved` buffer; otherwise the parts of it that forward needs are in the workspace.
inline size_t allocate_workspace(Batch &b, void *workspace, bool keep) {
  const size_t N = b.N, L = b.L, U = b.U, S = b.S, rows = N * b.T;
  BumpAllocator from(workspace);
  from.allocate(b.frames, N);
  from.allocate(b.slots, N * L);
  from.allocate(b.sorted_labels, N * L);
  from.allocate(b.symbol_starts, N * (U + 1));
  from.allocate(b.total_exponents, N);
  from.allocate(b.emissions, rows * U);
  from.allocate(b.middle_states, 4 * N * S);
  if (keep)
    from.allocate(b.cells, rows * S);
  else
    allocate_header(b, from);
  return from.bytes();
}

}  // namespace ds2
