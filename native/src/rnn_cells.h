// The cells: the step from projections x and products u = U h to the next state, and its gradient, for W units at a
// time. The formulas are in native/include/ds2_native.h.
//
// Each cell is a policy class:
//   gates              projections per unit
//   gates_per_product  gates computed by one call of `multiply` as columns of a tile (several units if gates = 1)
//   saved              values per unit that forward saves for backward, besides h
//   states             values per unit that one frame passes to the next: h, and the c of an LSTM
//   has_carry          whether a second value per unit is carried from frame to frame, in forward and in backward
//   separate_du        whether the gradient of the last gate's u differs from that of its x
//   uses_last_h        whether the last state is read directly, not only through u
#pragma once
#include "ds2_native.h"
#include "simd.h"

namespace {

/// A nonlinearity: its value, and its gradient given the upstream gradient d and the value y.
struct Tanh {
  DS2_INLINE_MEMBER static V value(V x) { return tanh(x); }
  DS2_INLINE_MEMBER static V gradient(V d, V y) { return d * (1.0f - y * y); }
};

/// The paper's clipped ReLU, min(max(x, 0), 20), with gradient zero at both ends. NaN is propagated.
struct ClippedRelu {
  DS2_INLINE_MEMBER static V value(V x) {
    const V low = {}, high = low + DS2_CLIP;
    x = x < low ? low : x;
    return x > high ? high : x;
  }
  DS2_INLINE_MEMBER static V gradient(V d, V y) {
    const V low = {}, high = low + DS2_CLIP;
    d = y <= low ? low : d;
    return y >= high ? low : d;
  }
};

template <class F>
struct Simple {
  static constexpr int gates = 1, gates_per_product = 1, saved = 0, states = 1;
  static constexpr bool has_carry = false, separate_du = false, uses_last_h = false;

  DS2_INLINE_MEMBER static V step(const V *x, const V *u, V, float *, float *) { return F::value(x[0] + u[0]); }
  DS2_INLINE_MEMBER static void gradient(V dh, V h, V, const float *, const float *, float *, V *dx, V *) {
    dx[0] = F::gradient(dh, h);
  }
};

template <class F>
struct Gru {
  static constexpr int gates = 3, gates_per_product = 3, saved = 4, states = 1;
  static constexpr bool has_carry = true, separate_du = true, uses_last_h = true;

  DS2_INLINE_MEMBER static V step(const V *x, const V *u, V last, float *, float *saved) {
    V r = x[0] + u[0], z = x[1] + u[1];
    sigmoid_pair(r, z);
    const V n = F::value(x[2] + r * u[2]);
    if (saved) {
      store(saved, r);
      store(saved + W, z);
      store(saved + 2 * W, n);
      store(saved + 3 * W, u[2]);
    }
    return n + z * (last - n);
  }
  /// carry: the gradient that z passes on to the previous state
  DS2_INLINE_MEMBER static void gradient(V dh, V, V last, const float *saved, const float *, float *carry, V *dx,
                                         V *du) {
    const V r = load(saved), z = load(saved + W), n = load(saved + 2 * W), u = load(saved + 3 * W);
    dh += load(carry);
    const V dn = F::gradient(dh * (1.0f - z), n);
    store(carry, dh * z);
    dx[0] = dn * u * r * (1.0f - r);
    dx[1] = dh * (last - n) * z * (1.0f - z);
    dx[2] = dn;
    *du = dn * r;
  }
};

struct Lstm {
  static constexpr int gates = 4, gates_per_product = 2, saved = 5, states = 2;
  static constexpr bool has_carry = true, separate_du = false, uses_last_h = false;

  /// carry: the cell state c
  DS2_INLINE_MEMBER static V step(const V *x, const V *u, V, float *carry, float *saved) {
    V i = x[0] + u[0], f = x[1] + u[1], o = x[3] + u[3];
    sigmoid_pair(i, f);
    o = 1.0f / (1.0f + exp(-o));
    const V g = tanh(x[2] + u[2]), c = f * load(carry) + i * g;
    store(carry, c);
    if (saved) {
      store(saved, i);
      store(saved + W, f);
      store(saved + 2 * W, g);
      store(saved + 3 * W, o);
      store(saved + 4 * W, c);
    }
    return o * tanh(c);
  }
  /// carry: the gradient of c from the next frame. previous: the values saved by the previous frame, or NULL.
  DS2_INLINE_MEMBER static void gradient(V dh, V, V, const float *saved, const float *previous, float *carry, V *dx,
                                         V *) {
    const V i = load(saved), f = load(saved + W), g = load(saved + 2 * W), o = load(saved + 3 * W);
    const V y = tanh(load(saved + 4 * W)), dc = load(carry) + dh * o * (1.0f - y * y);
    store(carry, dc * f);
    dx[0] = dc * g * i * (1.0f - i);
    dx[1] = previous ? dc * load(previous + 4 * W) * f * (1.0f - f) : V{};
    dx[2] = dc * i * (1.0f - g * g);
    dx[3] = dh * y * o * (1.0f - o);
  }
};

/// Vectors of units per forward tile: a cell with a single gate fills the columns of the tile with more units.
template <class Cell>
constexpr int32_t kTileVectors = Cell::gates == 1 ? 3 : 1;

}  // namespace
