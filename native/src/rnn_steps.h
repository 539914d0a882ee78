// One direction's walk through time, forward and backward. Each step is one product with its cell's arithmetic done on
// the tile while it is in registers or L1.
#pragma once
#include "rnn.h"
#include "rnn_cells.h"
#include "simd.h"

namespace {

using namespace ds2;

/// The operand a step leaves for the next one: a row of words for each row of the shard, twice, in turns. Rows that have
/// not begun yet, and the units past H, are zero.
struct Operand {
  float *start;
  ptrdiff_t rows, width;

  Operand(const RnnTask &task, float *start, int32_t gates)
      : start(start), rows(task.rows), width(gates * static_cast<ptrdiff_t>(pad(task.H)) / P) {
    memset(start, 0, static_cast<size_t>(2 * rows * width) * sizeof(float));
  }
  float *row(int32_t step, int32_t i) const { return start + ((step & 1) * rows + i) * width; }
};

/// The rows of a shard: their number at frame t, and where row i at frame t of an (M, width) array is.
struct Rows {
  const RnnTask &task;

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

  Step(const RnnTask &task, const Rows &rows, int32_t index, int32_t t) : index(index), t(t) {
    before = task.direction == 0 ? t - 1 : t + 1;
    active = rows.active(t);
    active_before = before < 0 || before >= task.T ? 0 : rows.active(before);
  }
};

/// Words of W units of a gate: out[word of k * stride][unit], from `rows` rows of H weights. A square at a time, so that
/// every line of the weights is read once.
DS2_INLINE void pack_panel(const float *weights, ptrdiff_t H, int rows, float *out, ptrdiff_t stride) {
  for (ptrdiff_t k = 0; k < H; k += kWidest) {
    const ptrdiff_t count = H - k < kWidest ? H - k : kWidest;
    float square[kWidest][W] = {};
    for (int row = 0; row < rows; ++row)
      for (ptrdiff_t i = 0; i < count; ++i) square[i][row] = weights[row * H + k + i];
    for (ptrdiff_t i = 0; i < count; i += P)
      store(out + (k + i) / P * stride, words(load(square[i]), load(square[i + P - 1])));
  }
}

/// Group g holds the units of its panels, gates that are multiplied together side by side:
/// packed[g][part][word of k][gate of part][panel of g][unit]. Groups lie end to end.
template <class Cell>
void pack_forward(const RnnTask &task, int32_t panels, int32_t groups) {
  const ptrdiff_t H = task.H;
  float *out = task.packed;
  for (int32_t g = 0; g < groups; ++g) {
    const ptrdiff_t begin = part_begin(g, panels, groups) * W, end = part_begin(g + 1, panels, groups) * W;
    const ptrdiff_t stride = Cell::together * (end - begin);
    for (ptrdiff_t part = 0; part < Cell::gates; part += Cell::together, out += words_of(H) * stride) {
      float *column = out;
      for (ptrdiff_t gate = part; gate < part + Cell::together; ++gate)
        for (ptrdiff_t j = begin; j < end; j += W, column += W)
          pack_panel(task.recurrent + (gate * H + j) * H, H, static_cast<int>(H - j < W ? H - j : W), column, stride);
    }
  }
}

template <class Cell>
void forward_tile(const RnnForward &f, const Rows &rows, const Operand &states, const Step &step, int32_t row,
                  int32_t count, int32_t panel, int32_t panels) {
  constexpr int G = Cell::gates;
  const ptrdiff_t H = f.H, first = static_cast<ptrdiff_t>(panel) * W, depth = words_of(H);
  const ptrdiff_t H_padded = static_cast<ptrdiff_t>(pad(f.H)), reserve_width = Cell::saved * H_padded;
  const int columns = Cell::together * panels;
  for (int32_t i = 0; i < count; ++i) {
    const float *x = f.gates + rows.at(step.t, row + i, G * H) + first;
    for (int c = 0; c < G * panels; ++c) __builtin_prefetch(x + (G == 1 ? c * W : c * H));
  }
  V sums[G / Cell::together][R * 3];
  const float *weights = f.packed + first * G * depth;
  for (auto &part : sums) {
    multiply_for(count, columns)(part, states.row(step.index - 1, row), states.width, 1, weights,
                                 step.index == 0 ? 0 : depth, false);
    weights += columns * W * depth;
  }
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < panels; ++c) {
      const ptrdiff_t unit = first + c * W;
      const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
      const float *projected = f.gates + rows.at(step.t, row + i, G * H) + unit;
      V x[G], u[G];
      for (int gate = 0; gate < G; ++gate) {
        x[gate] = load(projected + gate * H, lanes);
        u[gate] = sums[gate / Cell::together][i * columns + (G == 1 ? c : gate % Cell::together)];
      }
      const bool began = Cell::looks && row + i < step.active_before;
      const V last = began ? load(f.h + rows.at(step.before, row + i, H) + unit, lanes) : V{};
      float *memory = Cell::remembers ? f.memory + (row + i) * H_padded + unit : nullptr;
      float *saved = f.reserve ? f.reserve + rows.at(step.t, row + i, reserve_width) + unit * Cell::saved : nullptr;
      const V h = Cell::step(x, u, last, memory, saved);
      store(f.h + rows.at(step.t, row + i, H) + unit, h, lanes);
      narrow(states.row(step.index, row + i), unit, h);
    }
}

/// A direction remembers nothing before its first frame.
template <class Cell>
void forget(const RnnTask &task) {
  if (Cell::remembers) memset(task.memory, 0, static_cast<size_t>(task.rows) * pad(task.H) * sizeof(float));
}

