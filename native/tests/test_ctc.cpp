// CTC compared with its formulas in the log domain and double precision. Under the sanitizers this also proves that no
// call reads or writes outside buffers of the documented sizes. Logits that must not be read and all outputs start as
// NaN.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ds2_native.h"
#include "instruction_set.h"

namespace {

using Doubles = std::vector<double>;
constexpr double kLogZero = -std::numeric_limits<double>::infinity();

struct Problem {
  int32_t T, N, V, L, blank;
  float range;  // logits are uniform in -range..range
  bool batch_first, bfloat16;
  std::vector<int32_t> targets, input_lengths, target_lengths;
  std::vector<float> logits;

  ds2_ctc_shape shape() const {
    const int64_t t = batch_first ? V : static_cast<int64_t>(N) * V, n = batch_first ? static_cast<int64_t>(T) * V : V;
    return {T, N, V, L, blank, bfloat16 ? DS2_BFLOAT16 : DS2_FLOAT32, t, n};
  }
  size_t at(int t, int n) const { return t * shape().stride_t + n * shape().stride_n; }
};

uint16_t narrow(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}

float widen(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

double log_add(double a, double b) {
  const double top = std::max(a, b);
  return top == kLogZero ? kLogZero : top + std::log1p(std::exp(std::min(a, b) - top));
}

/// The cost of utterance n; its gradient is written to `gradient`, which has the layout of the logits.
double reference(const Problem &p, int n, Doubles &gradient) {
  const int T = p.input_lengths[n], L = p.target_lengths[n], S = 2 * L + 1;
  if (T == 0) return L == 0 ? 0 : -kLogZero;
  std::vector<int> states(S, p.blank);
  for (int i = 0; i < L; ++i) states[2 * i + 1] = p.targets[static_cast<size_t>(n) * p.L + i];
  Doubles log_p(static_cast<size_t>(T) * p.V), alpha(static_cast<size_t>(T) * S, kLogZero), beta(alpha);
  for (int t = 0; t < T; ++t) {
    double z = kLogZero;
    for (int v = 0; v < p.V; ++v) z = log_add(z, p.logits[p.at(t, n) + v]);
    for (int v = 0; v < p.V; ++v) log_p[t * p.V + v] = p.logits[p.at(t, n) + v] - z;
  }
  const auto skips = [&](int s) { return s >= 2 && states[s] != states[s - 2]; };
  for (int t = 0; t < T; ++t)
    for (int s = 0; s < S; ++s) {
      double sum = t == 0 ? (s < 2 ? 0 : kLogZero) : alpha[(t - 1) * S + s];
      if (t > 0 && s >= 1) sum = log_add(sum, alpha[(t - 1) * S + s - 1]);
      if (t > 0 && skips(s)) sum = log_add(sum, alpha[(t - 1) * S + s - 2]);
      alpha[t * S + s] = sum + log_p[t * p.V + states[s]];
    }
  for (int t = T - 1; t >= 0; --t)
    for (int s = 0; s < S; ++s) {
      const auto next = [&](int to) { return beta[(t + 1) * S + to] + log_p[(t + 1) * p.V + states[to]]; };
      double sum = t == T - 1 ? (s >= S - 2 ? 0 : kLogZero) : next(s);
      if (t < T - 1 && s + 1 < S) sum = log_add(sum, next(s + 1));
      if (t < T - 1 && s + 2 < S && skips(s + 2)) sum = log_add(sum, next(s + 2));
      beta[t * S + s] = sum;
    }
  double total = kLogZero;
  for (int s = std::max(0, S - 2); s < S; ++s) total = log_add(total, alpha[(T - 1) * S + s]);
  if (total == kLogZero) return -kLogZero;
  for (int t = 0; t < T; ++t) {
    double *row = &gradient[p.at(t, n)];
    for (int v = 0; v < p.V; ++v) row[v] = std::exp(log_p[t * p.V + v]);
    for (int s = 0; s < S; ++s) row[states[s]] -= std::exp(alpha[t * S + s] + beta[t * S + s] - total);
  }
  return -total;
}

struct Run {
  std::vector<float> costs, gradient;
  std::vector<int32_t> verdicts;
};

/// Buffers have exactly the documented sizes, so that the sanitizer reports a single byte beyond them.
Run run(const Problem &p, const std::vector<float> &dcosts, int threads, bool keep = true) {
  const ds2_ctc_shape shape = p.shape();
  size_t saved_bytes = 0, cost_bytes = 0, forward_bytes = 0;
  bool ok = !ds2_ctc_sizes(&shape, threads, &saved_bytes, &cost_bytes, &forward_bytes);
  std::vector<uint16_t> narrow_logits(p.bfloat16 ? p.logits.size() : 0), narrow_gradient(narrow_logits.size(), 0x7fc0);
  for (size_t i = 0; i < narrow_logits.size(); ++i) narrow_logits[i] = narrow(p.logits[i]);
  Run out{std::vector<float>(p.N, NAN), std::vector<float>(p.logits.size(), NAN), std::vector<int32_t>(p.N, -1)};
  const void *logits = p.bfloat16 ? static_cast<const void *>(narrow_logits.data()) : p.logits.data();
  void *gradient = p.bfloat16 ? static_cast<void *>(narrow_gradient.data()) : out.gradient.data();
  std::vector<char> saved(saved_bytes, '\x7f'), workspace(keep ? forward_bytes : cost_bytes, '\x7f');
  ok = ok && !ds2_ctc_forward(&shape, logits, p.targets.data(), p.input_lengths.data(), p.target_lengths.data(),
                              out.costs.data(), out.verdicts.data(), keep ? saved.data() : nullptr, workspace.data(),
                              workspace.size(), threads);
  ok = ok && (!keep || !ds2_ctc_backward(&shape, logits, saved.data(), dcosts.data(), gradient, threads));
  if (!ok) std::printf("refused: %s\n", ds2_last_error());
  for (size_t i = 0; i < narrow_gradient.size(); ++i) out.gradient[i] = widen(narrow_gradient[i]);
  return out;
}

Problem make(int32_t T, int32_t N, int32_t V, int32_t L, float range, bool batch_first, bool bfloat16, int32_t blank) {
  Problem p{T, N, V, L, blank, range, batch_first, bfloat16, {}, {}, {}, {}};
  std::mt19937 random(T * 1000 + N * 100 + V + L);
  const auto up_to = [&](int32_t most) { return std::uniform_int_distribution<int32_t>(0, most)(random); };
  std::uniform_real_distribution<float> logit(-range, range);
  p.logits.assign(static_cast<size_t>(T) * N * V, NAN);
  for (int n = 0; n < N; ++n) {
    p.input_lengths.push_back(n == 0 ? T : T / 2 + up_to(T - T / 2));
    p.target_lengths.push_back(n == 0 ? L : up_to(L));
    for (int t = 0; t < p.input_lengths[n]; ++t)
      for (int v = 0; v < V; ++v) p.logits[p.at(t, n) + v] = widen(narrow(logit(random)));
  }
  for (int i = 0; i < N * L; ++i) {
    const int32_t previous = i % L ? p.targets.back() : -1, drawn = (blank + 1 + up_to(V - 2)) % V;
    p.targets.push_back(previous >= 0 && up_to(3) == 0 ? previous : drawn);
  }
  return p;
}

bool same(const std::vector<float> &a, const std::vector<float> &b) {
  const auto bits_equal = [](float x, float y) { return std::memcmp(&x, &y, sizeof x) == 0; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), bits_equal);
}

bool check(const Problem &p) {
  std::vector<float> dcosts(p.N);
  for (int n = 0; n < p.N; ++n) dcosts[n] = 1 - 0.75f * (n % 3);
  const Run one = run(p, dcosts, 1);
  Doubles gradient(p.logits.size(), 0.0);
  double cost_error = 0, gradient_error = 0;
  bool good = true;
  for (int n = 0; n < p.N; ++n) {
    const double cost = reference(p, n, gradient);
    for (int t = 0; t < p.T; ++t)
      for (int v = 0; v < p.V; ++v) {
        const double expected = gradient[p.at(t, n) + v] * dcosts[n], found = one.gradient[p.at(t, n) + v];
        const double error = std::fabs(expected - found), allowed = 1e-6 + (p.bfloat16 ? std::fabs(expected) / 256 : 0);
        good = good && error <= allowed;
        gradient_error = error <= gradient_error ? gradient_error : error;
      }
    if (std::isinf(cost)) {
      good = good && std::isinf(one.costs[n]) && one.verdicts[n] == DS2_CTC_TOO_SHORT;
    } else {
      const double error = std::fabs(cost - one.costs[n]) / std::max(1.0, cost);
      cost_error = error <= cost_error ? cost_error : error;
      good = good && one.verdicts[n] == DS2_CTC_FINE;
    }
  }
  good = good && cost_error < 1e-6;
  for (const int threads : {2, 3, 5}) {
    const Run more = run(p, dcosts, threads);
    good = good && same(one.costs, more.costs) && same(one.gradient, more.gradient);
  }
  good = good && same(one.costs, run(p, dcosts, 2, false).costs);
  std::printf("%s T=%d N=%d V=%d L=%d blank=%d range=%g%s%s: cost %.1e, gradient %.1e\n", good ? "ok  " : "FAIL", p.T, p.N,
              p.V, p.L, p.blank, p.range, p.batch_first ? " batch first" : "", p.bfloat16 ? " bfloat16" : "", cost_error,
              gradient_error);
  return good;
}

bool expect(const char *name, bool passed) {
  if (!passed) std::printf("FAIL %s\n", name);
  return passed;
}

/// Utterances without a gradient, each between two valid ones.
bool check_verdicts() {
  const auto verdict_of = [](void (*spoil)(Problem &)) {
    Problem p = make(6, 3, 5, 3, 2, false, false, 0);
    p.input_lengths = {6, 6, 6}, p.target_lengths = {3, 3, 3}, p.targets = {1, 2, 3, 1, 2, 2, 4, 3, 1};
    for (float &x : p.logits) x = std::isnan(x) ? 0.5f : x;
    const Run before = run(p, {1, 1, 1}, 1);
    spoil(p);
    const Run after = run(p, {1, 1, 1}, 1);
    for (int t = 0; t < 6; ++t)
      for (int v = 0; v < 5; ++v) {
        const size_t i = p.at(t, 0) + v;
        const bool zero = after.gradient[i + 5] == 0, others = after.gradient[i] == before.gradient[i];
        if (!zero || !others) return -1;
      }
    const bool infinite = std::isinf(after.costs[1]), finite = std::isfinite(after.costs[1]);
    const bool expected_infinite = after.verdicts[1] == DS2_CTC_TOO_SHORT || after.verdicts[1] == DS2_CTC_IMPOSSIBLE;
    return !finite && infinite == expected_infinite ? after.verdicts[1] : -1;
  };
  constexpr float infinity = std::numeric_limits<float>::infinity();
  return expect("too short", verdict_of([](Problem &p) { p.input_lengths[1] = 3; }) == DS2_CTC_TOO_SHORT) &
         expect("no frames", verdict_of([](Problem &p) { p.input_lengths[1] = 0; }) == DS2_CTC_TOO_SHORT) &
         expect("impossible", verdict_of([](Problem &p) {
                  for (int t = 0; t < 6; ++t) p.logits[p.at(t, 1) + 2] = -infinity;
                }) == DS2_CTC_IMPOSSIBLE) &
         expect("NaN", verdict_of([](Problem &p) { p.logits[p.at(2, 1) + 4] = NAN; }) == DS2_CTC_NOT_FINITE) &
         expect("+inf", verdict_of([](Problem &p) { p.logits[p.at(5, 1)] = infinity; }) == DS2_CTC_NOT_FINITE) &
         expect("all -inf", verdict_of([](Problem &p) {
                  for (int v = 0; v < 5; ++v) p.logits[p.at(0, 1) + v] = -infinity;
                }) == DS2_CTC_NOT_FINITE) &
         expect("blank label", verdict_of([](Problem &p) { p.targets[4] = 0; }) == DS2_CTC_BAD_LABEL) &
         expect("label V", verdict_of([](Problem &p) { p.targets[5] = 5; }) == DS2_CTC_BAD_LABEL) &
         expect("label -1", verdict_of([](Problem &p) { p.targets[3] = -1; }) == DS2_CTC_BAD_LABEL) &
         expect("length T+1", verdict_of([](Problem &p) { p.input_lengths[1] = 7; }) == DS2_CTC_BAD_LENGTH) &
         expect("length -1", verdict_of([](Problem &p) { p.target_lengths[1] = -1; }) == DS2_CTC_BAD_LENGTH);
}

/// Lengths far outside the valid range, on any number of threads.
bool check_invalid_lengths() {
  constexpr int32_t least = std::numeric_limits<int32_t>::min(), most = std::numeric_limits<int32_t>::max();
  bool good = true;
  for (const int32_t length : {least, -5, 100000, most})
    for (const int threads : {1, 2, 8}) {
      Problem p = make(4, 6, 5, 3, 2, false, false, 0);
      std::fill(p.input_lengths.begin(), p.input_lengths.end(), length);
      std::fill(p.target_lengths.begin(), p.target_lengths.end(), length);
      const auto verdicts = run(p, std::vector<float>(6, 1), threads).verdicts;
      good = good && verdicts == std::vector<int32_t>(6, DS2_CTC_BAD_LENGTH);
    }
  return expect("invalid lengths", good);
}

/// An alignment that is almost certain in every frame: its cost is below the precision of floats near 1.
bool check_certain(float gap) {
  Problem p = make(3000, 1, 29, 600, 1, false, false, 0);
  for (int t = 0; t < p.T; ++t)
    for (int v = 0; v < p.V; ++v) p.logits[p.at(t, 0) + v] = v == (t % 5 == 2 ? p.targets[t / 5] : 0) ? gap : 0;
  Doubles gradient(p.logits.size(), 0.0);
  const double expected = reference(p, 0, gradient), found = run(p, {1}, 1).costs[0];
  std::printf("certain, %g nats: cost %.3e, off by %.1e of it\n", gap, expected, std::fabs(found / expected - 1));
  return expect("certain", std::fabs(found - expected) < 1e-5 * expected + 1e-9);
}

bool check_refusals() {
  ds2_ctc_shape shape{4, 2, 5, 3, 0, DS2_FLOAT32, 10, 5};
  size_t a, b, c;
  float x[40] = {};
  int32_t i[6] = {1, 1, 1, 1, 1, 1};
  const auto sizes = [&](ds2_ctc_shape s) { return ds2_ctc_sizes(&s, 1, &a, &b, &c); };
  const auto with = [&](auto change) {
    ds2_ctc_shape s = shape;
    change(s);
    return sizes(s) == DS2_INVALID && std::string(ds2_last_error()).find("expected") == 0;
  };
  return expect("V = 0", with([](ds2_ctc_shape &s) { s.V = 0; })) &
         expect("blank = V", with([](ds2_ctc_shape &s) { s.blank = 5; })) &
         expect("precision", with([](ds2_ctc_shape &s) { s.precision = 2; })) &
         expect("threads", ds2_ctc_sizes(&shape, 0, &a, &b, &c) == DS2_INVALID) &
         expect("NULL", ds2_ctc_forward(&shape, nullptr, i, i, i, x, i, x, x, 1 << 20, 1) == DS2_INVALID) &
         expect("workspace", ds2_ctc_forward(&shape, x, i, i, i, x, i, x, x, 8, 1) == DS2_WORKSPACE) &
         expect("memory", sizes({2147483647, 9, 5, (1 << 29) - 1, 0, DS2_FLOAT32, 10, 5}) == DS2_INVALID) &
         expect("sizes", sizes(shape) == DS2_OK && a > 0 && b > 0 && c > b);
}

}  // namespace

