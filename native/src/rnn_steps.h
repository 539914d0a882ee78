// The loop over time of one direction, forward and backward. Each step is one matrix product, tile by tile; the cell's
// arithmetic is applied to a tile while it is in registers or L1.
#pragma once
#include "rnn.h"
#include "rnn_cells.h"
#include "simd.h"

namespace {

using namespace ds2;

/// The operand of the products: a row of words per row of the shard, double-buffered because a step writes the operand
/// of the next. Rows that have not started yet, and units beyond H, are zero.
struct Operand {
  float *start;
  ptrdiff_t rows, width;

  Operand(const RnnTask &task, float *start, int32_t gates)
      : start(start), rows(task.rows), width(gates * static_cast<ptrdiff_t>(padded(task.H)) / P) {
    memset(start, 0, static_cast<size_t>(2 * rows * width) * sizeof(float));
  }
  float *row(int32_t step, int32_t i) const { return start + ((step & 1) * rows + i) * width; }
};

/// The rows of a shard: how many are active at frame t, and the offset of row i at frame t in an array (M, width).
struct ShardRows {
  const RnnTask &task;

  int32_t active(int32_t t) const {
    int32_t count = 0;
    for (int32_t n = task.shard; n < task.N && task.lengths[n] > t; n += task.shards) ++count;
    return count;
  }
  ptrdiff_t at(int32_t t, int32_t i, ptrdiff_t width) const {
    return (task.row_starts[t] + utterance(i)) * width;
  }
  /// The utterance of row i.
  ptrdiff_t utterance(int32_t i) const { return task.shard + static_cast<ptrdiff_t>(i) * task.shards; }
  void clear_padding(float *array, int32_t t, ptrdiff_t width) const {
    for (int32_t i = active(t); task.is_padded && i < task.rows; ++i)
      memset(array + at(t, i, width), 0, static_cast<size_t>(width) * sizeof(float));
  }
};

/// One frame in a direction's order. previous: the frame whose state is its input (the next one in time for direction
/// 1); active_previous: how many rows are active there.
struct Step {
  int32_t index, t, previous, active, active_previous;

  Step(const RnnTask &task, const ShardRows &rows, int32_t index, int32_t t) : index(index), t(t) {
    previous = task.direction == 0 ? t - 1 : t + 1;
    active = rows.active(t);
    active_previous = previous < 0 || previous >= task.T ? 0 : rows.active(previous);
  }
};

/// Pack W units of a gate, from `rows` rows of H weights: out[word of k * stride][unit]. Transposed in squares, so that
/// every cache line of the weights is read once.
DS2_INLINE void pack_panel(const float *weights, ptrdiff_t H, int rows, float *out, ptrdiff_t stride) {
  for (ptrdiff_t k = 0; k < H; k += kMaxLanes) {
    const ptrdiff_t count = H - k < kMaxLanes ? H - k : kMaxLanes;
    float square[kMaxLanes][W] = {};
    for (int row = 0; row < rows; ++row)
      for (ptrdiff_t i = 0; i < count; ++i) square[i][row] = weights[row * H + k + i];
    for (ptrdiff_t i = 0; i < count; i += P)
      store(out + (k + i) / P * stride, pack_words(load(square[i]), load(square[i + P - 1])));
  }
}

/// Pack the weights in groups of panels, with the gates of one product side by side:
/// packed[g][part][word of k][gate of part][panel of g][unit]. Groups are contiguous.
template <class Cell>
void pack_forward(const RnnTask &task, int32_t panels, int32_t groups) {
  const ptrdiff_t H = task.H;
  float *out = task.packed;
  for (int32_t g = 0; g < groups; ++g) {
    const ptrdiff_t begin = part_begin(g, panels, groups) * W, end = part_begin(g + 1, panels, groups) * W;
    const ptrdiff_t stride = Cell::gates_per_product * (end - begin);
    for (ptrdiff_t part = 0; part < Cell::gates; part += Cell::gates_per_product, out += word_count(H) * stride) {
      float *column = out;
      for (ptrdiff_t gate = part; gate < part + Cell::gates_per_product; ++gate)
        for (ptrdiff_t j = begin; j < end; j += W, column += W)
          pack_panel(task.recurrent + (gate * H + j) * H, H, static_cast<int>(H - j < W ? H - j : W), column, stride);
    }
  }
}

template <class Cell>
void forward_tile(const RnnForward &f, const ShardRows &rows, const Operand &states, const Step &step, int32_t row,
                  int32_t count, int32_t panel, int32_t panels) {
  constexpr int G = Cell::gates;
  const ptrdiff_t H = f.H, first = static_cast<ptrdiff_t>(panel) * W, depth = word_count(H);
  const ptrdiff_t H_padded = static_cast<ptrdiff_t>(padded(f.H)), reserve_width = Cell::saved * H_padded;
  const int columns = Cell::gates_per_product * panels;
  for (int32_t i = 0; i < count; ++i) {
    const float *x = f.gates + rows.at(step.t, row + i, G * H) + first;
    for (int c = 0; c < G * panels; ++c) __builtin_prefetch(x + (G == 1 ? c * W : c * H));
  }
  V sums[G / Cell::gates_per_product][R * 3];
  const float *weights = f.packed + first * G * depth;
  for (auto &part : sums) {
    select_multiply(count, columns)(part, states.row(step.index - 1, row), states.width, 1, weights,
                                 step.index == 0 && !f.start ? 0 : depth, false);
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
        u[gate] = sums[gate / Cell::gates_per_product][i * columns + (G == 1 ? c : gate % Cell::gates_per_product)];
      }
      V last = {};
      if (Cell::uses_last_h && row + i < step.active_previous)
        last = load(f.h + rows.at(step.previous, row + i, H) + unit, lanes);
      else if (Cell::uses_last_h && f.start)
        last = load(f.start + rows.utterance(row + i) * H + unit, lanes);
      float *carry = Cell::has_carry ? f.carry + (row + i) * H_padded + unit : nullptr;
      float *saved = f.reserve ? f.reserve + rows.at(step.t, row + i, reserve_width) + unit * Cell::saved : nullptr;
      const V h = Cell::step(x, u, last, carry, saved);
      store(f.h + rows.at(step.t, row + i, H) + unit, h, lanes);
      store_operand(states.row(step.index, row + i), unit, h);
    }
}