template <class Cell>
void forward(const RnnForward &f) {
  const Rows rows{f};
  const Operand states(f, f.operand, 1);
  const int32_t panels = ceil_div(f.H, W), groups = ceil_div(panels, kUnits<Cell>);
  pack_forward<Cell>(f, panels, groups);
  forget<Cell>(f);
  for (int32_t index = 0; index < f.T; ++index) {
    const Step step(f, rows, index, f.direction == 0 ? index : f.T - 1 - index);
    const int32_t blocks = ceil_div(step.active, R);
    rows.clear_padding(f.h, step.t, f.H);
    for (int32_t g = 0; g < groups; ++g)
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t begin = part_begin(block, step.active, blocks), end = part_begin(block + 1, step.active, blocks);
        const int32_t panel = part_begin(g, panels, groups), columns = part_begin(g + 1, panels, groups) - panel;
        forward_tile<Cell>(f, rows, states, step, begin, end - begin, panel, columns);
      }
  }
}

/// Group g holds the units of its panels, a word for P units of a gate: packed[g][word of gate unit][unit]. Groups lie end
/// to end; every gate's units are padded as in a row of the operand.
template <class Cell>
void pack_backward(const RnnTask &task, int32_t panels, int32_t groups) {
  const ptrdiff_t H = task.H;
  float *out = task.packed;
  for (int32_t g = 0; g < groups; ++g) {
    const ptrdiff_t begin = part_begin(g, panels, groups) * W, end = part_begin(g + 1, panels, groups) * W;
    for (ptrdiff_t gate = 0; gate < Cell::gates; ++gate)
      for (ptrdiff_t k = 0; k < static_cast<ptrdiff_t>(pad(task.H)); k += P)
        for (ptrdiff_t j = begin; j < end; j += W, out += W) {
          const float *first = task.recurrent + (gate * H + k) * H + j;
          const int lanes = static_cast<int>(H - j);
          store(out, words(k < H ? load(first, lanes) : V{}, k + 1 < H ? load(first + H, lanes) : V{}));
        }
  }
}

/// What the frame after this one on the direction's way sends back, and from it this one's own gradients.
template <class Cell>
void backward_tile(const RnnBackward &b, const Rows &rows, const Operand &gradients, const Step &step, int32_t row,
                   int32_t count, int32_t panel, int32_t columns) {
  constexpr int G = Cell::gates;
  const ptrdiff_t H = b.H, H_padded = static_cast<ptrdiff_t>(pad(b.H)), first = static_cast<ptrdiff_t>(panel) * W;
  const ptrdiff_t reserve_width = Cell::saved * H_padded;
  const int32_t t = step.t;
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const float *saved = b.reserve + rows.at(t, row + i, reserve_width) + (first + c * W) * Cell::saved;
      for (int k = 0; k < Cell::saved; ++k) __builtin_prefetch(saved + k * W);
      __builtin_prefetch(b.dh + rows.at(t, row + i, H) + first + c * W);
    }
  V sums[R * 3];
  multiply_for(count, columns)(sums, gradients.row(step.index - 1, row), gradients.width, 1,
                               b.packed + first * gradients.width, step.index == 0 ? 0 : gradients.width, false);
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const ptrdiff_t unit = first + c * W;
      const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
      const bool began = row + i < step.active_before;
      const float *saved = b.reserve + rows.at(t, row + i, reserve_width) + unit * Cell::saved;
      const float *before = Cell::saved && began
                                ? b.reserve + rows.at(step.before, row + i, reserve_width) + unit * Cell::saved
                                : nullptr;
      const V h = Cell::saved ? V{} : load(b.h + rows.at(t, row + i, H) + unit, lanes);
      const V last = Cell::looks && began ? load(b.h + rows.at(step.before, row + i, H) + unit, lanes) : V{};
      float *memory = Cell::remembers ? b.memory + (row + i) * H_padded + unit : nullptr;
      const V dh = sums[i * columns + c] + load(b.dh + rows.at(t, row + i, H) + unit, lanes);
      V dx[G], du;
      Cell::gradient(dh, h, last, saved, before, memory, dx, &du);
      float *projected = b.dgates + rows.at(t, row + i, G * H) + unit;
      for (int gate = 0; gate < G; ++gate) store(projected + gate * H, dx[gate], lanes);
      if (Cell::apart) store(b.dapart + rows.at(t, row + i, H) + unit, du, lanes);
      float *operand = gradients.row(step.index, row + i);
      for (int gate = 0; gate < G; ++gate)
        narrow(operand, gate * H_padded + unit, Cell::apart && gate == G - 1 ? du : dx[gate]);
    }
}

template <class Cell>
void backward(const RnnBackward &b) {
  const Rows rows{b};
  const Operand gradients(b, b.operand, Cell::gates);
  const int32_t panels = ceil_div(b.H, W), groups = ceil_div(panels, 3);
  pack_backward<Cell>(b, panels, groups);
  forget<Cell>(b);
  for (int32_t index = 0; index < b.T; ++index) {
    const Step step(b, rows, index, b.direction == 0 ? b.T - 1 - index : index);
    const int32_t blocks = ceil_div(step.active, R);
    rows.clear_padding(b.dgates, step.t, Cell::gates * static_cast<ptrdiff_t>(b.H));
    for (int32_t g = 0; g < groups; ++g)
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t begin = part_begin(block, step.active, blocks), end = part_begin(block + 1, step.active, blocks);
        const int32_t panel = part_begin(g, panels, groups), columns = part_begin(g + 1, panels, groups) - panel;
        backward_tile<Cell>(b, rows, gradients, step, begin, end - begin, panel, columns);
      }
  }
}

}  // namespace
