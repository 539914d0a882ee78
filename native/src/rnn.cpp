#include "rnn.h"

#include <cstdint>

#include "isa.h"
#include "pages.h"
#include "status.h"
#include "threads.h"

namespace ds2 {
namespace {

const RnnKernels &choose_kernels(bool bfloat16) {
  switch (best_isa(bfloat16)) {
#if defined(__x86_64__)
#if DS2_HAVE_BF16
    case Isa::avx512bf16: return avx512bf16::rnn_kernels();
#endif
    case Isa::avx512: return avx512::rnn_kernels();
    case Isa::avx2: return avx2::rnn_kernels();
#endif
    default: return base::rnn_kernels();
  }
}

const RnnKernels &kernels(int32_t precision) {
  static const RnnKernels &exact = choose_kernels(false), &quick = choose_kernels(true);
  return precision == DS2_BFLOAT16 ? quick : exact;
}

struct Shape {
  int32_t D, T, N, M, H, threads;
  CellShape cell;

  /// Every direction is walked by this many tasks, each with its own rows.
  int32_t shards() const {
    const int32_t wanted = threads / D;
    return wanted < 1 ? 1 : wanted > N ? N : wanted;
  }
  size_t state() const { return static_cast<size_t>(M) * H; }
  size_t gates() const { return cell.gates * state(); }
  size_t reserve() const { return static_cast<size_t>(M) * cell.saved * pad(H); }
  size_t packed() const { return cell.gates * pad(H) * pad(H); }
  size_t packed_states() const { return pad(H) * kWeightTerms; }
  int32_t most_rows() const { return (N + shards() - 1) / shards(); }
  size_t operand(int32_t gates) const { return 2 * pad(H) * most_rows() * gates; }
  size_t memory() const { return cell.remembers ? pad(H) * most_rows() : 0; }
  size_t starts() const { return pad(T); }
};

/// Where a call keeps what, in floats from the start of the workspace; every part starts on a cache line.
/// each: floats of one task's `packed`. dapart and dgates are backward's.
struct Plan {
  size_t each, memory, packed, operand, dapart, dgates, total;

