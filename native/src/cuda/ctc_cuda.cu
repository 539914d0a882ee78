// CTC on a CUDA device: seven kernels, queued on the caller's stream without waiting. Each kernel is described in its
// own file; this one has the interface and selects the kernel for each size.
#include "combine.h"
#include "ctc_shape.h"
#include "gradient.h"
#include "long_trellis.h"
#include "prepare.h"
#include "softmax.h"
#include "trellis.h"

namespace ds2 {
namespace {

/// Queues kernels on a stream; after the first failure it queues no more.
struct Queue {
  void *stream;
  const char *error = nullptr;

  template <class... Parameters>
  void enqueue(void (*kernel)(Parameters...), int64_t blocks, unsigned threads, Parameters... arguments) {
    if (!error && blocks > 0) error = launch(kernel, static_cast<unsigned>(blocks), threads, stream, arguments...);
  }
  ds2_status status() const { return error ? fail(DS2_DEVICE, "CUDA: %s", error) : DS2_OK; }
};

/// Blocks for a kernel that processes rows, one warp per row.
int64_t row_blocks(const Batch &b) {
  constexpr int64_t rows_per_block = kRowThreads / kWarpSize, max_blocks = 1 << 20;
  return min((static_cast<int64_t>(b.N) * b.T + rows_per_block - 1) / rows_per_block, max_blocks);
}

/// Enqueue the trellis kernel with the fewest pairs per lane that holds the longest label sequence.
template <bool kSecondHalf>
void enqueue_trellis(Queue &queue, const Batch &b) {
  const int64_t pairs = static_cast<int64_t>(b.L) + 1, blocks = b.T ? 2 * static_cast<int64_t>(b.N) : 0;
  const int warps_1 = warps_for(pairs, 1, 8), warps_2 = warps_for(pairs, 2, 4), warps_4 = warps_for(pairs, 4, 4);
  if (warps_1 <= kTrellisWarps) return queue.enqueue(trellis<1, 8, kSecondHalf>, blocks, warps_1 * kWarpSize, b);
  if (warps_2 <= kTrellisWarps) return queue.enqueue(trellis<2, 4, kSecondHalf>, blocks, warps_2 * kWarpSize, b);
  if (warps_4 <= kTrellisWarps) return queue.enqueue(trellis<4, 4, kSecondHalf>, blocks, warps_4 * kWarpSize, b);
  queue.enqueue(long_trellis<kSecondHalf>, blocks, kLongThreads, b);
}

}  // namespace
}  // namespace ds2

using namespace ds2;

ds2_status ds2_ctc_cuda_sizes(const ds2_ctc_shape *shape, size_t *out_saved_bytes, size_t *out_cost_bytes,
                              size_t *out_forward_bytes) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (!out_saved_bytes || !out_cost_bytes || !out_forward_bytes)
    return fail(DS2_INVALID, "an output pointer is NULL");
  Batch b = batch_of(*shape);
  *out_saved_bytes = allocate_saved(b, nullptr);
  *out_cost_bytes = allocate_workspace(b, nullptr, false);
  *out_forward_bytes = allocate_workspace(b, nullptr, true);
  return DS2_OK;
}

ds2_status ds2_ctc_cuda_forward(const ds2_ctc_shape *shape, const void *logits, const int32_t *targets,
                                const int32_t *input_lengths, const int32_t *target_lengths, float *costs,
                                int32_t *verdicts, void *saved, void *workspace, size_t workspace_bytes, void *stream) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (shape->N == 0) return DS2_OK;
  if ((!logits && shape->T) || (!targets && shape->L) || !input_lengths || !target_lengths || !costs || !verdicts ||
      !workspace)
    return fail(DS2_INVALID, "an array is NULL");
  Batch b = batch_of(*shape);
  const size_t needed = allocate_workspace(b, nullptr, saved != nullptr);
  if (workspace_bytes < needed)
    return fail(DS2_WORKSPACE, "expected a workspace of %zu bytes, got %zu", needed, workspace_bytes);
  b.logits = logits, b.targets = targets, b.input_lengths = input_lengths, b.target_lengths = target_lengths;
  b.costs = costs, b.verdicts = verdicts;
  allocate_workspace(b, workspace, saved != nullptr);
  if (saved) allocate_saved(b, saved);

  Queue queue{stream};
  queue.enqueue(prepare, b.N, kPrepareThreads, b);
  queue.enqueue(shape->precision == DS2_BFLOAT16 ? softmax<Bfloat16> : softmax<float>, row_blocks(b), kRowThreads, b);
  enqueue_trellis<false>(queue, b);
  queue.enqueue(combine, b.N, kCombineThreads, b);
  if (saved) {
    enqueue_trellis<true>(queue, b);
    queue.enqueue(compute_occupancies, row_blocks(b), kRowThreads, b);
  }
  return queue.status();
}

ds2_status ds2_ctc_cuda_backward(const ds2_ctc_shape *shape, const void *logits, const void *saved,
                                 const float *dcosts, void *dlogits, void *stream) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (shape->N == 0 || shape->T == 0) return DS2_OK;
  if (!logits || !saved || !dcosts || !dlogits) return fail(DS2_INVALID, "an array is NULL");
  Batch b = batch_of(*shape);
  b.logits = logits;
  allocate_saved(b, const_cast<void *>(saved));
  Queue queue{stream};
  const auto kernel = shape->precision == DS2_BFLOAT16 ? gradient<Bfloat16> : gradient<float>;
  queue.enqueue(kernel, row_blocks(b), kRowThreads, b, dcosts, dlogits);
  return queue.status();
}