/// Before the first frame of a direction the carry is zero.
template <class Cell>
void clear_carry(const RnnTask &task) {
  if (Cell::has_carry) memset(task.carry, 0, static_cast<size_t>(task.rows) * padded(task.H) * sizeof(float));
}

/// Read the state before the first frame into the operand of the first step, and into the carry.
template <class Cell>
void read_start(const RnnForward &f, const ShardRows &rows, const Operand &states) {
  const ptrdiff_t H = f.H, H_padded = static_cast<ptrdiff_t>(padded(f.H));
  for (int32_t i = 0; i < f.rows; ++i) {
    const float *h = f.start + rows.utterance(i) * H, *c = h + f.N * H;
    for (ptrdiff_t unit = 0; unit < H; unit += W) {
      const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
      store_operand(states.row(-1, i), unit, load(h + unit, lanes));
      if (Cell::states == 2) store(f.carry + i * H_padded + unit, load(c + unit, lanes));
    }
  }
}

/// Write the state after the last frame of each row; where there is none, the one before the first.
template <class Cell>
void write_end(const RnnForward &f, const ShardRows &rows) {
  const ptrdiff_t H = f.H, H_padded = static_cast<ptrdiff_t>(padded(f.H));
  for (int32_t i = 0; i < f.rows; ++i) {
    const ptrdiff_t n = rows.utterance(i);
    const float *h = f.lengths[n] > 0 ? f.h + rows.at(f.lengths[n] - 1, i, H) : f.start ? f.start + n * H : nullptr;
    float *end = f.end + n * H;
    if (!h)
      memset(end, 0, static_cast<size_t>(H) * sizeof(float));
    else if (h != end)
      memcpy(end, h, static_cast<size_t>(H) * sizeof(float));
    if (Cell::states == 2) memcpy(end + f.N * H, f.carry + i * H_padded, static_cast<size_t>(H) * sizeof(float));
  }
}

template <class Cell>
void forward(const RnnForward &f) {
  const ShardRows rows{f};
  const Operand states(f, f.operand, 1);
  const int32_t panels = ceil_div(f.H, W), groups = ceil_div(panels, kTileVectors<Cell>);
  pack_forward<Cell>(f, panels, groups);
  clear_carry<Cell>(f);
  if (f.start) read_start<Cell>(f, rows, states);
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
  if (f.end) write_end<Cell>(f, rows);
}

