#include "matrix.h"

#include <cstdint>

#include "isa.h"
#include "status.h"

namespace ds2 {
namespace {

constexpr int32_t kMostOutputs = 1 << 24, kMostInputs = 1 << 17;  // so that int8's activations keep 7 bits
constexpr int32_t kGates[kCells] = {3, 3, 1, 1, 4};

const MatrixKernels &choose_kernels(bool int8) {
#if defined(__x86_64__)
#if DS2_HAVE_VNNI
  if (int8 && has_vnni()) return avx512vnni::matrix_kernels();
#endif
  switch (best_isa(false)) {
    case Isa::avx512: return avx512::matrix_kernels();
    case Isa::avx2: return avx2::matrix_kernels();
    default: break;
  }
#endif
  (void)int8;
  return base::matrix_kernels();
}

const MatrixKernels &kernels(int32_t format) {
  static const MatrixKernels &float_kernels = choose_kernels(false), &int8_kernels = choose_kernels(true);
  return format == DS2_WEIGHTS_INT8 ? int8_kernels : float_kernels;
}

ds2_status check_shape(const ds2_matrix_shape *shape) {
  if (!shape) return fail(DS2_INVALID, "shape is NULL");
  if (shape->format < DS2_WEIGHTS_FLOAT32 || shape->format > DS2_WEIGHTS_INT8)
    return fail(DS2_INVALID, "expected format = 0 (float32), 1 (bfloat16) or 2 (int8), got %d", shape->format);
  if (shape->J < 1 || shape->J > kMostOutputs || shape->K < 1 || shape->K > kMostInputs)
    return fail(DS2_INVALID, "expected J = 1 to %d and K = 1 to %d, got J=%d K=%d", kMostOutputs, kMostInputs, shape->J,
                shape->K);
  return DS2_OK;
}

size_t packed_bytes(const ds2_matrix_shape &s) {
  const size_t J = padded_outputs(s.J), K = static_cast<size_t>(s.K);
  if (s.format == DS2_WEIGHTS_FLOAT32) return J * K * 4;
  if (s.format == DS2_WEIGHTS_BFLOAT16) return J * K * 2;
  return J * (sizeof(float) + (K + 1) / 2 * 2);
}

/// The int16 activations and the products of a block of up to M rows.
size_t workspace_bytes_of(const ds2_matrix_shape &s, int32_t M) {
  const size_t rows = static_cast<size_t>(M < kBlockRows ? M : kBlockRows);
  return rows * (padded_inputs(s.K) * sizeof(int16_t) + padded_outputs(s.J) * sizeof(float)) + kCacheLine;
}

void *align_to_cache_line(void *p) {
  return reinterpret_cast<void *>((reinterpret_cast<std::uintptr_t>(p) + kCacheLine - 1) / kCacheLine * kCacheLine);
}

ds2_status check_workspace(const ds2_matrix_shape &s, int32_t rows, size_t given) {
  const size_t needed = workspace_bytes_of(s, rows);
  if (given >= needed) return DS2_OK;
  return fail(DS2_WORKSPACE, "expected a workspace of %zu bytes, got %zu", needed, given);
}

}  // namespace
}  // namespace ds2

using namespace ds2;

ds2_status ds2_matrix_sizes(const ds2_matrix_shape *shape, int32_t M, size_t *out_packed_bytes,
                            size_t *out_workspace_bytes) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (M < 0) return fail(DS2_INVALID, "expected M >= 0, got %d", M);
  if (!out_packed_bytes || !out_workspace_bytes) return fail(DS2_INVALID, "an output pointer is NULL");
  *out_packed_bytes = packed_bytes(*shape);
  *out_workspace_bytes = workspace_bytes_of(*shape, M);
  return DS2_OK;
}

ds2_status ds2_matrix_pack(const ds2_matrix_shape *shape, const float *weights, void *packed) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (!weights || !packed) return fail(DS2_INVALID, "an array is NULL");
  kernels(shape->format).pack({shape->format, shape->J, shape->K, packed}, weights);
  return DS2_OK;
}

