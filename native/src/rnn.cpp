#include "rnn.h"

#include <cstdint>

#include "huge_pages.h"
#include "isa.h"
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
  static const RnnKernels &float32_kernels = choose_kernels(false), &bfloat16_kernels = choose_kernels(true);
  return precision == DS2_BFLOAT16 ? bfloat16_kernels : float32_kernels;
}

struct Shape {
  int32_t D, T, N, M, H, threads;
  CellShape cell;

  /// Tasks per direction; each processes its own rows.
  int32_t shards() const {
    const int32_t wanted = threads / D;
    return wanted < 1 ? 1 : wanted > N ? N : wanted;
  }
  size_t state() const { return static_cast<size_t>(M) * H; }
  size_t gates() const { return cell.gates * state(); }
  size_t reserve() const { return static_cast<size_t>(M) * cell.saved * padded(H); }
  size_t packed() const { return cell.gates * padded(H) * padded(H); }
  size_t packed_states() const { return padded(H) * kWeightTerms; }
  int32_t max_rows() const { return (N + shards() - 1) / shards(); }
  size_t operand(int32_t gates) const { return 2 * padded(H) * max_rows() * gates; }
  size_t carry() const { return cell.has_carry ? padded(H) * max_rows() : 0; }
  size_t row_starts() const { return padded(T); }
};

/// Offsets of the parts of the workspace, in floats; every part starts on a cache line.
/// packed_size: floats in one task's `packed`. du_last and dgates are used by backward only.
struct WorkspaceLayout {
  size_t packed_size, carry, packed, operand, du_last, dgates, total;

  WorkspaceLayout(const Shape &s, bool backward) {
    const size_t tasks = static_cast<size_t>(s.D) * s.shards();
    packed_size = backward && s.packed_states() > s.packed() ? s.packed_states() : s.packed();
    carry = s.row_starts();
    packed = carry + tasks * s.carry();
    operand = packed + tasks * packed_size;
    du_last = operand + tasks * s.operand(backward ? s.cell.gates : 1);
    dgates = du_last + (backward && s.cell.separate_du ? s.D * padded(s.state()) : 0);
    total = dgates + (backward ? (s.D - 1) * padded(s.gates()) : 0);
  }
};

size_t to_bytes(size_t floats) { return floats * sizeof(float) + kCacheLine; }

float *align_to_cache_line(void *p) {
  return reinterpret_cast<float *>((reinterpret_cast<std::uintptr_t>(p) + kCacheLine - 1) / kCacheLine * kCacheLine);
}

/// Validate the shape and copy it to `s`.
ds2_status read_shape(const ds2_rnn_shape *given, int32_t threads, Shape &s) {
  if (!given) return fail(DS2_INVALID, "shape is NULL");
  s = Shape{given->D, given->T, given->N, given->M, given->H, threads, {}};
  if (s.D < 1 || s.D > 2 || s.T < 1 || s.N < 1 || s.M < 0 || s.H < 1 || s.threads < 1)
    return fail(DS2_INVALID,
                "expected D = 1 or 2, T, N, H, threads > 0, M >= 0, got D=%d T=%d N=%d M=%d H=%d threads=%d", s.D,
                s.T, s.N, s.M, s.H, s.threads);
  if (given->cell < 0 || given->cell >= kCells)
    return fail(DS2_INVALID, "expected cell = 0 to %d, got %d", kCells - 1, given->cell);
  s.cell = kernels(DS2_FLOAT32).cells[given->cell].shape;
  return DS2_OK;
}

