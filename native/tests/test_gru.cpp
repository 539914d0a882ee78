// The GRU against its formulas, frame by frame in double precision, and against numerical gradients. Run under the
// sanitizers this also proves that no call reads or writes outside the buffers of the documented sizes.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ds2_native.h"

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

struct Problem {
  int32_t D, T, N, H;
  std::vector<int32_t> lengths;
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// h (D, T, N, H) of the formulas.
Doubles reference(const Problem &p, const Doubles &gates, const Doubles &recurrent) {
  Doubles h(static_cast<size_t>(p.D) * p.T * p.N * p.H, 0.0);
  const auto at = [&](int d, int t, int n) { return ((static_cast<size_t>(d) * p.T + t) * p.N + n) * p.H; };
  for (int d = 0; d < p.D; ++d)
    for (int n = 0; n < p.N; ++n) {
      Doubles state(p.H, 0.0), u(3 * p.H);
      for (int step = 0; step < p.lengths[n]; ++step) {
        const int t = d == 0 ? step : p.lengths[n] - 1 - step;
        for (int j = 0; j < 3 * p.H; ++j) {
          u[j] = 0;
          for (int k = 0; k < p.H; ++k) u[j] += recurrent[(static_cast<size_t>(d) * 3 * p.H + j) * p.H + k] * state[k];
        }
        const double *x = &gates[(static_cast<size_t>(t) * p.N + n) * 3 * p.H];
        for (int j = 0; j < p.H; ++j) {
          const double r = sigmoid(x[j] + u[j]), z = sigmoid(x[p.H + j] + u[p.H + j]);
          const double c = std::tanh(x[2 * p.H + j] + r * u[2 * p.H + j]);
          state[j] = (1 - z) * c + z * state[j];
        }
        std::copy(state.begin(), state.end(), h.begin() + at(d, t, n));
      }
    }
  return h;
}

/// The rows of an array (directions, T, N, width) that lie within the lengths, in order.
Floats packed(const Problem &p, const Floats &array, int directions) {
  const size_t width = array.size() / (static_cast<size_t>(directions) * p.T * p.N);
  Floats out;
  for (int d = 0; d < directions; ++d)
    for (int t = 0; t < p.T; ++t)
      for (int n = 0; n < p.N && p.lengths[n] > t; ++n) {
        const auto begin = array.begin() + ((static_cast<size_t>(d) * p.T + t) * p.N + n) * width;
        out.insert(out.end(), begin, begin + width);
      }
  return out;
}

/// Exactly as many bytes as asked for, so that the sanitizer sees one too many.
struct Run {
  Floats h, reserve, dgates, drecurrent;
};

Run run(const Problem &p, const Floats &gates, const Floats &recurrent, const Floats &dh, int threads, int precision) {
  size_t reserve_bytes = 0, forward_bytes = 0, backward_bytes = 0;
  const int32_t rows = static_cast<int32_t>(gates.size() / (3 * p.H));
  Run out;
  bool ok = !ds2_gru_sizes(p.D, p.T, p.N, rows, p.H, threads, &reserve_bytes, &forward_bytes, &backward_bytes);
  out.h.assign(dh.size(), NAN), out.reserve.assign(reserve_bytes / 4, NAN);
  out.dgates.assign(gates.size(), NAN), out.drecurrent.assign(recurrent.size(), NAN);
  std::vector<char> forward(forward_bytes, '\x7f'), backward(backward_bytes, '\x7f');
  ok = ok && !ds2_gru_forward(p.D, p.T, p.N, rows, p.H, gates.data(), recurrent.data(), p.lengths.data(), out.h.data(),
                              out.reserve.data(), forward.data(), forward_bytes, threads, precision);
  ok = ok && !ds2_gru_backward(p.D, p.T, p.N, rows, p.H, recurrent.data(), p.lengths.data(), out.h.data(), out.reserve.data(),
                               dh.data(), p.D, out.dgates.data(), out.drecurrent.data(), backward.data(), backward_bytes,
                               threads, precision);
  if (!ok) std::printf("refused: %s\n", ds2_last_error());
  return out;
}

double weighted(const Problem &p, const Doubles &gates, const Doubles &recurrent, const Floats &dh) {
  const Doubles h = reference(p, gates, recurrent);
  double sum = 0;
  for (size_t i = 0; i < h.size(); ++i) sum += h[i] * dh[i];
  return sum;
}

/// The largest difference between `found` and central differences, at up to 60 places.
double gradient_error(const Problem &p, Doubles gates, Doubles recurrent, const Floats &dh, bool of_gates,
                      const Floats &found) {
  Doubles &variable = of_gates ? gates : recurrent;
  double worst = 0;
  for (size_t i = 0; i < variable.size(); i += 1 + variable.size() / 60) {
    const double kept = variable[i], step = 1e-5;
    variable[i] = kept + step;
    const double above = weighted(p, gates, recurrent, dh);
    variable[i] = kept - step;
    const double below = weighted(p, gates, recurrent, dh);
    variable[i] = kept;
    const double error = std::fabs((above - below) / (2 * step) - found[i]);
    worst = error <= worst ? worst : error;  // a NaN is the worst
  }
  return worst;
}

bool same(const Floats &a, const Floats &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool check(const Problem &p) {
  std::mt19937 random(p.T * 100 + p.N);
  std::normal_distribution<float> normal;
  Floats gates(static_cast<size_t>(p.T) * p.N * 3 * p.H), recurrent(static_cast<size_t>(p.D) * 3 * p.H * p.H);
  Floats dh(static_cast<size_t>(p.D) * p.T * p.N * p.H);
  for (float &x : gates) x = normal(random);
  for (float &x : recurrent) x = normal(random) / std::sqrt(static_cast<float>(p.H));
  for (float &x : dh) x = normal(random);
  const Doubles wide_gates(gates.begin(), gates.end()), wide_recurrent(recurrent.begin(), recurrent.end());

  const Run one = run(p, gates, recurrent, dh, 1, DS2_FLOAT32);
  const Doubles expected = reference(p, wide_gates, wide_recurrent);
  double state = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(expected[i] - one.h[i]);
    state = error <= state ? state : error;
  }
  const double gate = gradient_error(p, wide_gates, wide_recurrent, dh, true, one.dgates);
  const double weight = gradient_error(p, wide_gates, wide_recurrent, dh, false, one.drecurrent);
  bool good = state < 1e-6 && gate < 2e-5 && weight < 1e-4;
  for (const int threads : {2, 3, 5}) {
    const Run more = run(p, gates, recurrent, dh, threads, DS2_FLOAT32);
    good = good && same(one.h, more.h) && same(one.dgates, more.dgates) && same(one.drecurrent, more.drecurrent);
  }
  if (p.lengths[0] > 0) {
    const Run tight = run(p, packed(p, gates, 1), recurrent, packed(p, dh, p.D), 2, DS2_FLOAT32);
    good = good && same(tight.h, packed(p, one.h, p.D)) && same(tight.dgates, packed(p, one.dgates, 1)) &&
           same(tight.drecurrent, one.drecurrent);
  }
  const Run quick = run(p, gates, recurrent, dh, 2, DS2_BFLOAT16);
  for (size_t i = 0; i < expected.size(); ++i) good = good && std::fabs(expected[i] - quick.h[i]) < 0.03;
  std::printf("%s D=%d T=%d N=%d H=%d: state %.1e, gate gradient %.1e, weight gradient %.1e\n", good ? "ok  " : "FAIL",
              p.D, p.T, p.N, p.H, state, gate, weight);
  return good;
}

bool check_refusals() {
  size_t bytes = 0;
  const bool good = ds2_gru_sizes(3, 1, 1, 1, 1, 1, &bytes, &bytes, &bytes) == DS2_INVALID &&
                    std::string(ds2_last_error()).find("D=3") != std::string::npos &&
                    ds2_gru_sizes(1, 1, 1, 1, 1, 1, nullptr, &bytes, &bytes) == DS2_INVALID &&
                    ds2_abi_version() == DS2_ABI_VERSION;
  std::printf("%s refusals\n", good ? "ok  " : "FAIL");
  return good;
}

}  // namespace

int main() {
  std::printf("instruction set: %s\n", ds2_isa());
  bool good = check_refusals();
  for (const Problem &p : {Problem{1, 1, 1, 1, {1}}, Problem{2, 3, 2, 5, {3, 1}}, Problem{1, 6, 9, 33, {6, 6, 6, 5, 5, 3, 2, 1, 0}},
                           Problem{2, 5, 3, 16, {4, 4, 2}}, Problem{2, 20, 17, 20, std::vector<int32_t>(17, 20)},
                           Problem{2, 2, 3, 50, {0, 0, 0}}})
    good = check(p) && good;
  return good ? 0 : 1;
}
