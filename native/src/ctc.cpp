#include "ctc.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

#include "ctc_shape.h"
#include "huge_pages.h"
#include "isa.h"
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

/// Layout of `saved`, in 32-bit words. First, per utterance: its number of frames (0 without a gradient), U and its
/// symbols; then, per utterance, its rows.
struct SavedLayout {
  size_t max_symbols, header, rows, total;

  explicit SavedLayout(const ds2_ctc_shape &s)
      : max_symbols(s.V <= kSmallAlphabet ? s.V : std::min<size_t>(s.V, static_cast<size_t>(s.L) + 1)),
        header(2 + max_symbols),
        rows(s.T * (kRowHeader + max_symbols) + kMaxLanes),
        total(s.N * (header + rows)) {}
  size_t rows_offset(const ds2_ctc_shape &s, int32_t n) const { return s.N * header + n * rows; }
};

/// Offsets within the workspace of one forward task, in 32-bit words.
struct WorkspaceLayout {
  size_t slot_table, slots, may_skip, scratch, alpha, header, rows, total;

  WorkspaceLayout(const ds2_ctc_shape &s, bool keep) {
    const SavedLayout saved(s);
    const size_t L = s.L, cells = trellis_floats(L);
    slot_table = 0;
    slots = slot_table + padded(s.V);
    may_skip = slots + padded(L + 1);
    scratch = may_skip + padded(L + 1);
    alpha = scratch + scratch_floats(L, saved.max_symbols);
    header = alpha + (keep ? static_cast<size_t>(s.T) + 1 : 2) * cells;
    rows = header + (keep ? 0 : padded(saved.header));
    total = rows + (keep ? 0 : padded(saved.rows));
  }
};

size_t forward_bytes(const ds2_ctc_shape &s, int32_t threads, bool keep) {
  const size_t tasks = std::min(threads, std::max(s.N, 1));
  return (padded(s.N) + tasks * WorkspaceLayout(s, keep).total) * sizeof(float) + kCacheLine;
}

char *align_to_cache_line(void *p) {
  return reinterpret_cast<char *>((reinterpret_cast<std::uintptr_t>(p) + kCacheLine - 1) / kCacheLine * kCacheLine);
}

ds2_status check(const ds2_ctc_shape *shape, int32_t threads) {
  if (const ds2_status status = check_shape(shape)) return status;
  return threads < 1 ? fail(DS2_INVALID, "expected threads > 0, got %d", threads) : DS2_OK;
}

const char *element(const ds2_ctc_shape &s, const void *array, int32_t t, int32_t n) {
  const int64_t size = s.precision == DS2_BFLOAT16 ? 2 : 4;
  return static_cast<const char *>(array) + (t * s.stride_t + n * s.stride_n) * size;
}

/// Frames that a label needs: one per label, plus a blank between equal neighbors.
int64_t frames_needed(const int32_t *label, int32_t L) {
  int64_t frames = L;
  for (int32_t i = 1; i < L; ++i) frames += label[i] == label[i - 1];
  return frames;
}

ds2_ctc_verdict find_verdict(const ds2_ctc_shape &s, const int32_t *label, int32_t T, int32_t L) {
  if (T < 0 || T > s.T || L < 0 || L > s.L) return DS2_CTC_BAD_LENGTH;
  const auto bad = [&](int32_t symbol) { return symbol < 0 || symbol >= s.V || symbol == s.blank; };
  if (std::any_of(label, label + L, bad)) return DS2_CTC_BAD_LABEL;
  return frames_needed(label, L) > T ? DS2_CTC_TOO_SHORT : DS2_CTC_FINE;
}

/// Collect the distinct symbols of an utterance and the index of each label among them. slot_table: (V,), all -1 on
/// entry and on return.
void assign_slots(CtcUtterance &u, const int32_t *label, int32_t blank, int32_t *slot_table, int32_t *symbols,
                  int32_t *slots, int32_t *may_skip) {
  u.symbols = symbols, u.slots = slots, u.may_skip = may_skip;
  const auto slot_of = [&](int32_t symbol) {
    if (slot_table[symbol] < 0) {
      slot_table[symbol] = u.U;
      symbols[u.U++] = symbol;
    }
    return slot_table[symbol];
  };
  for (int32_t v = 0; u.V <= kSmallAlphabet && v < u.V; ++v) slot_of(v);
  u.blank = slot_of(blank);
  std::fill(slots, slots + padded(u.L + 1), 0);
  std::fill(may_skip, may_skip + padded(u.L + 1), 0);
  for (int32_t i = 1; i <= u.L; ++i) {
    slots[i] = slot_of(label[i - 1]);
    may_skip[i] = i < u.L && label[i] != label[i - 1] ? -1 : 0;
  }
  for (int32_t s = 0; s < u.U; ++s) slot_table[symbols[s]] = -1;
}

struct Batch {
  const ds2_ctc_shape &shape;
  const void *logits;
  const int32_t *targets, *input_lengths, *target_lengths;
  float *costs;
  int32_t *verdicts;
  float *saved;
};

