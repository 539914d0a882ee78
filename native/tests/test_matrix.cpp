// Packed matrices and recurrences of streams compared with their formulas, to the bit, and with double precision.
// Under the sanitizers this also proves that no call reads or writes outside buffers of the documented sizes.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>

#include "ds2_native.h"
#include "instruction_set.h"
#include "matrix_formulas.h"

namespace {

const char *const kFormats[] = {"float32", "bfloat16", "int8"};
const char *const kCells[] = {"gru-tanh", "gru-relu", "rnn-tanh", "rnn-relu", "lstm"};
constexpr int kGates[] = {3, 3, 1, 1, 4}, kStates[] = {1, 1, 1, 1, 2};

/// Equal to the bit, or both NaN.
bool same(float a, float b) { return bits_of(a) == bits_of(b) || (std::isnan(a) && std::isnan(b)); }

bool same(const Floats &a, const Floats &b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return same(x, y); });
}

bool report(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool report(bool good, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::printf("%s ", good ? "ok  " : "FAIL");
  std::vprintf(format, arguments);
  std::printf("\n");
  va_end(arguments);
  return good;
}

Floats random_floats(size_t count, float scale, std::mt19937 &random) {
  std::normal_distribution<float> normal;
  Floats out(count);
  for (float &x : out) x = normal(random) * scale;
  return out;
}

/// A matrix, packed into a buffer of exactly the documented size.
struct Packed {
  ds2_matrix_shape shape;
  std::vector<char> bytes;

  Packed(int format, int J, int K, const Floats &weights) : shape{format, J, K} {
    size_t packed_bytes = 0, unused = 0;
    if (ds2_matrix_sizes(&shape, 1, &packed_bytes, &unused)) std::abort();
    bytes.assign(packed_bytes, '\x7f');
    if (ds2_matrix_pack(&shape, weights.data(), bytes.data())) std::abort();
  }

  std::vector<char> workspace(int rows) const {
    size_t unused = 0, workspace_bytes = 0;
    if (ds2_matrix_sizes(&shape, rows, &unused, &workspace_bytes)) std::abort();
    return std::vector<char>(workspace_bytes, '\x7f');
  }

  Floats apply(const std::vector<const float *> &rows, const float *bias = nullptr, int activation = 0) const {
    const int M = static_cast<int>(rows.size());
    std::vector<char> work = workspace(M);
    Floats y(static_cast<size_t>(M) * shape.J, -1e30f);
    if (ds2_matrix_apply(&shape, bytes.data(), bias, activation, M, rows.data(), y.data(), work.data(), work.size()))
      std::printf("refused: %s\n", ds2_last_error());
    return y;
  }
};

/// Whether a product and its sum are rounded once: (1 + e)^2 - (1 + 2 e) is then e^2, and otherwise zero.
bool is_fused() {
  const float e = 1.0f / 4096, x[] = {1, 1 + e};
  static const bool fused = Packed(DS2_WEIGHTS_FLOAT32, 1, 2, {-1 - 2 * e, 1 + e}).apply({x})[0] != 0;
  return fused;
}

std::vector<const float *> row_pointers(const Floats &x, int M, int stride) {
  std::vector<const float *> rows(M);
  for (int m = 0; m < M; ++m) rows[m] = x.data() + static_cast<size_t>(m) * stride;
  return rows;
}

/// Products, each row alone and among others, rows that overlap, the bias and the clipped ReLU.
bool check_apply(int format, int J, int K, int M) {
  std::mt19937 random(J * 1000 + K * 10 + M);
  const Floats weights = random_floats(static_cast<size_t>(J) * K, 1, random), bias = random_floats(J, 10, random);
  const int stride = std::max(1, K / 3);  // rows overlap
  const Floats x = random_floats(static_cast<size_t>(M - 1) * stride + K, 3, random);
  const std::vector<const float *> rows = row_pointers(x, M, stride);
  const Packed matrix(format, J, K, weights);
  const Floats plain = matrix.apply(rows), biased = matrix.apply(rows, bias.data());
  const Floats clipped = matrix.apply(rows, bias.data(), 1), only_clipped = matrix.apply(rows, nullptr, 1);
  bool good = true;
  const auto clip = [](float v) { return std::min(std::max(v, 0.0f), DS2_CLIP); };
  for (int m = 0; m < M; ++m) {
    const Floats alone = matrix.apply({rows[m]}, bias.data());
    for (int j = 0; j < J; ++j) {
      const size_t at = static_cast<size_t>(m) * J + j;
      const float *w = weights.data() + static_cast<size_t>(j) * K, *row = rows[m];
      const float expected = product(format, w, row, K, is_fused()), sum = expected + bias[j];
      good = good && same(plain[at], expected) && same(biased[at], sum) && same(alone[j], sum);
      good = good && same(clipped[at], clip(sum)) && same(only_clipped[at], clip(expected));
      good = good && std::fabs(expected - exact_product(w, row, K)) <= allowed_error(format, w, row, K);
    }
  }
  return good || report(false, "%s J=%d K=%d M=%d", kFormats[format], J, K, M);
}

/// Rows with a NaN, an infinity, zeros, tiny and huge values, between ordinary rows.
bool check_odd_values(int format) {
  std::mt19937 random(1);
  const int J = 21, K = 35, M = 9;
  Floats weights = random_floats(J * K, 1, random), x = random_floats(M * K, 1, random);
  const std::vector<const float *> rows = row_pointers(x, M, K);
  const Floats before = Packed(format, J, K, weights).apply(rows);
  x[1 * K + 17] = NAN, x[3 * K] = INFINITY, x[5 * K + 34] = -INFINITY;
  for (int k = 0; k < K; ++k) x[7 * K + k] = 0, x[8 * K + k] *= 1e-36f;
  const Floats after = Packed(format, J, K, weights).apply(rows);
  bool good = true;
  for (int m = 0; m < M; ++m)
    for (int j = 0; j < J; ++j) {
      const float y = after[m * J + j];
      if (m == 1)
        good = good && std::isnan(y);
      else if (m == 3 || m == 5)
        good = good && !std::isfinite(y) && (format != DS2_WEIGHTS_INT8 || std::isnan(y));
      else if (m == 7)
        good = good && y == 0;
      else if (m == 8)
        good = good && std::fabs(y) < 1e-34f;
      else
        good = good && same(y, before[m * J + j]);
    }
  // weights of an output: zeros, a NaN, values that are tiny or huge
  for (int k = 0; k < K; ++k) weights[2 * K + k] = 0, weights[3 * K + k] *= 1e-39f, weights[4 * K + k] *= 1e36f;
  weights[5 * K + 3] = NAN;
  for (int k = 0; k < K; ++k) x[8 * K + k] *= 1e36f;
  const Floats odd = Packed(format, J, K, weights).apply({x.data(), x.data() + 8 * K});
  for (int m = 0; m < 2; ++m) {
    good = good && odd[m * J + 2] == 0 && std::fabs(odd[m * J + 3]) < 1e-36f && std::isnan(odd[m * J + 5]);
    good = good && std::isfinite(odd[m * J + 4]) && std::fabs(odd[m * J + 4]) > 1e33f;
  }
  return report(good, "%s odd values", kFormats[format]);
}

/// The integer sums of the largest possible factors do not overflow, and packing is idempotent.
bool check_int8_limits() {
  bool good = true;
  for (const int K : {1, 516, 517, 2560, 100001}) {
    const Floats weights(K, -0.37f), x(K, 5.0f);
    const float y = Packed(DS2_WEIGHTS_INT8, 1, K, weights).apply({x.data()})[0];
    good = good && same(y, product(DS2_WEIGHTS_INT8, weights.data(), x.data(), K, false)) &&
           std::fabs(y / (-0.37 * 5.0 * K) - 1) < 1e-3;
  }
  std::mt19937 random(3);
  const int J = 300, K = 33;
  const Floats weights = random_floats(static_cast<size_t>(J) * K, 0.1f, random), x = random_floats(K, 1, random);
  Floats rounded(weights.size());
  for (int j = 0; j < J; ++j) {
    const Quantised q = quantise_weights(weights.data() + j * K, K);
    for (int k = 0; k < K; ++k) rounded[j * K + k] = static_cast<float>(q.values[k]) * q.scale;
  }
  good = good && Packed(DS2_WEIGHTS_INT8, J, K, weights).bytes == Packed(DS2_WEIGHTS_INT8, J, K, rounded).bytes;
  return report(good, "int8: the largest factors, and weights quantised before");
}

struct Streams {
  std::vector<int32_t> lengths;
  std::vector<Floats> gates, state, h;
};

/// Frames `begin` to at most `begin + count` of every stream; state and h are updated. In the order of `streams`.
bool advance(const Packed &matrix, int cell, Streams &s, const std::vector<int> &streams,
             const std::function<std::pair<int, int>(int)> &frames) {
  const int N = static_cast<int>(streams.size()), H = matrix.shape.K;
  std::vector<int32_t> lengths(N);
  std::vector<const float *> gates(N);
  std::vector<float *> state(N), h(N);
  for (int i = 0; i < N; ++i) {
    const int n = streams[i];
    const auto [begin, end] = frames(n);
    lengths[i] = end - begin;
    gates[i] = end > begin ? s.gates[n].data() + static_cast<size_t>(begin) * matrix.shape.J : nullptr;
    h[i] = end > begin ? s.h[n].data() + static_cast<size_t>(begin) * H : nullptr;
    state[i] = s.state[n].data();
  }
  std::vector<char> work = matrix.workspace(N);
  const bool good = !ds2_rnn_advance(&matrix.shape, cell, matrix.bytes.data(), N, lengths.data(), gates.data(),
                                     state.data(), h.data(), work.data(), work.size());
  if (!good) std::printf("refused: %s\n", ds2_last_error());
  return good;
}

/// The states of one stream by ds2_rnn_forward, and the state at its end.
bool forward(int cell, int H, const Floats &recurrent, const Floats &gates, int T, const Floats &start, Floats &h,
             Floats &end) {
  size_t unused = 0, bytes = 0;
  const ds2_rnn_shape shape{cell, 1, T, 1, T, H};
  if (ds2_rnn_sizes(&shape, 1, &unused, &bytes, &unused)) return false;
  std::vector<char> workspace(bytes);
  return !ds2_rnn_forward(&shape, gates.data(), recurrent.data(), &T, start.data(), h.data(), end.data(), nullptr,
                          workspace.data(), bytes, 1, DS2_FLOAT32);
}

/// Streams together, alone and in chunks, and the layer over whole recordings. In float32 it is the layer of training; in
/// the other formats one frame at a time: the product of the state is added to the projection first, with U = 0.
bool check_advance(int format, int cell, int H, const std::vector<int32_t> &lengths) {
  std::mt19937 random(cell * 100 + H);
  const int N = static_cast<int>(lengths.size()), G = kGates[cell], J = G * H;
  const Floats recurrent = random_floats(static_cast<size_t>(J) * H, 1 / std::sqrt(static_cast<float>(H)), random);
  const Packed matrix(format, J, H, recurrent);
  Streams first{lengths, {}, {}, {}};
  std::vector<int> all;
  for (int n = 0; n < N; ++n) {
    first.gates.push_back(random_floats(static_cast<size_t>(lengths[n]) * J, 1, random));
    first.state.push_back(random_floats(static_cast<size_t>(kStates[cell]) * H, 1, random));
    first.h.push_back(Floats(static_cast<size_t>(lengths[n]) * H, NAN));
    all.push_back(n);
  }
  Streams together = first, alone = first, chunks = first;
  bool good = advance(matrix, cell, together, all, [&](int n) { return std::make_pair(0, lengths[n]); });
  for (int n = 0; n < N; ++n)
    good = good && advance(matrix, cell, alone, {n}, [&](int n) { return std::make_pair(0, lengths[n]); });
  std::vector<int> done(N, 0);
  while (done != lengths) {
    std::vector<int> next(N), some;
    for (int n = N - 1; n >= 0; --n) {
      next[n] = std::min(lengths[n], done[n] + static_cast<int>(random() % 4));
      if (next[n] > done[n] || n % 2) some.push_back(n);  // also streams without a frame
    }
    good = good && advance(matrix, cell, chunks, some, [&](int n) { return std::make_pair(done[n], next[n]); });
    done = next;
  }
  for (int n = 0; n < N; ++n) {
    good = good && same(together.h[n], alone.h[n]) && same(together.state[n], alone.state[n]) &&
           same(together.h[n], chunks.h[n]) && same(together.state[n], chunks.state[n]);
    if (lengths[n] == 0) {
      good = good && same(together.state[n], first.state[n]);
    } else if (format == DS2_WEIGHTS_FLOAT32) {
      Floats h(together.h[n].size(), NAN), end(first.state[n].size(), NAN);
      good = good && forward(cell, H, recurrent, first.gates[n], lengths[n], first.state[n], h, end) &&
             same(h, together.h[n]) && same(end, together.state[n]);
    }
  }
  // a reset gate multiplies the product, so a GRU's cannot be added to its projection
  const Floats zeros(recurrent.size(), 0.0f);
  for (int n = 0; n < N && G != 3; ++n) {
    Floats state = first.state[n];
    for (int t = 0; t < lengths[n]; ++t) {
      Floats x(first.gates[n].begin() + t * J, first.gates[n].begin() + (t + 1) * J), h(H), end(state.size());
      for (int j = 0; j < J; ++j) x[j] += product(format, recurrent.data() + j * H, state.data(), H, is_fused());
      good = good && forward(cell, H, zeros, x, 1, state, h, end);
      state = end;
      good = good && std::equal(h.begin(), h.end(), together.h[n].begin() + t * H);
    }
  }
  return good || report(false, "%s %s H=%d N=%d", kFormats[format], kCells[cell], H, N);
}

bool check_refusals() {
  size_t bytes = 0;
  const float one[4] = {1, 1, 1, 1}, *rows[2] = {one, nullptr};
  float y[4] = {}, *out[1] = {y}, *none[1] = {nullptr};
  std::vector<char> buffer(4096);
  const auto says = [](ds2_status status, ds2_status expected, const char *text) {
    const bool good = status == expected && std::string(ds2_last_error()).find(text) != std::string::npos;
    return good || report(false, "expected a refusal with \"%s\", got %d: %s", text, status, ds2_last_error());
  };
  const auto sizes = [&](ds2_matrix_shape shape, int M) { return ds2_matrix_sizes(&shape, M, &bytes, &bytes); };
  const ds2_matrix_shape shape{DS2_WEIGHTS_INT8, 1, 1};
  const auto apply = [&](const float *const *x, int M, int activation, size_t size) {
    return ds2_matrix_apply(&shape, buffer.data(), nullptr, activation, M, x, y, buffer.data() + 2048, size);
  };
  const auto advance = [&](ds2_matrix_shape of, int cell, int32_t length, float *const *state, size_t size) {
    return ds2_rnn_advance(&of, cell, buffer.data(), 1, &length, rows, state, out, buffer.data() + 2048, size);
  };
  bool good = says(sizes({3, 1, 1}, 1), DS2_INVALID, "got 3") && says(sizes({-1, 1, 1}, 1), DS2_INVALID, "got -1") &&
              says(sizes({0, 0, 1}, 1), DS2_INVALID, "J=0 K=1") && says(sizes({0, 1, 0}, 1), DS2_INVALID, "J=1 K=0") &&
              says(sizes({0, 1, 1 << 18}, 1), DS2_INVALID, "K=262144") &&
              says(sizes(shape, -1), DS2_INVALID, "got -1") &&
              says(ds2_matrix_sizes(nullptr, 1, &bytes, &bytes), DS2_INVALID, "shape is NULL") &&
              says(ds2_matrix_sizes(&shape, 1, nullptr, &bytes), DS2_INVALID, "NULL") &&
              says(ds2_matrix_pack(&shape, nullptr, buffer.data()), DS2_INVALID, "NULL");
  good = good && says(apply(rows, 1, 2, 2048), DS2_INVALID, "got 2") &&
         says(apply(rows, 2, 0, 2048), DS2_INVALID, "x[1]") &&
         says(apply(rows, 1, 0, 8), DS2_WORKSPACE, "got 8") && says(apply(nullptr, 1, 0, 2048), DS2_INVALID, "NULL") &&
         says(apply(rows, -1, 0, 2048), DS2_INVALID, "got -1") && apply(nullptr, 0, 0, 0) == DS2_OK;
  good = good && says(advance(shape, 5, 1, out, 2048), DS2_INVALID, "got 5") &&
         says(advance(shape, DS2_LSTM, 1, out, 2048), DS2_INVALID, "J = 4*K") &&
         says(advance(shape, DS2_RNN_TANH, -1, out, 2048), DS2_INVALID, "lengths[0]=-1") &&
         says(advance(shape, DS2_RNN_TANH, 1, none, 2048), DS2_INVALID, "state[0]") &&
         says(advance(shape, DS2_RNN_TANH, 1, out, 8), DS2_WORKSPACE, "got 8") &&
         advance(shape, DS2_RNN_TANH, 0, none, 2048) == DS2_OK;
  return report(good, "refusals");
}

}  // namespace

