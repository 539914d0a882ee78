// The recurrent cells by their formulas in double precision: states, and gradients by the chain rule. The factors of
// products can be rounded to bfloat16, as the kernels for bfloat16 do.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ds2_native.h"

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

struct Problem {
  int32_t cell, D, T, N, H;
  std::vector<int32_t> lengths;

  int32_t gates() const { return cell == DS2_LSTM ? 4 : cell == DS2_RNN_TANH || cell == DS2_RNN_RELU ? 1 : 3; }
  bool relu() const { return cell == DS2_RNN_RELU || cell == DS2_GRU_RELU; }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double clip(double x) { return x < 0 ? 0 : x > DS2_CLIP ? DS2_CLIP : x; }

/// Rounding of the factors of products.
using Rounding = double (*)(double);
double exact(double x) { return x; }
double to_bfloat16(double x) {
  const float single = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;  // to the nearest, ties to even
  float rounded;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return rounded;
}

Doubles rounded(Doubles x, Rounding round) {
  std::transform(x.begin(), x.end(), x.begin(), round);
  return x;
}

/// One frame of an utterance: the last state and product, the values of the gates, and the new state.
struct Frame {
  size_t row;
  Doubles last_h, last_c, u, y, h, c;
};

void step(const Problem &p, const double *x, Frame &f) {
  const int G = p.gates(), H = p.H;
  const auto activate = [&](double v) { return p.relu() ? clip(v) : std::tanh(v); };
  for (int j = 0; j < H; ++j) {
    const auto sum = [&](int g) { return x[g * H + j] + f.u[g * H + j]; };
    const auto y = [&](int g) -> double & { return f.y[g * H + j]; };
    if (G == 1) {
      f.h[j] = y(0) = activate(sum(0));
    } else if (G == 3) {
      y(0) = sigmoid(sum(0)), y(1) = sigmoid(sum(1));
      y(2) = activate(x[2 * H + j] + y(0) * f.u[2 * H + j]);
      f.h[j] = (1 - y(1)) * y(2) + y(1) * f.last_h[j];
    } else {
      y(0) = sigmoid(sum(0)), y(1) = sigmoid(sum(1)), y(2) = std::tanh(sum(2)), y(3) = sigmoid(sum(3));
      f.c[j] = y(1) * f.last_c[j] + y(0) * y(2);
      f.h[j] = y(3) * std::tanh(f.c[j]);
    }
  }
}

/// The gradients dx of x and du of u, given dh; `carry`, of the last h (GRU) or of c (LSTM), is replaced.
void step_gradient(const Problem &p, const Frame &f, const Doubles &dh, Doubles &carry, Doubles &dx, Doubles &du) {
  const int G = p.gates(), H = p.H;
  const auto slope = [&](double y) { return p.relu() ? (y > 0 && y < DS2_CLIP ? 1 : 0) : 1 - y * y; };
  for (int j = 0; j < H; ++j) {
    const auto y = [&](int g) { return f.y[g * H + j]; };
    const auto sigmoid_slope = [&](int g) { return y(g) * (1 - y(g)); };
    const auto d = [&](int g) -> double & { return dx[g * H + j]; };
    if (G == 1) {
      d(0) = dh[j] * slope(y(0));
    } else if (G == 3) {
      const double all = dh[j] + carry[j];
      carry[j] = all * y(1);
      d(2) = all * (1 - y(1)) * slope(y(2));
      d(1) = all * (f.last_h[j] - y(2)) * sigmoid_slope(1);
      d(0) = d(2) * f.u[2 * H + j] * sigmoid_slope(0);
    } else {
      const double t = std::tanh(f.c[j]), dc = carry[j] + dh[j] * y(3) * (1 - t * t);
      carry[j] = dc * y(1);
      d(0) = dc * y(2) * sigmoid_slope(0), d(1) = dc * f.last_c[j] * sigmoid_slope(1);
      d(2) = dc * y(0) * (1 - y(2) * y(2)), d(3) = dh[j] * t * sigmoid_slope(3);
    }
    for (int g = 0; g < G; ++g) du[g * H + j] = d(g) * (G == 3 && g == 2 ? y(0) : 1);
  }
}

struct Results {
  Doubles h, dgates, drecurrent;
};

/// h (D, T, N, H) by the formulas, and, unless dh is empty, the gradients of sum of dh * h.
Results reference(const Problem &p, const Doubles &gates, const Doubles &recurrent, const Floats &dh, Rounding round) {
  const int G = p.gates(), H = p.H;
  Results out{Doubles(static_cast<size_t>(p.D) * p.T * p.N * H, 0.0), Doubles(gates.size(), 0.0),
              Doubles(recurrent.size(), 0.0)};
  const Doubles weights = rounded(recurrent, round);
  for (int d = 0; d < p.D; ++d)
    for (int n = 0; n < p.N; ++n) {
      const double *w = &weights[static_cast<size_t>(d) * G * H * H];
      std::vector<Frame> frames;
      Doubles h(H, 0.0), c(H, 0.0);
      for (int i = 0; i < p.lengths[n]; ++i) {
        const int t = d == 0 ? i : p.lengths[n] - 1 - i;
        frames.push_back({static_cast<size_t>(t) * p.N + n, h, c, Doubles(G * H, 0.0), Doubles(G * H), h, c});
        Frame &f = frames.back();
        const Doubles factors = rounded(h, round);
        for (int j = 0; j < G * H; ++j)
          for (int k = 0; k < H; ++k) f.u[j] += w[j * H + k] * factors[k];
        step(p, &gates[f.row * G * H], f);
        h = f.h, c = f.c;
        std::copy(h.begin(), h.end(), out.h.begin() + (static_cast<size_t>(d) * p.T * p.N + f.row) * H);
      }
      if (dh.empty()) continue;
      Doubles back(H, 0.0), carry(H, 0.0), dx(G * H), du(G * H);
      for (size_t i = frames.size(); i-- > 0;) {
        const Frame &f = frames[i];
        for (int k = 0; k < H; ++k) back[k] += dh[(static_cast<size_t>(d) * p.T * p.N + f.row) * H + k];
        step_gradient(p, f, back, carry, dx, du);
        std::fill(back.begin(), back.end(), 0.0);
        const Doubles errors = rounded(du, round), factors = rounded(f.last_h, round);
        for (int j = 0; j < G * H; ++j) {
          out.dgates[f.row * G * H + j] += dx[j];
          for (int k = 0; k < H; ++k) {
            back[k] += w[j * H + k] * errors[j];
            out.drecurrent[(static_cast<size_t>(d) * G * H + j) * H + k] += errors[j] * factors[k];
          }
        }
      }
    }
  return out;
}

}  // namespace
