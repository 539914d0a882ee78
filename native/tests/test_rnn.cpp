// The recurrent cells compared with their formulas, frame by frame in double precision, and with numerical gradients.
// Under the sanitizers this also proves that no call reads or writes outside buffers of the documented sizes.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "ds2_native.h"
#include "instruction_set.h"
#include "rnn_formulas.h"

namespace {

const char *const kNames[] = {"gru-tanh", "gru-relu", "rnn-tanh", "rnn-relu", "lstm"};

/// The rows within the lengths of an array (directions, T, N, width), in order.
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

bool same(const Floats &a, const Floats &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Buffers have exactly the documented sizes, so that the sanitizer reports a single byte beyond them.
struct Run {
  Floats h, reserve, dgates, drecurrent;
};

Run run(const Problem &p, const Floats &gates, const Floats &recurrent, const Floats &dh, int threads, int precision) {
  size_t reserve_bytes = 0, forward_bytes = 0, backward_bytes = 0;
  const int32_t rows = static_cast<int32_t>(gates.size() / (p.gates() * p.H));
  const ds2_rnn_shape shape{p.cell, p.D, p.T, p.N, rows, p.H};
  Run out;
  bool ok = !ds2_rnn_sizes(&shape, threads, &reserve_bytes, &forward_bytes, &backward_bytes);
  out.h.assign(dh.size(), NAN), out.reserve.assign(reserve_bytes / 4, NAN);
  out.dgates.assign(gates.size(), NAN), out.drecurrent.assign(recurrent.size(), NAN);
  std::vector<char> forward(forward_bytes, '\x7f'), backward(backward_bytes, '\x7f');
  ok = ok && !ds2_rnn_forward(&shape, gates.data(), recurrent.data(), p.lengths.data(), nullptr, out.h.data(), nullptr,
                              out.reserve.data(), forward.data(), forward_bytes, threads, precision);
  ok = ok && !ds2_rnn_backward(&shape, recurrent.data(), p.lengths.data(), out.h.data(), out.reserve.data(), dh.data(),
                               p.D, out.dgates.data(), out.drecurrent.data(), backward.data(), backward_bytes, threads,
                               precision);
  Floats unsaved(dh.size(), NAN);  // without a reserve, as if no gradient were needed
  ok = ok && !ds2_rnn_forward(&shape, gates.data(), recurrent.data(), p.lengths.data(), nullptr, unsaved.data(),
                              nullptr, nullptr, forward.data(), forward_bytes, threads, precision);
  ok = ok && same(unsaved, out.h);
  if (!ok) std::printf("refused or different: %s\n", ds2_last_error());
  return out;
}

double weighted(const Problem &p, const Doubles &gates, const Doubles &recurrent, const Floats &dh) {
  const Doubles h = reference(p, gates, recurrent, {}, exact).h;
  double sum = 0;
  for (size_t i = 0; i < h.size(); ++i) sum += h[i] * dh[i];
  return sum;
}

/// The largest difference between `found` and central differences, at up to 60 elements.
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
    worst = error <= worst ? worst : error;  // a NaN counts as the worst
  }
  return worst;
}

double largest_error(const Doubles &expected, const Floats &found) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(expected[i] - found[i]);
    worst = error <= worst ? worst : error;  // a NaN counts as the worst
  }
  return worst;
}

double peak(const Doubles &x) { return largest_error(x, Floats(x.size(), 0.0f)); }

template <class Numbers>
double distance(const Doubles &x, const Numbers &y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
  return std::sqrt(sum);
}

/// Whether the norm of the difference is at most `allowed`, besides the rounding of sums in float32.
bool is_near(const Doubles &expected, const Floats &found, double allowed) {
  const double norm = distance(expected, Doubles(expected.size(), 0.0));
  return distance(expected, found) <= allowed + std::ldexp(1 + norm, -17);
}

/// States and all gradients in both precisions; in bfloat16 without its instructions everything is as in float32.
///
/// With them the reference rounds the same factors, so the kernels may differ from it only where a factor, within
/// float32's error of the middle of two bfloat16 values, is rounded to the other one. If that error is c 2^-24, about
/// c 2^-16 of the factors are, and move by up to 2^-7, four times as far as rounding moves a factor on average: a share
/// of 4 sqrt(c 2^-16) of what rounding changes, 1/16 for c = 16. Half is allowed, as a small problem may have one such
/// factor. If factors are not rounded, or are truncated, the results differ by the whole.
bool check_precisions(const Problem &p, const Floats &gates, Floats recurrent, const Floats &dh) {
  for (float &x : recurrent) x *= 0.5f;  // so that a difference fades from frame to frame
  const Doubles wide_gates(gates.begin(), gates.end()), wide_recurrent(recurrent.begin(), recurrent.end());
  const Run one = run(p, gates, recurrent, dh, 1, DS2_FLOAT32), half = run(p, gates, recurrent, dh, 2, DS2_BFLOAT16);
  const Results expected = reference(p, wide_gates, wide_recurrent, dh, exact);
  const Results rounded = reference(p, wide_gates, wide_recurrent, dh, to_bfloat16);
  const bool has_bfloat16 = !std::strcmp(ds2_isa(DS2_BFLOAT16), "avx512bf16");
  const auto good = [&](Doubles Results::*reference, Floats Run::*array) {
    if (!is_near(expected.*reference, one.*array, 0)) return false;
    if (!has_bfloat16) return same(one.*array, half.*array);
    return is_near(rounded.*reference, half.*array, distance(rounded.*reference, expected.*reference) / 2);
  };
  return good(&Results::h, &Run::h) && good(&Results::dgates, &Run::dgates) &&
         good(&Results::drecurrent, &Run::drecurrent);
}