ds2_status ds2_matrix_apply(const ds2_matrix_shape *shape, const void *packed, const float *bias, int32_t activation,
                            int32_t M, const float *const *x, float *y, void *workspace, size_t workspace_bytes) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (activation != 0 && activation != 1)
    return fail(DS2_INVALID, "expected activation = 0 (none) or 1 (clipped ReLU), got %d", activation);
  if (M < 0) return fail(DS2_INVALID, "expected M >= 0, got %d", M);
  if (M == 0) return DS2_OK;
  if (!packed || !x || !y || !workspace) return fail(DS2_INVALID, "an array is NULL");
  for (int32_t m = 0; m < M; ++m)
    if (!x[m]) return fail(DS2_INVALID, "x[%d] is NULL", m);
  if (const ds2_status status = check_workspace(*shape, M, workspace_bytes)) return status;
  MatrixApply a{};
  a.format = shape->format, a.J = shape->J, a.K = shape->K, a.packed = const_cast<void *>(packed);
  a.bias = bias, a.clip = activation == 1, a.M = M, a.x = x, a.y = y, a.workspace = align_to_cache_line(workspace);
  kernels(shape->format).apply(a);
  return DS2_OK;
}

ds2_status ds2_rnn_advance(const ds2_matrix_shape *shape, int32_t cell, const void *packed, int32_t N,
                           const int32_t *lengths, const float *const *gates, float *const *state, float *const *h,
                           void *workspace, size_t workspace_bytes) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (cell < 0 || cell >= kCells) return fail(DS2_INVALID, "expected cell = 0 to %d, got %d", kCells - 1, cell);
  if (shape->J != static_cast<int64_t>(kGates[cell]) * shape->K)
    return fail(DS2_INVALID, "expected J = %d*K for this cell, got J=%d K=%d", kGates[cell], shape->J, shape->K);
  if (N < 0) return fail(DS2_INVALID, "expected N >= 0, got %d", N);
  if (N == 0) return DS2_OK;
  if (!packed || !lengths || !gates || !state || !h || !workspace) return fail(DS2_INVALID, "an array is NULL");
  for (int32_t n = 0; n < N; ++n) {
    if (lengths[n] < 0) return fail(DS2_INVALID, "expected lengths >= 0, got lengths[%d]=%d", n, lengths[n]);
    if (lengths[n] > 0 && (!gates[n] || !state[n] || !h[n]))
      return fail(DS2_INVALID, "gates[%d], state[%d] or h[%d] is NULL", n, n, n);
  }
  if (const ds2_status status = check_workspace(*shape, N, workspace_bytes)) return status;
  MatrixAdvance a{};
  a.format = shape->format, a.J = shape->J, a.K = shape->K, a.packed = const_cast<void *>(packed);
  a.workspace = align_to_cache_line(workspace);
  for (int32_t begin = 0; begin < N; begin += kBlockRows) {
    a.N = N - begin < kBlockRows ? N - begin : kBlockRows;
    a.lengths = lengths + begin, a.gates = gates + begin, a.state = state + begin, a.h = h + begin;
    kernels(shape->format).advance[cell](a);
  }
  return DS2_OK;
}

ds2_status ds2_row_conv(int32_t H, int32_t taps, int32_t M, const float *frames, const float *weights, float *y) {
  if (H < 1 || taps < 1 || M < 0)
    return fail(DS2_INVALID, "expected H, taps > 0, M >= 0, got H=%d taps=%d M=%d", H, taps, M);
  if (M == 0) return DS2_OK;
  if (!frames || !weights || !y) return fail(DS2_INVALID, "an array is NULL");
  kernels(DS2_WEIGHTS_FLOAT32).row_conv({H, taps, M, frames, weights, y});
  return DS2_OK;
}
