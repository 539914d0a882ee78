// The trellis of labels too long for registers: the same steps, a block to a direction, from one row of states in
// memory to another.
#pragma once
#include "chain.h"

namespace ds2 {

constexpr int kLongThreads = 512;

/// What `trellis` does, for labels of any length.
template <bool kSecond>
__global__ void __launch_bounds__(kLongThreads) long_trellis(const Batch b) {
  const Chain chain(b, blockIdx.x, kSecond);
  if (!chain.live) return;
  const int32_t *places = b.places + static_cast<int64_t>(chain.n) * b.L;
  const int32_t scale = kSecond ? b.scales[chain.n] : 0;
  Value *const states = b.stopped(chain.reverse, chain.n);
  // the states before each step, in turns such that the last are where the other kernels look for them
  const auto turn = [&](int32_t step) { return states + (chain.end - step) % 2 * b.S; };

  for (int32_t i = threadIdx.x; i <= chain.L; i += kLongThreads) {
    Value *to = turn(chain.begin);
    to[chain.blank_at(i)] = kSecond ? states[chain.blank_at(i)] : i == 0 ? Value{1, 0} : none();
    if (i > 0) to[chain.label_at(i)] = kSecond ? states[chain.label_at(i)] : none();
  }
  __syncthreads();
  for (int32_t step = chain.begin; step < chain.end; ++step) {
    const int64_t row = static_cast<int64_t>(chain.frame(step)) * b.N + chain.n;
    const Value *from = turn(step), *q = b.emissions + row * b.U;
    Value *to = turn(step + 1), *cells = b.cells + row * b.S;
    const auto settle_in = [&](int32_t at, Value sum, Value q) {
      const Value mine = times(sum, q);
      if (kSecond)
        cells[at].m = share(mine, cells[at], scale);
      else if (b.cells)
        cells[at] = sum;
      to[at] = settle(mine);
    };
    for (int32_t i = threadIdx.x; i <= chain.L; i += kLongThreads) {
      const Value blank = from[chain.blank_at(i)], label = i > 0 ? from[chain.label_at(i)] : none();
      settle_in(chain.blank_at(i), add(blank, label), q[0]);
      if (i == 0) continue;
      const int32_t place = places[chain.label(i)];
      Value way = from[chain.blank_at(i - 1)];
      if (i > 1 && places[chain.label(i - 1)] != place) way = add(way, from[chain.label_at(i - 1)]);
      settle_in(chain.label_at(i), add(label, way), q[place]);
    }
    __syncthreads();
  }
}

}  // namespace ds2