bool check_row_conv(int H, int taps, int M) {
  std::mt19937 random(H * 100 + taps);
  std::normal_distribution<float> normal;
  const size_t units = static_cast<size_t>(H);
  Floats frames((M + taps - 1) * units), weights(taps * units), y(M * units);
  for (float &x : frames) x = normal(random);
  for (float &x : weights) x = normal(random);
  if (ds2_row_conv(H, taps, M, frames.data(), weights.data(), y.data()) != DS2_OK) return false;
  for (int m = 0; m < M; ++m)
    for (int j = 0; j < H; ++j) {
      double sum = 0;
      for (int t = 0; t < taps; ++t) sum += static_cast<double>(weights[t * H + j]) * frames[(m + t) * H + j];
      if (std::fabs(sum - y[m * H + j]) > 1e-5) return false;
    }
  return true;
}

int main() {
  if (is_absent(ds2_isa(DS2_BFLOAT16))) return kSkipped;
  std::printf("instruction set: %s\n", ds2_isa(DS2_FLOAT32));
  bool good = check_refusals() && check_int8_limits();
  for (const int format : {DS2_WEIGHTS_FLOAT32, DS2_WEIGHTS_BFLOAT16, DS2_WEIGHTS_INT8}) {
    bool same = true;
    for (const int J : {1, 7, 8, 9, 31, 448})
      for (const int K : {1, 7, 8, 9, 31, 448})
        for (const int M : {1, 2, 3, 4, 5, 6, 7, 8, 9})
          if (J * K <= 31 * 448 || M == 4) same = check_apply(format, J, K, M) && same;
    for (const int M : {47, 48, 49, 110}) same = check_apply(format, 65, 530, M) && same;
    good = report(same, "%s: products", kFormats[format]) && check_odd_values(format) && good;
    same = true;
    for (int cell = DS2_GRU_TANH; cell <= DS2_LSTM; ++cell) {
      for (const int H : {1, 7, 8, 33, 65})
        for (const auto &lengths : {std::vector<int32_t>{5}, {0}, {3, 0, 6, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9}})
          same = check_advance(format, cell, H, lengths) && same;
      std::vector<int32_t> many(101);
      for (int n = 0; n < 101; ++n) many[n] = n % 4;
      same = check_advance(format, cell, 9, many) && same;
    }
    good = report(same, "%s: recurrences", kFormats[format]) && good;
  }
  bool same = ds2_row_conv(3, 0, 1, nullptr, nullptr, nullptr) == DS2_INVALID;
  same = ds2_row_conv(3, 2, 1, nullptr, nullptr, nullptr) == DS2_INVALID && same;
  for (const int H : {1, 7, 8, 33}) same = check_row_conv(H, 1, 1) && check_row_conv(H, 21, 4) && same;
  return report(same, "row convolutions") && good ? 0 : 1;
}
