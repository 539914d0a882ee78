// One direction's walk through time, forward and backward. Each step is one product with its gate arithmetic done on
// the tile while it is in registers or L1.
#pragma once
#include "gru.h"
#include "simd.h"

namespace {

using namespace ds2;

/// The operand a step leaves for the next one: a row of words for each row of the shard, twice, in turns. Rows that have
/// not begun yet, and the units past H, are zero.
struct Operand {
  float *start;
  ptrdiff_t rows, width;

  Operand(const GruTask &task, float *start, int32_t gates)
      : start(start), rows(task.rows), width(gates * static_cast<ptrdiff_t>(padded(task.H)) / P) {
    memset(start, 0, static_cast<size_t>(2 * rows * width) * sizeof(float));
  }
  float *row(int32_t step, int32_t i) const { return start + ((step & 1) * rows + i) * width; }
};

/// The rows of a shard: their number at frame t, and where row i of a (T, N, width) array is.
struct Rows {
  const GruTask &task;

  int32_t active(int32_t t) const {
    int32_t count = 0;
    for (int32_t n = task.shard; n < task.N && task.lengths[n] > t; n += task.shards) ++count;
    return count;
  }
  ptrdiff_t at(int32_t t, int32_t i, ptrdiff_t width) const {
    return (static_cast<ptrdiff_t>(t) * task.N + task.shard + static_cast<ptrdiff_t>(i) * task.shards) * width;
  }
  ptrdiff_t stride(ptrdiff_t width) const { return task.shards * width; }

  void zero_padding(float *array, int32_t t, ptrdiff_t width) const {
    for (int32_t n = task.shard; n < task.N; n += task.shards)
      if (task.lengths[n] <= t)
        memset(array + (static_cast<ptrdiff_t>(t) * task.N + n) * width, 0, static_cast<size_t>(width) * sizeof(float));
  }
};

/// Panel p holds units p*W.. of the three gates side by side: packed[p][word of k][gate][unit].
void pack_forward(const GruTask &task) {
  const ptrdiff_t H = task.H;
  float *out = task.packed;
  for (ptrdiff_t j = 0; j < H; j += W)
    for (ptrdiff_t k = 0; k < H; k += P)
      for (ptrdiff_t gate = 0; gate < 3; ++gate, out += W) {
        const float *first = task.recurrent + (gate * H + j) * H + k;
        const int lanes = static_cast<int>(H - j);
        store(out, words(load_strided(first, H, lanes), k + 1 < H ? load_strided(first + 1, H, lanes) : V{}));
      }
}

void forward_tile(const GruForward &f, const Rows &rows, const Operand &states, int32_t step, int32_t t,
                  int32_t previous, int32_t row, int32_t count, int32_t panel) {
  const ptrdiff_t H = f.H, unit = static_cast<ptrdiff_t>(panel) * W, reserve_width = 4 * padded(f.H);
  const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
  for (int32_t i = 0; i < count; ++i) {
    const float *x = f.gates + rows.at(t, row + i, 3 * H) + unit;
    for (int gate = 0; gate < 3; ++gate) __builtin_prefetch(x + gate * H);
  }
  V sums[R * 3] = {};
  if (previous >= 0)
    multiply_for(count, 3)(sums, states.row(step - 1, row), states.width, 1, f.packed + unit * 3 * words_of(H),
                           words_of(H));
  for (int32_t i = 0; i < count; ++i) {
    const float *x = f.gates + rows.at(t, row + i, 3 * H) + unit;
    const V last = previous < 0 ? V{} : load(f.h + rows.at(previous, row + i, H) + unit, lanes);
    V r = load(x, lanes) + sums[i * 3], z = load(x + H, lanes) + sums[i * 3 + 1];
    sigmoids(r, z);
    const V u = sums[i * 3 + 2];
    const V n = tanh(load(x + 2 * H, lanes) + r * u);
    const V h = n + z * (last - n);
    store(f.h + rows.at(t, row + i, H) + unit, h, lanes);
    narrow(states.row(step, row + i), unit, h);
    if (!f.reserve) continue;
    float *saved = f.reserve + rows.at(t, row + i, reserve_width) + unit * 4;
    store(saved, r);
    store(saved + W, z);
    store(saved + 2 * W, n);
    store(saved + 3 * W, u);
  }
}

void forward(const GruForward &f) {
  const Rows rows{f};
  const Operand states(f, f.operand, 1);
  const int32_t panels = ceil_div(f.H, W);
  pack_forward(f);
  for (int32_t step = 0; step < f.T; ++step) {
    const int32_t t = f.direction == 0 ? step : f.T - 1 - step;
    const int32_t previous = step == 0 ? -1 : f.direction == 0 ? t - 1 : t + 1;
    const int32_t active = rows.active(t), blocks = ceil_div(active, R);
    rows.zero_padding(f.h, t, f.H);
    for (int32_t panel = 0; panel < panels; ++panel)
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t begin = part_begin(block, active, blocks), end = part_begin(block + 1, active, blocks);
        forward_tile(f, rows, states, step, t, previous, begin, end - begin, panel);
      }
  }
}