ds2_status check_call(const Shape &s, const int32_t *lengths, int32_t precision, bool has_arrays, size_t given_bytes,
                      size_t needed_bytes) {
  if (precision != DS2_FLOAT32 && precision != DS2_BFLOAT16)
    return fail(DS2_INVALID, "expected precision = 0 (float32) or 1 (bfloat16), got %d", precision);
  if (!has_arrays || !lengths) return fail(DS2_INVALID, "an array is NULL");
  int64_t sum = 0;
  for (int32_t n = 0; n < s.N; ++n) {
    if (lengths[n] < 0 || lengths[n] > s.T)
      return fail(DS2_INVALID, "expected 0 <= lengths <= T=%d, got lengths[%d]=%d", s.T, n, lengths[n]);
    if (n > 0 && lengths[n] > lengths[n - 1])
      return fail(DS2_INVALID, "expected lengths sorted longest first, got lengths[%d]=%d after %d", n, lengths[n],
                  lengths[n - 1]);
    sum += lengths[n];
  }
  const int64_t is_padded = static_cast<int64_t>(s.T) * s.N;
  if (s.M != is_padded && s.M != sum)
    return fail(DS2_INVALID, "expected M = T*N = %lld (padded) or the sum of lengths = %lld (packed), got M=%d",
                static_cast<long long>(is_padded), static_cast<long long>(sum), s.M);
  if (given_bytes < needed_bytes)
    return fail(DS2_WORKSPACE, "expected a workspace of %zu bytes, got %zu", needed_bytes, given_bytes);
  return DS2_OK;
}

/// Fill row_starts[t] with the first row of frame t; return whether frames are padded to N rows.
bool fill_row_starts(const Shape &s, const int32_t *lengths, int32_t *row_starts) {
  const bool is_padded = s.M == static_cast<int64_t>(s.T) * s.N;
  int32_t active = s.N, row = 0;
  for (int32_t t = 0; t < s.T; ++t) {
    while (!is_padded && active > 0 && lengths[active - 1] <= t) --active;
    row_starts[t] = row;
    row += active;
  }
  return is_padded;
}

/// Fill in the common fields of task `index`; each direction has shards() tasks.
void fill_task(RnnTask &task, const Shape &s, const WorkspaceLayout &layout, int index, const float *recurrent,
               const int32_t *lengths, float *base, bool is_padded, bool backward) {
  task.T = s.T, task.N = s.N, task.H = s.H;
  task.is_padded = is_padded, task.row_starts = reinterpret_cast<const int32_t *>(base);
  task.direction = index / s.shards();
  task.shard = index % s.shards();
  task.shards = s.shards();
  task.rows = (s.N - task.shard + task.shards - 1) / task.shards;
  task.lengths = lengths;
  task.recurrent = recurrent + static_cast<size_t>(task.direction) * s.cell.gates * s.H * s.H;
  task.carry = base + layout.carry + index * s.carry();
  task.packed = base + layout.packed + index * layout.packed_size;
  task.operand = base + layout.operand + index * s.operand(backward ? s.cell.gates : 1);
}

/// Run task(0) to task(count - 1) on the threads of the call.
template <class Task>
void run_all(const Shape &s, int count, const Task &task) {
  run_tasks(count, s.threads, [](void *context, int i) { (*static_cast<const Task *>(context))(i); },
            const_cast<Task *>(&task));
}

/// Compute part i of `parts` of sum += other.
void add_part(size_t count, float *sum, const float *other, int i, int parts) {
  for (size_t k = count * i / parts; k < count * (i + 1) / parts; ++k) sum[k] += other[k];
}

}  // namespace
}  // namespace ds2

using namespace ds2;

const char *ds2_isa(int32_t precision) { return kernels(precision).name; }

ds2_status ds2_rnn_sizes(const ds2_rnn_shape *shape, int32_t threads, size_t *out_reserve_bytes,
                         size_t *out_forward_bytes, size_t *out_backward_bytes) {
  Shape s{};
  if (const ds2_status status = read_shape(shape, threads, s)) return status;
  if (!out_reserve_bytes || !out_forward_bytes || !out_backward_bytes)
    return fail(DS2_INVALID, "an output pointer is NULL");
  *out_reserve_bytes = s.D * s.reserve() * sizeof(float);
  *out_forward_bytes = to_bytes(WorkspaceLayout(s, false).total);
  *out_backward_bytes = to_bytes(WorkspaceLayout(s, true).total);
  return DS2_OK;
}

