#include "ctc.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

#include "ctc_shape.h"
#include "isa.h"
#include "pages.h"
#include "threads.h"

namespace ds2 {
namespace {

const CtcKernels &choose_kernels() {
  switch (best_isa(false)) {
#if defined(__x86_64__)
    case Isa::avx512: return avx512::ctc_kernels();
    case Isa::avx2: return avx2::ctc_kernels();
#endif
    default: return base::ctc_kernels();
  }
}

const CtcKernels &kernels() {
  static const CtcKernels &chosen = choose_kernels();
  return chosen;
}

/// Where `saved` keeps what, in 32-bit words: for each utterance its frames (0 unless it is fine), U and the symbols; then
/// for each its rows.
struct Saved {
  size_t most_symbols, label, rows, total;

  explicit Saved(const ds2_ctc_shape &s)
      : most_symbols(s.V <= kSmall ? s.V : std::min<size_t>(s.V, static_cast<size_t>(s.L) + 1)),
        label(2 + most_symbols),
        rows(s.T * (kHead + most_symbols) + kLanes),
        total(s.N * (label + rows)) {}
  size_t rows_of(const ds2_ctc_shape &s, int32_t n) const { return s.N * label + n * rows; }
};

/// Where a task of forward keeps what, in words from its own start.
struct Workspace {
  size_t places, slots, doors, scratch, alpha, label, rows, total;