/// Group g holds the units of its panels, a word for P units of a gate: packed[g][word of gate unit][unit]. Groups lie end
/// to end; every gate's units are padded as in a row of the operand.
void pack_backward(const GruTask &task, int32_t panels, int32_t groups) {
  const ptrdiff_t H = task.H;
  float *out = task.packed;
  for (int32_t g = 0; g < groups; ++g) {
    const ptrdiff_t begin = part_begin(g, panels, groups) * W, end = part_begin(g + 1, panels, groups) * W;
    for (ptrdiff_t gate = 0; gate < 3; ++gate)
      for (ptrdiff_t k = 0; k < static_cast<ptrdiff_t>(padded(task.H)); k += P)
        for (ptrdiff_t j = begin; j < end; j += W, out += W) {
          const float *first = task.recurrent + (gate * H + k) * H + j;
          const int lanes = static_cast<int>(H - j);
          store(out, words(k < H ? load(first, lanes) : V{}, k + 1 < H ? load(first + H, lanes) : V{}));
        }
  }
}

/// What the frame after t on this direction's way sends back, and from it t's own gradients.
void backward_tile(const GruBackward &b, const Rows &rows, const Operand &gradients, int32_t step, int32_t t,
                   int32_t previous, int32_t row, int32_t count, int32_t panel, int32_t columns) {
  const ptrdiff_t H = b.H, first = static_cast<ptrdiff_t>(panel) * W, reserve_width = 4 * padded(b.H);
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const float *saved = b.reserve + rows.at(t, row + i, reserve_width) + (first + c * W) * 4;
      for (int gate = 0; gate < 4; ++gate) __builtin_prefetch(saved + gate * W);
      __builtin_prefetch(b.dh + rows.at(t, row + i, H) + first + c * W);
    }
  V sums[R * 3] = {};
  if (step > 0)
    multiply_for(count, columns)(sums, gradients.row(step - 1, row), gradients.width, 1,
                                 b.packed + first * gradients.width, gradients.width);
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const ptrdiff_t unit = first + c * W;
      const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
      const float *saved = b.reserve + rows.at(t, row + i, reserve_width) + unit * 4;
      const V r = load(saved), z = load(saved + W), n = load(saved + 2 * W), u = load(saved + 3 * W);
      const V last = load((previous < 0 ? b.zeros : b.h + rows.at(previous, row + i, H)) + unit, lanes);
      float *carry = b.carry + (row + i) * padded(b.H) + unit;
      const V dh = sums[i * columns + c] + load(b.dh + rows.at(t, row + i, H) + unit, lanes) + load(carry);
      const V dn = dh * (1.0f - z) * (1.0f - n * n);
      store(carry, dh * z);
      const V dr = dn * u * r * (1.0f - r), dz = dh * (last - n) * z * (1.0f - z), du = dn * r;
      float *dx = b.dgates + rows.at(t, row + i, 3 * H) + unit;
      store(dx, dr, lanes);
      store(dx + H, dz, lanes);
      store(dx + 2 * H, dn, lanes);
      store(b.dcandidate + rows.at(t, row + i, H) + unit, du, lanes);
      float *operand = gradients.row(step, row + i);
      narrow(operand, unit, dr);
      narrow(operand, padded(b.H) + unit, dz);
      narrow(operand, 2 * padded(b.H) + unit, du);
    }
}

void backward(const GruBackward &b) {
  const Rows rows{b};
  const int32_t panels = ceil_div(b.H, W), groups = ceil_div(panels, 3);
  const Operand gradients(b, b.operand, 3);
  pack_backward(b, panels, groups);
  memset(b.carry, 0, static_cast<size_t>(b.rows) * padded(b.H) * sizeof(float));
  for (int32_t step = 0; step < b.T; ++step) {
    const int32_t t = b.direction == 0 ? b.T - 1 - step : step;
    const int32_t previous = step == b.T - 1 ? -1 : b.direction == 0 ? t - 1 : t + 1;
    const int32_t active = rows.active(t), blocks = ceil_div(active, R);
    rows.zero_padding(b.dgates, t, 3 * static_cast<ptrdiff_t>(b.H));
    for (int32_t g = 0; g < groups; ++g)
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t begin = part_begin(block, active, blocks), end = part_begin(block + 1, active, blocks);
        const int32_t panel = part_begin(g, panels, groups);
        const int32_t columns = part_begin(g + 1, panels, groups) - panel;
        backward_tile(b, rows, gradients, step, t, previous, begin, end - begin, panel, columns);
      }
  }
}

}  // namespace
