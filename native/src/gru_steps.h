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
      : start(start), rows(task.rows), width(gates * static_cast<ptrdiff_t>(pad(task.H)) / P) {
    memset(start, 0, static_cast<size_t>(2 * rows * width) * sizeof(float));
  }
  float *row(int32_t step, int32_t i) const { return start + ((step & 1) * rows + i) * width; }
};

/// The rows of a shard: their number at frame t, and where row i at frame t of an (M, width) array is.
struct Rows {
  const GruTask &task;

  int32_t active(int32_t t) const {
    int32_t count = 0;
    for (int32_t n = task.shard; n < task.N && task.lengths[n] > t; n += task.shards) ++count;
    return count;
  }
  ptrdiff_t at(int32_t t, int32_t i, ptrdiff_t width) const {
    return (task.starts[t] + task.shard + static_cast<ptrdiff_t>(i) * task.shards) * width;
  }
  void clear_padding(float *array, int32_t t, ptrdiff_t width) const {
    for (int32_t i = active(t); task.padded && i < task.rows; ++i)
      memset(array + at(t, i, width), 0, static_cast<size_t>(width) * sizeof(float));
  }
};

/// A frame on a direction's way. before: the frame whose state goes into it, and how many rows have one there.
struct Step {
  int32_t index, t, before, active, active_before;

  Step(const GruTask &task, const Rows &rows, int32_t index, int32_t t) : index(index), t(t) {
    before = task.direction == 0 ? t - 1 : t + 1;
    active = rows.active(t);
    active_before = before < 0 || before >= task.T ? 0 : rows.active(before);
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

void forward_tile(const GruForward &f, const Rows &rows, const Operand &states, const Step &step, int32_t row,
                  int32_t count, int32_t panel) {
  const ptrdiff_t H = f.H, unit = static_cast<ptrdiff_t>(panel) * W, reserve_width = 4 * pad(f.H);
  const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
  for (int32_t i = 0; i < count; ++i) {
    const float *x = f.gates + rows.at(step.t, row + i, 3 * H) + unit;
    for (int gate = 0; gate < 3; ++gate) __builtin_prefetch(x + gate * H);
  }
  V sums[R * 3];
  multiply_for(count, 3)(sums, states.row(step.index - 1, row), states.width, 1, f.packed + unit * 3 * words_of(H),
                         step.index == 0 ? 0 : words_of(H), false);
  for (int32_t i = 0; i < count; ++i) {
    const float *x = f.gates + rows.at(step.t, row + i, 3 * H) + unit;
    const V last = row + i < step.active_before ? load(f.h + rows.at(step.before, row + i, H) + unit, lanes) : V{};
    V r = load(x, lanes) + sums[i * 3], z = load(x + H, lanes) + sums[i * 3 + 1];
    sigmoids(r, z);
    const V u = sums[i * 3 + 2];
    const V n = tanh(load(x + 2 * H, lanes) + r * u);
    const V h = n + z * (last - n);
    store(f.h + rows.at(step.t, row + i, H) + unit, h, lanes);
    narrow(states.row(step.index, row + i), unit, h);
    if (!f.reserve) continue;
    float *saved = f.reserve + rows.at(step.t, row + i, reserve_width) + unit * 4;
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
  for (int32_t index = 0; index < f.T; ++index) {
    const Step step(f, rows, index, f.direction == 0 ? index : f.T - 1 - index);
    const int32_t blocks = ceil_div(step.active, R);
    rows.clear_padding(f.h, step.t, f.H);
    for (int32_t panel = 0; panel < panels; ++panel)
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t begin = part_begin(block, step.active, blocks), end = part_begin(block + 1, step.active, blocks);
        forward_tile(f, rows, states, step, begin, end - begin, panel);
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
      for (ptrdiff_t k = 0; k < static_cast<ptrdiff_t>(pad(task.H)); k += P)
        for (ptrdiff_t j = begin; j < end; j += W, out += W) {
          const float *first = task.recurrent + (gate * H + k) * H + j;
          const int lanes = static_cast<int>(H - j);
          store(out, words(k < H ? load(first, lanes) : V{}, k + 1 < H ? load(first + H, lanes) : V{}));
        }
  }
}

/// What the frame after this one on the direction's way sends back, and from it this one's own gradients.
void backward_tile(const GruBackward &b, const Rows &rows, const Operand &gradients, const Step &step, int32_t row,
                   int32_t count, int32_t panel, int32_t columns) {
  const ptrdiff_t H = b.H, H_padded = static_cast<ptrdiff_t>(pad(b.H)), first = static_cast<ptrdiff_t>(panel) * W;
  const int32_t t = step.t;
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const float *saved = b.reserve + rows.at(t, row + i, 4 * H_padded) + (first + c * W) * 4;
      for (int gate = 0; gate < 4; ++gate) __builtin_prefetch(saved + gate * W);
      __builtin_prefetch(b.dh + rows.at(t, row + i, H) + first + c * W);
    }
  V sums[R * 3];
  multiply_for(count, columns)(sums, gradients.row(step.index - 1, row), gradients.width, 1,
                               b.packed + first * gradients.width, step.index == 0 ? 0 : gradients.width, false);
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const ptrdiff_t unit = first + c * W;
      const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
      const float *saved = b.reserve + rows.at(t, row + i, 4 * H_padded) + unit * 4;
      const V r = load(saved), z = load(saved + W), n = load(saved + 2 * W), u = load(saved + 3 * W);
      const V last = row + i < step.active_before ? load(b.h + rows.at(step.before, row + i, H) + unit, lanes) : V{};
      float *carry = b.carry + (row + i) * H_padded + unit;
      const V dh = sums[i * columns + c] + load(b.dh + rows.at(t, row + i, H) + unit, lanes) + load(carry);
      const V dn = dh * (1.0f - z) * (1.0f - n * n);
      store(carry, dh * z);
      const V dr = dn * u * r * (1.0f - r), dz = dh * (last - n) * z * (1.0f - z), du = dn * r;
      float *dx = b.dgates + rows.at(t, row + i, 3 * H) + unit;
      store(dx, dr, lanes);
      store(dx + H, dz, lanes);
      store(dx + 2 * H, dn, lanes);
      store(b.dcandidate + rows.at(t, row + i, H) + unit, du, lanes);
      float *operand = gradients.row(step.index, row + i);
      narrow(operand, unit, dr);
      narrow(operand, H_padded + unit, dz);
      narrow(operand, 2 * H_padded + unit, du);
    }
}

void backward(const GruBackward &b) {
  const Rows rows{b};
  const Operand gradients(b, b.operand, 3);
  const int32_t panels = ceil_div(b.H, W), groups = ceil_div(panels, 3);
  pack_backward(b, panels, groups);
  memset(b.carry, 0, static_cast<size_t>(b.rows) * pad(b.H) * sizeof(float));
  for (int32_t index = 0; index < b.T; ++index) {
    const Step step(b, rows, index, b.direction == 0 ? b.T - 1 - index : index);
    const int32_t blocks = ceil_div(step.active, R);
    rows.clear_padding(b.dgates, step.t, 3 * static_cast<ptrdiff_t>(b.H));
    for (int32_t g = 0; g < groups; ++g)
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t begin = part_begin(block, step.active, blocks), end = part_begin(block + 1, step.active, blocks);
        const int32_t panel = part_begin(g, panels, groups), columns = part_begin(g + 1, panels, groups) - panel;
        backward_tile(b, rows, gradients, step, begin, end - begin, panel, columns);
      }
  }
}

}  // namespace