  Workspace(const ds2_ctc_shape &s, bool keep) {
    const Saved saved(s);
    const size_t L = s.L, cells = trellis_floats(L);
    places = 0;
    slots = places + padded(s.V);
    doors = slots + padded(L + 1);
    scratch = doors + padded(L + 1);
    alpha = scratch + scratch_floats(L, saved.most_symbols);
    label = alpha + (keep ? static_cast<size_t>(s.T) + 1 : 2) * cells;
    rows = label + (keep ? 0 : padded(saved.label));
    total = rows + (keep ? 0 : padded(saved.rows));
  }
};

constexpr size_t kLine = 64;

size_t forward_bytes(const ds2_ctc_shape &s, int32_t threads, bool keep) {
  const size_t tasks = std::min(threads, std::max(s.N, 1));
  return (padded(s.N) + tasks * Workspace(s, keep).total) * sizeof(float) + kLine;
}

char *line_start(void *p) {
  return reinterpret_cast<char *>((reinterpret_cast<std::uintptr_t>(p) + kLine - 1) / kLine * kLine);
}

ds2_status check(const ds2_ctc_shape *shape, int32_t threads) {
  if (const ds2_status status = check_shape(shape)) return status;
  return threads < 1 ? fail(DS2_INVALID, "need threads > 0, got %d", threads) : DS2_OK;
}

const char *element(const ds2_ctc_shape &s, const void *array, int32_t t, int32_t n) {
  const int64_t size = s.precision == DS2_BFLOAT16 ? 2 : 4;
  return static_cast<const char *>(array) + (t * s.stride_t + n * s.stride_n) * size;
}

/// Steps that a label needs: one each, and a blank between equal neighbours.
int64_t steps_needed(const int32_t *label, int32_t L) {
  int64_t steps = L;
  for (int32_t i = 1; i < L; ++i) steps += label[i] == label[i - 1];
  return steps;
}

ds2_ctc_verdict judge(const ds2_ctc_shape &s, const int32_t *label, int32_t T, int32_t L) {
  if (T < 0 || T > s.T || L < 0 || L > s.L) return DS2_CTC_BAD_LENGTH;
  const auto bad = [&](int32_t symbol) { return symbol < 0 || symbol >= s.V || symbol == s.blank; };
  if (std::any_of(label, label + L, bad)) return DS2_CTC_BAD_LABEL;
  return steps_needed(label, L) > T ? DS2_CTC_TOO_SHORT : DS2_CTC_FINE;
}

/// Which symbols an utterance is about, and where its labels are among them. places: V, all -1, and left so.
void choose_symbols(CtcUtterance &u, const int32_t *label, int32_t blank, int32_t *places, int32_t *symbols,
                    int32_t *slots, int32_t *doors) {
  u.symbols = symbols, u.slots = slots, u.doors = doors;
  const auto slot_of = [&](int32_t symbol) {
    if (places[symbol] < 0) {
      places[symbol] = u.U;
      symbols[u.U++] = symbol;
    }
    return places[symbol];
  };
  for (int32_t v = 0; u.V <= kSmall && v < u.V; ++v) slot_of(v);
  u.blank = slot_of(blank);
  std::fill(slots, slots + padded(u.L + 1), 0);
  std::fill(doors, doors + padded(u.L + 1), 0);
  for (int32_t i = 1; i <= u.L; ++i) {
    slots[i] = slot_of(label[i - 1]);
    doors[i] = i < u.L && label[i] != label[i - 1] ? -1 : 0;
  }
  for (int32_t s = 0; s < u.U; ++s) places[symbols[s]] = -1;
}

struct Batch {
  const ds2_ctc_shape &shape;
  const void *logits;
  const int32_t *targets, *input_lengths, *target_lengths;
  float *costs;
  int32_t *verdicts;
  float *saved;
};

/// The cost of utterance n, its verdict, and its part of `saved`. space: a task's workspace.
void solve(const Batch &b, int32_t n, float *space) {
  const ds2_ctc_shape &s = b.shape;
  const Saved plan(s);
  const Workspace work(s, b.saved != nullptr);
  const int32_t *label = s.L ? b.targets + static_cast<size_t>(n) * s.L : nullptr;
  const auto ints = [space](size_t offset) { return reinterpret_cast<int32_t *>(space + offset); };
  int32_t *head = b.saved ? reinterpret_cast<int32_t *>(b.saved + n * plan.label) : ints(work.label);
  head[0] = head[1] = 0;
  const auto conclude = [&](ds2_ctc_verdict verdict, double cost) {
    b.verdicts[n] = verdict;
    b.costs[n] = static_cast<float>(cost);
  };
  constexpr double infinite = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();

  const int32_t T = b.input_lengths[n], L = b.target_lengths[n];
  const ds2_ctc_verdict verdict = judge(s, label, T, L);
  if (verdict != DS2_CTC_FINE) return conclude(verdict, verdict == DS2_CTC_TOO_SHORT ? infinite : nan);
  if (T == 0) return conclude(DS2_CTC_FINE, 0);

  CtcUtterance u{};
  u.T = T, u.V = s.V, u.L = L;
  u.bfloat16 = s.precision == DS2_BFLOAT16;
  u.logits = element(s, b.logits, 0, n), u.stride = s.stride_t;
  choose_symbols(u, label, s.blank, ints(work.places), head + 2, ints(work.slots), ints(work.doors));
  u.rows = b.saved ? b.saved + plan.rows_of(s, n) : space + work.rows;
  u.keep_alpha = b.saved != nullptr;
  u.alpha = space + work.alpha, u.scratch = space + work.scratch;
  const CtcTotal total = kernels().forward(u);
  if (!total.finite) return conclude(DS2_CTC_NOT_FINITE, nan);
  if (total.cost == infinite) return conclude(DS2_CTC_IMPOSSIBLE, infinite);
  if (b.saved) {
    kernels().occupy(u, total);
    head[0] = T, head[1] = u.U;
  }
  conclude(DS2_CTC_FINE, std::max(0.0, total.cost));
}

/// Threads that are worth starting: each should have about half a millisecond of work. steps: some nanoseconds each.
int worthwhile(int32_t threads, int64_t steps) {
  return static_cast<int>(std::clamp<int64_t>(1 + steps / 250000, 1, threads));
}

template <class Task>
void run_all(int count, int threads, const Task &task) {
  run_tasks(count, threads, [](void *context, int i) { (*static_cast<const Task *>(context))(i); },
            const_cast<Task *>(&task));
}

}  // namespace
}  // namespace ds2

using namespace ds2;

ds2_status ds2_ctc_sizes(const ds2_ctc_shape *shape, int32_t threads, size_t *out_saved_bytes, size_t *out_cost_bytes,
                         size_t *out_forward_bytes) {
  if (const ds2_status status = check(shape, threads)) return status;
  if (!out_saved_bytes || !out_cost_bytes || !out_forward_bytes) return fail(DS2_INVALID, "an output is NULL");
  *out_saved_bytes = Saved(*shape).total * sizeof(float);
  *out_cost_bytes = forward_bytes(*shape, threads, false);
  *out_forward_bytes = forward_bytes(*shape, threads, true);
  return DS2_OK;
}

