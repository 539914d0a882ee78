// The cells: what a recurrent layer computes from its projections x and the products u = U h, and the gradients of it,
// W units at a time. native/include/ds2_native.h has the formulas.
//
// Each cell says:
//   gates     projections a unit
//   together  gates whose products share a walk along the sum; the tile's columns are gates, or units where gates = 1
//   saved     vectors that forward leaves for backward beside h
//   remembers whether W floats a row are carried from frame to frame beside h, in forward and in backward
//   apart     whether the last gate's gradient of u differs from that of x
//   looks     whether it reads the last state itself, not only through u
#pragma once
#include "ds2_native.h"
#include "simd.h"

namespace {

/// The candidate's nonlinearity: its value, and the gradient d seen through it where its value was y.
struct Tanh {
  DS2_INLINE_MEMBER static V value(V x) { return tanh(x); }
  DS2_INLINE_MEMBER static V gradient(V d, V y) { return d * (1.0f - y * y); }
};

/// The paper's ReLU, cut at 20, flat at both ends. A NaN stays one.
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
  static constexpr int gates = 1, together = 1, saved = 0;
  static constexpr bool remembers = false, apart = false, looks = false;

  DS2_INLINE_MEMBER static V step(const V *x, const V *u, V, float *, float *) { return F::value(x[0] + u[0]); }
  DS2_INLINE_MEMBER static void gradient(V dh, V h, V, const float *, const float *, float *, V *dx, V *) {
    dx[0] = F::gradient(dh, h);
  }
};

template <class F>
struct Gru {
  static constexpr int gates = 3, together = 3, saved = 4;
  static constexpr bool remembers = true, apart = true, looks = true;

  DS2_INLINE_MEMBER static V step(const V *x, const V *u, V last, float *, float *saved) {
    V r = x[0] + u[0], z = x[1] + u[1];
    sigmoids(r, z);
    const V n = F::value(x[2] + r * u[2]);
    if (saved) {
      store(saved, r);
      store(saved + W, z);
      store(saved + 2 * W, n);
      store(saved + 3 * W, u[2]);
    }
    return n + z * (last - n);
  }
  /// memory: what z lets through to the frame before
  DS2_INLINE_MEMBER static void gradient(V dh, V, V last, const float *saved, const float *, float *memory, V *dx,
                                         V *du) {
    const V r = load(saved), z = load(saved + W), n = load(saved + 2 * W), u = load(saved + 3 * W);
    dh += load(memory);
    const V dn = F::gradient(dh * (1.0f - z), n);
    store(memory, dh * z);
    dx[0] = dn * u * r * (1.0f - r);
    dx[1] = dh * (last - n) * z * (1.0f - z);
    dx[2] = dn;
    *du = dn * r;
  }
};

struct Lstm {
  static constexpr int gates = 4, together = 2, saved = 5;
  static constexpr bool remembers = true, apart = false, looks = false;

  /// memory: c
  DS2_INLINE_MEMBER static V step(const V *x, const V *u, V, float *memory, float *saved) {
    V i = x[0] + u[0], f = x[1] + u[1], o = x[3] + u[3];
    sigmoids(i, f);
    o = 1.0f / (1.0f + exp(-o));
    const V g = tanh(x[2] + u[2]), c = f * load(memory) + i * g;
    store(memory, c);
    if (saved) {
      store(saved, i);
      store(saved + W, f);
      store(saved + 2 * W, g);
      store(saved + 3 * W, o);
      store(saved + 4 * W, c);
    }
    return o * tanh(c);
  }
  /// memory: the gradient of c that comes from the frame after. before: what that frame's predecessor saved, or NULL.
  DS2_INLINE_MEMBER static void gradient(V dh, V, V, const float *saved, const float *before, float *memory, V *dx,
                                         V *) {
    const V i = load(saved), f = load(saved + W), g = load(saved + 2 * W), o = load(saved + 3 * W);
    const V y = tanh(load(saved + 4 * W)), dc = load(memory) + dh * o * (1.0f - y * y);
    store(memory, dc * f);
    dx[0] = dc * g * i * (1.0f - i);
    dx[1] = before ? dc * load(before + 4 * W) * f * (1.0f - f) : V{};
    dx[2] = dc * i * (1.0f - g * g);
    dx[3] = dh * y * o * (1.0f - o);
  }
};

/// Unit vectors of a forward tile: a cell of one gate fills the columns of a product with more units.
template <class Cell>
constexpr int32_t kUnits = Cell::gates == 1 ? 3 : 1;

}  // namespace