bool check(const Problem &p) {
  std::mt19937 random(p.T * 100 + p.N);
  std::normal_distribution<float> normal;
  const int32_t G = p.gates();
  Floats gates(static_cast<size_t>(p.T) * p.N * G * p.H), recurrent(static_cast<size_t>(p.D) * G * p.H * p.H);
  Floats dh(static_cast<size_t>(p.D) * p.T * p.N * p.H);
  // large enough that a ReLU reaches its upper clip, too
  for (float &x : gates) x = normal(random) * (p.relu() ? 8 : 1);
  for (float &x : recurrent) x = normal(random) / std::sqrt(static_cast<float>(p.H));
  for (float &x : dh) x = normal(random);
  const Doubles wide_gates(gates.begin(), gates.end()), wide_recurrent(recurrent.begin(), recurrent.end());

  const Run one = run(p, gates, recurrent, dh, 1, DS2_FLOAT32);
  const Results expected = reference(p, wide_gates, wide_recurrent, dh, exact);
  const double state = largest_error(expected.h, one.h), largest = std::max(1.0, peak(expected.h));
  const double gate = gradient_error(p, wide_gates, wide_recurrent, dh, true, one.dgates);
  const double weight = gradient_error(p, wide_gates, wide_recurrent, dh, false, one.drecurrent);
  bool good = state < (p.relu() ? 3e-6 : 1e-6) * largest && gate < 2e-5 && weight < 1e-4 * largest;
  for (const int threads : {2, 3, 5}) {
    const Run more = run(p, gates, recurrent, dh, threads, DS2_FLOAT32);
    good = good && same(one.h, more.h) && same(one.dgates, more.dgates) && same(one.drecurrent, more.drecurrent);
  }
  if (p.lengths[0] > 0) {
    const Run tight = run(p, packed(p, gates, 1), recurrent, packed(p, dh, p.D), 2, DS2_FLOAT32);
    good = good && same(tight.h, packed(p, one.h, p.D)) && same(tight.dgates, packed(p, one.dgates, 1)) &&
           same(tight.drecurrent, one.drecurrent);
  }
  good = good && check_precisions(p, gates, recurrent, dh);
  std::printf("%s %s D=%d T=%d N=%d H=%d: state %.1e, gate gradient %.1e, weight gradient %.1e\n", good ? "ok  " : "FAIL",
              kNames[p.cell], p.D, p.T, p.N, p.H, state, gate, weight);
  return good;
}

/// Frames begin to end of all rows: their states, and in `state` the state at `begin`, replaced by that at `end`.
Floats run_piece(const Problem &p, const Floats &gates, const Floats &recurrent, int begin, int end, Floats &state,
                 bool in_place, int threads, int precision) {
  Problem piece{p.cell, 1, end - begin, p.N, p.H, p.lengths};
  for (int32_t &length : piece.lengths) length = std::min(std::max(length - begin, 0), piece.T);
  size_t unused = 0, bytes = 0;
  const ds2_rnn_shape shape{p.cell, 1, piece.T, p.N, piece.T * p.N, p.H};
  Floats h(static_cast<size_t>(piece.T) * p.N * p.H, NAN), next(state.size(), NAN);
  bool ok = !ds2_rnn_sizes(&shape, threads, &unused, &bytes, &unused);
  std::vector<char> workspace(bytes, '\x7f');
  const float *x = gates.data() + static_cast<size_t>(begin) * p.N * p.gates() * p.H;
  ok = ok && !ds2_rnn_forward(&shape, x, recurrent.data(), piece.lengths.data(), begin ? state.data() : nullptr,
                              h.data(), in_place ? state.data() : next.data(), nullptr, workspace.data(), bytes, threads,
                              precision);
  if (!ok) std::printf("refused: %s\n", ds2_last_error());
  if (!in_place) state = next;
  return h;
}