/// Compute the cost of utterance n, its verdict and its part of `saved`. space: the workspace of the task.
void solve_utterance(const Batch &b, int32_t n, float *space) {
  const ds2_ctc_shape &s = b.shape;
  const SavedLayout layout(s);
  const WorkspaceLayout work_layout(s, b.saved != nullptr);
  const int32_t *label = s.L ? b.targets + static_cast<size_t>(n) * s.L : nullptr;
  const auto ints = [space](size_t offset) { return reinterpret_cast<int32_t *>(space + offset); };
  int32_t *header = b.saved ? reinterpret_cast<int32_t *>(b.saved + n * layout.header) : ints(work_layout.header);
  header[0] = header[1] = 0;
  const auto finish = [&](ds2_ctc_verdict verdict, double cost) {
    b.verdicts[n] = verdict;
    b.costs[n] = static_cast<float>(cost);
  };
  constexpr double infinite = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();

  const int32_t T = b.input_lengths[n], L = b.target_lengths[n];
  const ds2_ctc_verdict verdict = find_verdict(s, label, T, L);
  if (verdict != DS2_CTC_FINE) return finish(verdict, verdict == DS2_CTC_TOO_SHORT ? infinite : nan);
  if (T == 0) return finish(DS2_CTC_FINE, 0);

  CtcUtterance u{};
  u.T = T, u.V = s.V, u.L = L;
  u.bfloat16 = s.precision == DS2_BFLOAT16;
  u.logits = element(s, b.logits, 0, n), u.stride = s.stride_t;
  assign_slots(u, label, s.blank, ints(work_layout.slot_table), header + 2, ints(work_layout.slots),
               ints(work_layout.may_skip));
  u.rows = b.saved ? b.saved + layout.rows_offset(s, n) : space + work_layout.rows;
  u.keep_alpha = b.saved != nullptr;
  u.alpha = space + work_layout.alpha, u.scratch = space + work_layout.scratch;
  const CtcTotal total = kernels().forward(u);
  if (!total.finite) return finish(DS2_CTC_NOT_FINITE, nan);
  if (total.cost == infinite) return finish(DS2_CTC_IMPOSSIBLE, infinite);
  if (b.saved) {
    kernels().compute_occupancies(u, total);
    header[0] = T, header[1] = u.U;
  }
  finish(DS2_CTC_FINE, std::max(0.0, total.cost));
}

/// Number of threads worth starting: each should have about half a millisecond of work. steps: the total work, in steps
/// of a few nanoseconds.
int useful_threads(int32_t threads, int64_t steps) {
  return static_cast<int>(std::clamp<int64_t>(1 + steps / 250000, 1, threads));
}

/// Run task(0) to task(count - 1) on `threads` threads.
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
  if (!out_saved_bytes || !out_cost_bytes || !out_forward_bytes) return fail(DS2_INVALID, "an output pointer is NULL");
  *out_saved_bytes = SavedLayout(*shape).total * sizeof(float);
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
    return fail(DS2_WORKSPACE, "expected a workspace of %zu bytes, got %zu", needed, workspace_bytes);

  const Batch batch{s, logits, targets, input_lengths, target_lengths, costs, verdicts, static_cast<float *>(saved)};
  int32_t *const order = reinterpret_cast<int32_t *>(align_to_cache_line(workspace));
  float *const spaces = reinterpret_cast<float *>(order + padded(s.N));
  const WorkspaceLayout work_layout(s, saved != nullptr);
  for (int32_t n = 0; n < s.N; ++n) order[n] = n;
  const auto cells = [&](int32_t n) {  // half their number; invalid lengths get their verdict later
    return static_cast<int64_t>(std::clamp(input_lengths[n], 0, s.T)) * std::clamp(target_lengths[n], 0, s.L);
  };
  const auto longer = [&](int32_t a, int32_t b) { return cells(a) != cells(b) ? cells(a) > cells(b) : a < b; };
  std::sort(order, order + s.N, longer);

  advise_huge_pages(workspace, needed);
  if (saved) advise_huge_pages(saved, SavedLayout(s).total * sizeof(float));
  std::atomic<int32_t> next{0};
  int64_t steps = static_cast<int64_t>(s.T) * s.N * s.V / 8;
  for (int32_t n = 0; n < s.N; ++n) steps += cells(n);
  const int32_t tasks = std::min(useful_threads(threads, steps), s.N);
  run_all(tasks, tasks, [&](int task) {
    float *const space = spaces + task * work_layout.total;
    std::fill_n(reinterpret_cast<int32_t *>(space + work_layout.slot_table), s.V, -1);
    for (int32_t i; (i = next.fetch_add(1)) < s.N;) solve_utterance(batch, order[i], space);
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
  const SavedLayout layout(s);
  const float *const words = static_cast<const float *>(saved);
  const bool frame_major = s.stride_n <= s.stride_t;
  advise_huge_pages(dlogits, element(s, dlogits, s.T - 1, s.N - 1) - static_cast<const char *>(dlogits));
  const int64_t rows_per_task = std::max<int64_t>({1, 16384 / s.V, (rows >> 30) + 1});
  const int workers = useful_threads(threads, rows * s.V / 2);
  run_all(static_cast<int>((rows + rows_per_task - 1) / rows_per_task), workers, [&](int task) {
    for (int64_t i = task * rows_per_task; i < std::min(rows, (task + 1) * rows_per_task); ++i) {
      const int32_t t = static_cast<int32_t>(frame_major ? i / s.N : i % s.T);
      const int32_t n = static_cast<int32_t>(frame_major ? i % s.N : i / s.T);
      const int32_t *const header = reinterpret_cast<const int32_t *>(words + n * layout.header);
      CtcGradient g{};
      g.V = s.V, g.U = header[1], g.symbols = header + 2;
      g.bfloat16 = s.precision == DS2_BFLOAT16;
      g.scale = dcosts[n];
      g.logits = element(s, logits, t, n);
      g.gradient = const_cast<char *>(element(s, dlogits, t, n));
      g.row = t < header[0] ? words + layout.rows_offset(s, n) + static_cast<size_t>(t) * (kRowHeader + g.U) : nullptr;
      kernels().write_gradient(g);
    }
  });
  return DS2_OK;
}