int main() {
  if (is_absent(ds2_isa(DS2_FLOAT32))) return kSkipped;
  bool good = true;
  for (const int32_t L : {0, 1, 2, 3, 14, 15, 16, 17, 30, 31, 32, 33, 48, 65})
    good = check(make(2 * L + 1, 4, 29, L, 3, L % 2, L % 3 == 0, L % 5)) && good;
  for (const int32_t V : {2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 66, 129, 1000})
    good = check(make(40, 3, V, 12, 4, V % 3 == 0, V % 2, V / 2)) && good;
  for (const int32_t T : {1, 2, 31, 32, 33, 65}) good = check(make(T, 5, 6, 4, 1, false, false, 5)) && good;
  for (const float range : {0.0f, 50.0f, 500.0f, 9000.0f})
    for (const int32_t V : {4, 29, 100}) good = check(make(150, 4, V, 40, range, true, false, 0)) && good;
  good = check(make(0, 2, 4, 2, 1, false, false, 0)) && good;
  good = check(make(1200, 2, 29, 300, 50, false, false, 0)) && good;
  good = check_verdicts() && good;
  good = check_invalid_lengths() && good;
  for (const float gap : {8.0f, 12.0f, 15.0f, 17.0f, 30.0f}) good = check_certain(gap) && good;
  good = check_refusals() && good;
  return good ? 0 : 1;
}