/// Pack the transposed weights in groups of panels, one word per P units of a gate: packed[g][word of gate unit][unit].
/// Groups are contiguous; the units of each gate are padded as in a row of the operand.
template <class Cell>
void pack_backward(const RnnTask &task, int32_t panels, int32_t groups) {
  const ptrdiff_t H = task.H;
  float *out = task.packed;
  for (int32_t g = 0; g < groups; ++g) {
    const ptrdiff_t begin = part_begin(g, panels, groups) * W, end = part_begin(g + 1, panels, groups) * W;
    for (ptrdiff_t gate = 0; gate < Cell::gates; ++gate)
      for (ptrdiff_t k = 0; k < static_cast<ptrdiff_t>(padded(task.H)); k += P)
        for (ptrdiff_t j = begin; j < end; j += W, out += W) {
          const float *first = task.recurrent + (gate * H + k) * H + j;
          const int lanes = static_cast<int>(H - j);
          store(out, pack_words(k < H ? load(first, lanes) : V{}, k + 1 < H ? load(first + H, lanes) : V{}));
        }
  }
}

/// Add the gradient that comes back from the following step to dh, and compute the gradients of this frame's gates.
template <class Cell>
void backward_tile(const RnnBackward &b, const ShardRows &rows, const Operand &gradients, const Step &step, int32_t row,
                   int32_t count, int32_t panel, int32_t columns) {
  constexpr int G = Cell::gates;
  const ptrdiff_t H = b.H, H_padded = static_cast<ptrdiff_t>(padded(b.H)), first = static_cast<ptrdiff_t>(panel) * W;
  const ptrdiff_t reserve_width = Cell::saved * H_padded;
  const int32_t t = step.t;
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const float *saved = b.reserve + rows.at(t, row + i, reserve_width) + (first + c * W) * Cell::saved;
      for (int k = 0; k < Cell::saved; ++k) __builtin_prefetch(saved + k * W);
      __builtin_prefetch(b.dh + rows.at(t, row + i, H) + first + c * W);
    }
  V sums[R * 3];
  select_multiply(count, columns)(sums, gradients.row(step.index - 1, row), gradients.width, 1,
                               b.packed + first * gradients.width, step.index == 0 ? 0 : gradients.width, false);
  for (int32_t i = 0; i < count; ++i)
    for (int32_t c = 0; c < columns; ++c) {
      const ptrdiff_t unit = first + c * W;
      const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
      const bool has_previous = row + i < step.active_previous;
      const float *saved = b.reserve + rows.at(t, row + i, reserve_width) + unit * Cell::saved;
      const float *previous = Cell::saved && has_previous
                                ? b.reserve + rows.at(step.previous, row + i, reserve_width) + unit * Cell::saved
                                : nullptr;
      const V h = Cell::saved ? V{} : load(b.h + rows.at(t, row + i, H) + unit, lanes);
      const bool reads_last = Cell::uses_last_h && has_previous;
      const V last = reads_last ? load(b.h + rows.at(step.previous, row + i, H) + unit, lanes) : V{};
      float *carry = Cell::has_carry ? b.carry + (row + i) * H_padded + unit : nullptr;
      const V dh = sums[i * columns + c] + load(b.dh + rows.at(t, row + i, H) + unit, lanes);
      V dx[G], du;
      Cell::gradient(dh, h, last, saved, previous, carry, dx, &du);
      float *projected = b.dgates + rows.at(t, row + i, G * H) + unit;
      for (int gate = 0; gate < G; ++gate) store(projected + gate * H, dx[gate], lanes);
      if (Cell::separate_du) store(b.du_last + rows.at(t, row + i, H) + unit, du, lanes);
      float *operand = gradients.row(step.index, row + i);
      for (int gate = 0; gate < G; ++gate)
        store_operand(operand, gate * H_padded + unit, Cell::separate_du && gate == G - 1 ? du : dx[gate]);
    }
}

template <class Cell>
void backward(const RnnBackward &b) {
  const ShardRows rows{b};
  const Operand gradients(b, b.operand, Cell::gates);
  const int32_t panels = ceil_div(b.H, W), groups = ceil_div(panels, 3);
  pack_backward<Cell>(b, panels, groups);
  clear_carry<Cell>(b);
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