ds2_status ds2_rnn_forward(const ds2_rnn_shape *shape, const float *gates, const float *recurrent,
                           const int32_t *lengths, const float *start, float *h, float *end, void *reserve,
                           void *workspace, size_t workspace_bytes, int32_t threads, int32_t precision) {
  Shape s{};
  if (const ds2_status status = read_shape(shape, threads, s)) return status;
  const WorkspaceLayout layout(s, false);
  if ((start || end) && (s.D != 1 || reserve))
    return fail(DS2_INVALID, "start and end need D = 1 and no reserve, got D=%d%s", s.D, reserve ? " and a reserve" : "");
  const bool has_arrays = gates && recurrent && h && workspace;
  const size_t needed = to_bytes(layout.total);
  if (const ds2_status status = check_call(s, lengths, precision, has_arrays, workspace_bytes, needed)) return status;
  advise_huge_pages(workspace, needed);
  float *const base = align_to_cache_line(workspace);
  const bool is_padded = fill_row_starts(s, lengths, reinterpret_cast<int32_t *>(base));
  const CellKernels &cell = kernels(precision).cells[shape->cell];
  if (reserve) advise_huge_pages(reserve, s.D * s.reserve() * sizeof(float));
  run_all(s, s.D * s.shards(), [&](int i) {
    RnnForward f{};
    fill_task(f, s, layout, i, recurrent, lengths, base, is_padded, false);
    f.gates = gates;
    f.start = start, f.end = end;
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
  const WorkspaceLayout layout(s, true);
  const bool has_arrays =
      recurrent && h && (reserve || s.cell.saved == 0) && dh && dgates && drecurrent && workspace;
  if (dh_directions != 1 && dh_directions != s.D)
    return fail(DS2_INVALID, "need dh_directions = 1 or D=%d, got %d", s.D, dh_directions);
  const size_t needed = to_bytes(layout.total);
  if (const ds2_status status = check_call(s, lengths, precision, has_arrays, workspace_bytes, needed)) return status;
  advise_huge_pages(workspace, needed);
  const CellKernels &cell = kernels(precision).cells[shape->cell];
  float *const base = align_to_cache_line(workspace);
  const bool is_padded = fill_row_starts(s, lengths, reinterpret_cast<int32_t *>(base));
  const auto dgates_of = [&](int32_t direction) { return direction == 0 ? dgates : base + layout.dgates; };
  const auto du_last_of = [&](int32_t direction) { return base + layout.du_last + direction * padded(s.state()); };

  run_all(s, s.D * s.shards(), [&](int i) {
    RnnBackward b{};
    fill_task(b, s, layout, i, recurrent, lengths, base, is_padded, true);
    b.h = h + b.direction * s.state();
    b.reserve = static_cast<const float *>(reserve) + b.direction * s.reserve();
    b.dh = dh_directions == 1 ? dh : dh + b.direction * s.state();
    b.dgates = dgates_of(b.direction);
    b.du_last = du_last_of(b.direction);
    cell.backward(b);
  });
  run_all(s, s.D * s.shards(), [&](int i) {
    RnnWeights w{};
    fill_task(w, s, layout, i, recurrent, lengths, base, is_padded, true);
    w.h = h + w.direction * s.state();
    w.dgates = dgates_of(w.direction);
    w.du_last = du_last_of(w.direction);
    w.drecurrent = drecurrent + static_cast<size_t>(w.direction) * s.cell.gates * s.H * s.H;
    cell.weights(w);
  });
  if (s.D == 2)
    run_all(s, threads, [&](int i) { add_part(s.gates(), dgates, dgates_of(1), i, threads); });
  return DS2_OK;
}
