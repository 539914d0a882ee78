// Compiled once per instruction set; the build defines DS2_ISA, DS2_WIDTH, DS2_ROWS and DS2_PREFETCH.
#include "matrix_tiles.h"
#include "rnn_cells.h"

namespace {

/// Write the weights, or for int8 the integers weight / scale, group after group and step after step.
template <class Format>
void pack_groups(const Matrix &m, const float *weights, const float *scales, char *out) {
  const ptrdiff_t J = m.J, K = m.K;
  for (ptrdiff_t group = 0; group < J; group += kGroup)
    for (ptrdiff_t k = 0; k < K; k += Format::terms, out += Format::step_bytes) {
      float values[Format::terms][kGroup] = {};
      for (ptrdiff_t j = group; j < J && j < group + kGroup; ++j)
        for (ptrdiff_t term = 0; term < Format::terms && k + term < K; ++term) {
          const float weight = weights[j * K + k + term];
          const bool is_valid = !scales || scales[j] > 0;  // not a row of zeros, nor with a NaN
          values[term][j - group] = !is_valid ? 0.0f : scales ? __builtin_rintf(weight / scales[j]) : weight;
        }
      Format::store_step(out, values);
    }
}

void pack(const Matrix &m, const float *weights) {
  char *const packed = static_cast<char *>(m.packed);
  if (m.format == DS2_WEIGHTS_FLOAT32) return pack_groups<Float32>(m, weights, nullptr, packed);
  if (m.format == DS2_WEIGHTS_BFLOAT16) return pack_groups<Bfloat16>(m, weights, nullptr, packed);
  float *const scales = static_cast<float *>(m.packed);
  const size_t width = padded_outputs(m.J);
  for (size_t j = 0; j < width; ++j)
    scales[j] = j < static_cast<size_t>(m.J) ? weight_scale(weights + j * m.K, m.K) : 0.0f;
  pack_groups<Int8>(m, weights, scales, packed + width * sizeof(float));
}

/// Add the bias and apply the activation. Not inlined, so that products are rounded before the bias is added, whether
/// or not the processor has a fused instruction.
__attribute__((noinline)) void add_bias(float *y, const float *bias, int32_t J, bool clip) {
  for (int32_t j = 0; j < J; j += W) {
    V sum = load(y + j, J - j);
    if (bias) sum += load(bias + j, J - j);
    store(y + j, clip ? ClippedRelu::value(sum) : sum, J - j);
  }
}

void apply(const MatrixApply &a) {
  const ptrdiff_t J = a.J;
  for (int32_t begin = 0; begin < a.M; begin += kBlockRows) {
    const int32_t rows = a.M - begin < kBlockRows ? a.M - begin : kBlockRows;
    multiply_any(a, rows, a.x + begin, a.workspace, a.y + begin * J, J);
    for (int32_t i = begin; (a.bias || a.clip) && i < begin + rows; ++i) add_bias(a.y + i * J, a.bias, a.J, a.clip);
  }
}

/// One frame of a stream: from the products u[g*H + j] and the projections x[g*H + j] to the next state and h.
template <class Cell>
__attribute__((noinline)) void advance_stream(int32_t H, const float *x, const float *u, float *state, float *h) {
  for (ptrdiff_t j = 0; j < H; j += W) {
    const int lanes = static_cast<int>(H - j < W ? H - j : W);
    V projected[Cell::gates], products[Cell::gates];
    for (ptrdiff_t gate = 0; gate < Cell::gates; ++gate) {
      projected[gate] = load(x + gate * H + j, lanes);
      products[gate] = load(u + gate * H + j, lanes);
    }
    float carry[W];
    if (Cell::states == 2) store(carry, load(state + H + j, lanes));
    const V next = Cell::step(projected, products, load(state + j, lanes), carry, nullptr);
    store(state + j, next, lanes);
    store(h + j, next, lanes);
    if (Cell::states == 2) store(state + H + j, load(carry), lanes);
  }
}

template <class Cell>
void advance(const MatrixAdvance &a) {
  const ptrdiff_t H = a.K, stride = static_cast<ptrdiff_t>(padded_outputs(a.J));
  float *const products = reinterpret_cast<float *>(static_cast<int16_t *>(a.workspace) + a.N * padded_inputs(a.K));
  int32_t streams[kBlockRows], active = 0;
  for (int32_t n = 0; n < a.N; ++n) streams[active++] = n;
  for (int32_t t = 0;; ++t) {
    const int32_t before = active;
    const float *states[kBlockRows];
    active = 0;
    for (int32_t i = 0; i < before; ++i)
      if (a.lengths[streams[i]] > t) states[active] = a.state[streams[i]], streams[active++] = streams[i];
    if (active == 0) return;
    multiply_any(a, active, states, a.workspace, products, stride);
    for (int32_t i = 0; i < active; ++i) {
      const int32_t n = streams[i];
      advance_stream<Cell>(a.K, a.gates[n] + t * Cell::gates * H, products + i * stride, a.state[n], a.h[n] + t * H);
    }
  }
}

/// Each sum in the order of the taps.
void row_conv(const RowConv &c) {
  const ptrdiff_t H = c.H;
  for (int32_t m = 0; m < c.M; ++m)
    for (ptrdiff_t unit = 0; unit < H; unit += W) {
      const int lanes = static_cast<int>(H - unit < W ? H - unit : W);
      V sum = {};
      for (ptrdiff_t tap = 0; tap < c.taps; ++tap)
        sum += load(c.frames + (m + tap) * H + unit, lanes) * load(c.weights + tap * H + unit, lanes);
      store(c.y + m * H + unit, sum, lanes);
    }
}

}  // namespace

const ds2::MatrixKernels &ds2::DS2_ISA::matrix_kernels() {
  // in the order of ds2_cell
  static const MatrixKernels kernels = {pack,
                                        apply,
                                        {advance<Gru<Tanh>>, advance<Gru<ClippedRelu>>, advance<Simple<Tanh>>,
                                         advance<Simple<ClippedRelu>>, advance<Lstm>},
                                        row_conv};
  return kernels;
}