ds2_status ds2_ctc_forward(const ds2_ctc_shape *shape, const void *logits, const int32_t *targets,
                           const int32_t *input_lengths, const int32_t *target_lengths, float *costs, int32_t *verdicts,
                           void *saved, void *workspace, size_t workspace_bytes, int32_t threads) {
  if (const ds2_status status = check(shape, threads)) return status;
  const ds2_ctc_shape &s = *shape;
  if (s.N == 0) return DS2_OK;
  if ((!logits && s.T) || (!targets && s.L) || !input_lengths || !target_lengths || !costs || !verdicts || !workspace)
    return fail(DS2_INVALID, "an array is NULL");
  const size_t needed = forward_bytes(s, threads, saved != nullptr);
  if (workspace_bytes < needed)
    return fail(DS2_WORKSPACE, "need %zu bytes of workspace, got %zu", needed, workspace_bytes);

  const Batch batch{s, logits, targets, input_lengths, target_lengths, costs, verdicts, static_cast<float *>(saved)};
  int32_t *const order = reinterpret_cast<int32_t *>(line_start(workspace));
  float *const spaces = reinterpret_cast<float *>(order + padded(s.N));
  const Workspace work(s, saved != nullptr);
  for (int32_t n = 0; n < s.N; ++n) order[n] = n;
  const auto cells = [&](int32_t n) {  // half of them; lengths that are wrong are judged later
    return static_cast<int64_t>(std::clamp(input_lengths[n], 0, s.T)) * std::clamp(target_lengths[n], 0, s.L);
  };
  std::sort(order, order + s.N, [&](int32_t a, int32_t b) { return cells(a) != cells(b) ? cells(a) > cells(b) : a < b; });

  prefer_large_pages(workspace, needed);
  if (saved) prefer_large_pages(saved, Saved(s).total * sizeof(float));
  std::atomic<int32_t> next{0};
  int64_t steps = static_cast<int64_t>(s.T) * s.N * s.V / 8;
  for (int32_t n = 0; n < s.N; ++n) steps += cells(n);
  const int32_t tasks = std::min(worthwhile(threads, steps), s.N);
  run_all(tasks, tasks, [&](int task) {
    float *const space = spaces + task * work.total;
    std::fill_n(reinterpret_cast<int32_t *>(space + work.places), s.V, -1);
    for (int32_t i; (i = next.fetch_add(1)) < s.N;) solve(batch, order[i], space);
  });
  return DS2_OK;
}

ds2_status ds2_ctc_backward(const ds2_ctc_shape *shape, const void *logits, const void *saved, const float *dcosts,
                            void *dlogits, int32_t threads) {
  if (const ds2_status status = check(shape, threads)) return status;
  const ds2_ctc_shape &s = *shape;
  const int64_t rows = static_cast<int64_t>(s.T) * s.N;
  if (rows == 0) return DS2_OK;
  if (!logits || !saved || !dcosts || !dlogits) return fail(DS2_INVALID, "an array is NULL");
  const Saved plan(s);
  const float *const words = static_cast<const float *>(saved);
  const bool frame_major = s.stride_n <= s.stride_t;
  prefer_large_pages(dlogits, element(s, dlogits, s.T - 1, s.N - 1) - static_cast<const char *>(dlogits));
  const int64_t each = std::max<int64_t>({1, 16384 / s.V, (rows >> 30) + 1});
  const int workers = worthwhile(threads, rows * s.V / 2);
  run_all(static_cast<int>((rows + each - 1) / each), workers, [&](int task) {
    for (int64_t i = task * each; i < std::min(rows, (task + 1) * each); ++i) {
      const int32_t t = static_cast<int32_t>(frame_major ? i / s.N : i % s.T);
      const int32_t n = static_cast<int32_t>(frame_major ? i % s.N : i / s.T);
      const int32_t *const head = reinterpret_cast<const int32_t *>(words + n * plan.label);
      CtcGradient g{};
      g.V = s.V, g.U = head[1], g.symbols = head + 2;
      g.bfloat16 = s.precision == DS2_BFLOAT16;
      g.scale = dcosts[n];
      g.logits = element(s, logits, t, n);
      g.gradient = const_cast<char *>(element(s, dlogits, t, n));
      g.row = t < head[0] ? words + plan.rows_of(s, n) + static_cast<size_t>(t) * (kHead + g.U) : nullptr;
      kernels().gradient(g);
    }
  });
  return DS2_OK;
}
