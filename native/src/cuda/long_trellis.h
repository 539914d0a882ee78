// The trellis for label sequences too long for registers: the same steps, one block per direction, with the states of a
// frame in memory.
#pragma once
#include "half_pass.h"

namespace ds2 {

constexpr int kLongThreads = 512;

/// Does the work of `trellis` for label sequences of any length.
template <bool kSecondHalf>
__global__ void __launch_bounds__(kLongThreads) long_trellis(const Batch b) {
  const HalfPass pass(b, blockIdx.x, kSecondHalf);
  if (!pass.active) return;
  const int32_t *slots = b.slots + static_cast<int64_t>(pass.n) * b.L;
  const int32_t total_exponent = kSecondHalf ? b.total_exponents[pass.n] : 0;
  ScaledFloat *const states = b.states_at_middle(pass.reverse, pass.n);
  // states before each step, double-buffered such that the final ones are where the other kernels expect them
  const auto buffer_at = [&](int32_t step) { return states + (pass.end - step) % 2 * b.S; };

  for (int32_t i = threadIdx.x; i <= pass.L; i += kLongThreads) {
    ScaledFloat *to = buffer_at(pass.begin);
    to[pass.blank_at(i)] = kSecondHalf ? states[pass.blank_at(i)] : i == 0 ? ScaledFloat{1, 0} : zero();
    if (i > 0) to[pass.label_at(i)] = kSecondHalf ? states[pass.label_at(i)] : zero();
  }
  __syncthreads();
  for (int32_t step = pass.begin; step < pass.end; ++step) {
    const int64_t row = static_cast<int64_t>(pass.frame(step)) * b.N + pass.n;
    const ScaledFloat *from = buffer_at(step), *q = b.emissions + row * b.U;
    ScaledFloat *to = buffer_at(step + 1), *cells = b.cells + row * b.S;
    const auto update_state = [&](int32_t at, ScaledFloat sum, ScaledFloat q) {
      const ScaledFloat own = multiply(sum, q);
      if (kSecondHalf)
        cells[at].m = state_occupancy(own, cells[at], total_exponent);
      else if (b.cells)
        cells[at] = sum;
      to[at] = normalize(own);
    };
    for (int32_t i = threadIdx.x; i <= pass.L; i += kLongThreads) {
      const ScaledFloat blank = from[pass.blank_at(i)], label = i > 0 ? from[pass.label_at(i)] : zero();
      update_state(pass.blank_at(i), add(blank, label), q[0]);
      if (i == 0) continue;
      const int32_t slot = slots[pass.label(i)];
      ScaledFloat from_previous = from[pass.blank_at(i - 1)];
      if (i > 1 && slots[pass.label(i - 1)] != slot) from_previous = add(from_previous, from[pass.label_at(i - 1)]);
      update_state(pass.label_at(i), add(label, from_previous), q[slot]);
    }
    __syncthreads();
  }
}

}  // namespace ds2