  Plan(const Shape &s, bool backward) {
    const size_t tasks = static_cast<size_t>(s.D) * s.shards();
    each = backward && s.packed_states() > s.packed() ? s.packed_states() : s.packed();
    memory = s.starts();
    packed = memory + tasks * s.memory();
    operand = packed + tasks * each;
    dapart = operand + tasks * s.operand(backward ? s.cell.gates : 1);
    dgates = dapart + (backward && s.cell.apart ? s.D * pad(s.state()) : 0);
    total = dgates + (backward ? (s.D - 1) * pad(s.gates()) : 0);
  }
};

constexpr size_t kLine = 64;

size_t bytes_of(size_t floats) { return floats * sizeof(float) + kLine; }

float *line_start(void *p) {
  return reinterpret_cast<float *>((reinterpret_cast<std::uintptr_t>(p) + kLine - 1) / kLine * kLine);
}

/// Take in what the caller says of the layer.
ds2_status read_shape(const ds2_rnn_shape *given, int32_t threads, Shape &s) {
  if (!given) return fail(DS2_INVALID, "the shape is NULL");
  s = Shape{given->D, given->T, given->N, given->M, given->H, threads, {}};
  if (s.D < 1 || s.D > 2 || s.T < 1 || s.N < 1 || s.M < 0 || s.H < 1 || s.threads < 1)
    return fail(DS2_INVALID, "need D = 1 or 2, T, N, H, threads > 0, M >= 0, got D=%d T=%d N=%d M=%d H=%d threads=%d",
                s.D, s.T, s.N, s.M, s.H, s.threads);
  if (given->cell < 0 || given->cell >= kCells)
    return fail(DS2_INVALID, "need cell = 0 to %d, got %d", kCells - 1, given->cell);
  s.cell = kernels(DS2_FLOAT32).cells[given->cell].shape;
  return DS2_OK;
}

ds2_status check_call(const Shape &s, const int32_t *lengths, int32_t precision, bool has_arrays, size_t given_bytes,
                      size_t needed_bytes) {
  if (precision != DS2_FLOAT32 && precision != DS2_BFLOAT16)
    return fail(DS2_INVALID, "need precision = 0 (float32) or 1 (bfloat16), got %d", precision);
  if (!has_arrays || !lengths) return fail(DS2_INVALID, "an array is NULL");
  int64_t sum = 0;
  for (int32_t n = 0; n < s.N; ++n) {
    if (lengths[n] < 0 || lengths[n] > s.T)
      return fail(DS2_INVALID, "need 0 <= lengths <= T=%d, got lengths[%d]=%d", s.T, n, lengths[n]);
    if (n > 0 && lengths[n] > lengths[n - 1])
      return fail(DS2_INVALID, "need lengths sorted longest first, got lengths[%d]=%d after %d", n, lengths[n],
                  lengths[n - 1]);
    sum += lengths[n];
  }
  const int64_t padded = static_cast<int64_t>(s.T) * s.N;
  if (s.M != padded && s.M != sum)
    return fail(DS2_INVALID, "need M = T*N = %lld (padded) or the sum of lengths = %lld (packed), got M=%d",
                static_cast<long long>(padded), static_cast<long long>(sum), s.M);
  if (given_bytes < needed_bytes)
    return fail(DS2_WORKSPACE, "need %zu bytes of workspace, got %zu", needed_bytes, given_bytes);
  return DS2_OK;
}

/// Where each frame's rows start; returns whether they are padded to N.
bool find_starts(const Shape &s, const int32_t *lengths, int32_t *starts) {
  const bool padded = s.M == static_cast<int64_t>(s.T) * s.N;
  int32_t active = s.N, row = 0;
  for (int32_t t = 0; t < s.T; ++t) {
    while (!padded && active > 0 && lengths[active - 1] <= t) --active;
    starts[t] = row;
    row += active;
  }
  return padded;
}

/// Task `index` of a call that walks every direction with shards() tasks.
void place(RnnTask &task, const Shape &s, const Plan &plan, int index, const float *recurrent, const int32_t *lengths,
           float *base, bool padded, bool backward) {
  task.T = s.T, task.N = s.N, task.H = s.H;
  task.padded = padded, task.starts = reinterpret_cast<const int32_t *>(base);
  task.direction = index / s.shards();
  task.shard = index % s.shards();
  task.shards = s.shards();
  task.rows = (s.N - task.shard + task.shards - 1) / task.shards;
  task.lengths = lengths;
  task.recurrent = recurrent + static_cast<size_t>(task.direction) * s.cell.gates * s.H * s.H;
  task.memory = base + plan.memory + index * s.memory();
  task.packed = base + plan.packed + index * plan.each;
  task.operand = base + plan.operand + index * s.operand(backward ? s.cell.gates : 1);
}

template <class Task>
void run_all(const Shape &s, int count, const Task &task) {
  run_tasks(count, s.threads, [](void *context, int i) { (*static_cast<const Task *>(context))(i); },
            const_cast<Task *>(&task));
}

/// Part i of `parts` of sum += other.
void add_part(size_t count, float *sum, const float *other, int i, int parts) {
  for (size_t k = count * i / parts; k < count * (i + 1) / parts; ++k) sum[k] += other[k];
}

}  // namespace
}  // namespace ds2

using namespace ds2;

const char *ds2_isa(void) { return kernels(DS2_FLOAT32).name; }

ds2_status ds2_rnn_sizes(const ds2_rnn_shape *shape, int32_t threads, size_t *out_reserve_bytes,
                         size_t *out_forward_bytes, size_t *out_backward_bytes) {
  Shape s{};
  if (const ds2_status status = read_shape(shape, threads, s)) return status;
  if (!out_reserve_bytes || !out_forward_bytes || !out_backward_bytes) return fail(DS2_INVALID, "an output is NULL");
  *out_reserve_bytes = s.D * s.reserve() * sizeof(float);
  *out_forward_bytes = bytes_of(Plan(s, false).total);
  *out_backward_bytes = bytes_of(Plan(s, true).total);
  return DS2_OK;
}