/// In pieces, with the state passed on, the result is that of the whole to the bit.
bool check_pieces(const Problem &p) {
  std::mt19937 random(p.T * 100 + p.N);
  std::normal_distribution<float> normal;
  Floats gates(static_cast<size_t>(p.T) * p.N * p.gates() * p.H);
  Floats recurrent(static_cast<size_t>(p.gates()) * p.H * p.H);
  for (float &x : gates) x = normal(random);
  for (float &x : recurrent) x = normal(random) / std::sqrt(static_cast<float>(p.H));
  const size_t states = static_cast<size_t>(p.cell == DS2_LSTM ? 2 : 1) * p.N * p.H;
  bool good = true;
  for (const int precision : {DS2_FLOAT32, DS2_BFLOAT16}) {
    Floats last(states, NAN);
    const Floats whole = run_piece(p, gates, recurrent, 0, p.T, last, false, 1, precision);
    for (const int size : {1, 2, 5}) {
      Floats state(states, NAN), joined;
      for (int begin = 0; begin < p.T; begin += size) {
        const int end = std::min(begin + size, p.T);
        const Floats h = run_piece(p, gates, recurrent, begin, end, state, size == 2, size, precision);
        joined.insert(joined.end(), h.begin(), h.end());
      }
      good = good && same(joined, whole) && same(state, last);
    }
    for (int n = 0; n < p.N; ++n)  // the end state of h is that of the last frame, zero for a row without frames
      for (int j = 0; j < p.H; ++j) {
        const size_t t = static_cast<size_t>(std::max(p.lengths[n] - 1, 0));
        good = good && last[static_cast<size_t>(n) * p.H + j] == whole[(t * p.N + n) * p.H + j];
      }
  }
  std::printf("%s %s in pieces, T=%d N=%d H=%d\n", good ? "ok  " : "FAIL", kNames[p.cell], p.T, p.N, p.H);
  return good;
}

bool check_refusals() {
  size_t bytes = 0;
  const auto refuses_state = [&](int32_t D, bool has_reserve) {
    const ds2_rnn_shape shape{DS2_GRU_TANH, D, 1, 1, 1, 1};
    const int32_t length = 1;
    float gates[3] = {}, recurrent[6] = {}, h[2] = {}, state[1] = {};
    size_t reserve_bytes = 0, forward_bytes = 0, backward_bytes = 0;
    if (ds2_rnn_sizes(&shape, 1, &reserve_bytes, &forward_bytes, &backward_bytes)) return false;
    std::vector<char> reserve(reserve_bytes), workspace(forward_bytes);
    return ds2_rnn_forward(&shape, gates, recurrent, &length, state, h, nullptr, has_reserve ? reserve.data() : nullptr,
                           workspace.data(), forward_bytes, 1, DS2_FLOAT32) == DS2_INVALID &&
           std::string(ds2_last_error()).find("start and end need D = 1") != std::string::npos;
  };
  const auto refuses = [&](ds2_rnn_shape shape, const char *word) {
    return ds2_rnn_sizes(&shape, 1, &bytes, &bytes, &bytes) == DS2_INVALID &&
           std::string(ds2_last_error()).find(word) != std::string::npos;
  };
  const ds2_rnn_shape valid{DS2_LSTM, 1, 1, 1, 1, 1};
  const bool good = refuses({DS2_LSTM, 3, 1, 1, 1, 1}, "D=3") && refuses({5, 1, 1, 1, 1, 1}, "got 5") &&
                    refuses({-1, 1, 1, 1, 1, 1}, "got -1") &&
                    ds2_rnn_sizes(nullptr, 1, &bytes, &bytes, &bytes) == DS2_INVALID &&
                    ds2_rnn_sizes(&valid, 1, nullptr, &bytes, &bytes) == DS2_INVALID &&
                    refuses_state(2, false) && refuses_state(1, true) && ds2_abi_version() == DS2_ABI_VERSION;
  std::printf("%s refusals\n", good ? "ok  " : "FAIL");
  return good;
}

}  // namespace

int main() {
  if (is_absent(ds2_isa(DS2_BFLOAT16))) return kSkipped;
  std::printf("instruction set: %s, bfloat16: %s\n", ds2_isa(DS2_FLOAT32), ds2_isa(DS2_BFLOAT16));
  bool good = check_refusals();
  for (int32_t cell = DS2_GRU_TANH; cell <= DS2_LSTM; ++cell)
    for (const Problem &p : {Problem{cell, 1, 1, 1, 1, {1}}, Problem{cell, 2, 3, 2, 5, {3, 1}},
                             Problem{cell, 1, 6, 9, 33, {6, 6, 6, 5, 5, 3, 2, 1, 0}},
                             Problem{cell, 2, 5, 3, 16, {4, 4, 2}},
                             Problem{cell, 2, 20, 17, 20, std::vector<int32_t>(17, 20)},
                             Problem{cell, 1, 3, 5, 130, {3, 3, 2, 2, 1}}, Problem{cell, 2, 2, 3, 50, {0, 0, 0}}})
      good = check(p) && good;
  for (int32_t cell = DS2_GRU_TANH; cell <= DS2_LSTM; ++cell)
    for (const Problem &p : {Problem{cell, 1, 1, 1, 1, {1}}, Problem{cell, 1, 11, 1, 40, {11}},
                             Problem{cell, 1, 6, 9, 33, {6, 6, 6, 5, 5, 3, 2, 1, 0}}})
      good = check_pieces(p) && good;
  return good ? 0 : 1;
}