ds2_status ds2_rnn_forward(const ds2_rnn_shape *shape, const float *gates, const float *recurrent,
                           const int32_t *lengths, float *h, void *reserve, void *workspace, size_t workspace_bytes,
                           int32_t threads, int32_t precision) {
  Shape s{};
  if (const ds2_status status = read_shape(shape, threads, s)) return status;
  const Plan plan(s, false);
  const bool has_arrays = gates && recurrent && h && workspace;
  const size_t needed = bytes_of(plan.total);
  if (const ds2_status status = check_call(s, lengths, precision, has_arrays, workspace_bytes, needed)) return status;
  prefer_large_pages(workspace, needed);
  float *const base = line_start(workspace);
  const bool padded = find_starts(s, lengths, reinterpret_cast<int32_t *>(base));
  const CellKernels &cell = kernels(precision).cells[shape->cell];
  if (reserve) prefer_large_pages(reserve, s.D * s.reserve() * sizeof(float));
  run_all(s, s.D * s.shards(), [&](int i) {
    RnnForward f{};
    place(f, s, plan, i, recurrent, lengths, base, padded, false);
    f.gates = gates;
    f.h = h + f.direction * s.state();
    f.reserve = reserve ? static_cast<float *>(reserve) + f.direction * s.reserve() : nullptr;
    cell.forward(f);
  });
  return DS2_OK;
}

ds2_status ds2_rnn_backward(const ds2_rnn_shape *shape, const float *recurrent, const int32_t *lengths, const float *h,
                            const void *reserve, const float *dh, int32_t dh_directions, float *dgates,
                            float *drecurrent, void *workspace, size_t workspace_bytes, int32_t threads,
                            int32_t precision) {
  Shape s{};
  if (const ds2_status status = read_shape(shape, threads, s)) return status;
  const Plan plan(s, true);
  const bool has_arrays =
      recurrent && h && (reserve || s.cell.saved == 0) && dh && dgates && drecurrent && workspace;
  if (dh_directions != 1 && dh_directions != s.D)
    return fail(DS2_INVALID, "need dh_directions = 1 or D=%d, got %d", s.D, dh_directions);
  const size_t needed = bytes_of(plan.total);
  if (const ds2_status status = check_call(s, lengths, precision, has_arrays, workspace_bytes, needed)) return status;
  prefer_large_pages(workspace, needed);
  const CellKernels &cell = kernels(precision).cells[shape->cell];
  float *const base = line_start(workspace);
  const bool padded = find_starts(s, lengths, reinterpret_cast<int32_t *>(base));
  const auto dgates_of = [&](int32_t direction) { return direction == 0 ? dgates : base + plan.dgates; };
  const auto dapart_of = [&](int32_t direction) { return base + plan.dapart + direction * pad(s.state()); };

  run_all(s, s.D * s.shards(), [&](int i) {
    RnnBackward b{};
    place(b, s, plan, i, recurrent, lengths, base, padded, true);
    b.h = h + b.direction * s.state();
    b.reserve = static_cast<const float *>(reserve) + b.direction * s.reserve();
    b.dh = dh_directions == 1 ? dh : dh + b.direction * s.state();
    b.dgates = dgates_of(b.direction);
    b.dapart = dapart_of(b.direction);
    cell.backward(b);
  });
  run_all(s, s.D * s.shards(), [&](int i) {
    RnnWeights w{};
    place(w, s, plan, i, recurrent, lengths, base, padded, true);
    w.h = h + w.direction * s.state();
    w.dgates = dgates_of(w.direction);
    w.dapart = dapart_of(w.direction);
    w.drecurrent = drecurrent + static_cast<size_t>(w.direction) * s.cell.gates * s.H * s.H;
    cell.weights(w);
  });
  if (s.D == 2)
    run_all(s, threads, [&](int i) { add_part(s.gates(), dgates, dgates_of(1), i, threads); });
  return DS2_OK;
}
