// CTC on a CUDA device: seven kernels, queued one after another on the caller's stream and never waited for. What each
// does is in its own file; here is the interface, and which kernel serves which size.
#include "ctc_shape.h"
#include "gradient.h"
#include "long_trellis.h"
#include "meet.h"
#include "prepare.h"
#include "softmax.h"
#include "trellis.h"

namespace ds2 {
namespace {

/// Kernels queued one after another; after one that could not be, none.
struct Queue {
  void *stream;
  const char *wrong = nullptr;

  template <class... Parameters>
  void put(void (*kernel)(Parameters...), int64_t blocks, unsigned threads, Parameters... arguments) {
    if (!wrong && blocks > 0) wrong = launch(kernel, static_cast<unsigned>(blocks), threads, stream, arguments...);
  }
  ds2_status status() const { return wrong ? fail(DS2_DEVICE, "CUDA: %s", wrong) : DS2_OK; }
};

/// Blocks for a kernel that goes through rows, a warp to each.
int64_t row_blocks(const Batch &b) {
  constexpr int64_t each = kRowThreads / kWarp, most = 1 << 20;
  return min((static_cast<int64_t>(b.N) * b.T + each - 1) / each, most);
}

/// The trellis kernel with the fewest pairs a lane that holds this label.
template <bool kSecond>
void put_trellis(Queue &queue, const Batch &b) {
  const int64_t pairs = static_cast<int64_t>(b.L) + 1, blocks = b.T ? 2 * static_cast<int64_t>(b.N) : 0;
  const int one = warps_for(pairs, 1, 8), two = warps_for(pairs, 2, 4), four = warps_for(pairs, 4, 4);
  if (one <= kTrellisWarps) return queue.put(trellis<1, 8, kSecond>, blocks, one * kWarp, b);
  if (two <= kTrellisWarps) return queue.put(trellis<2, 4, kSecond>, blocks, two * kWarp, b);
  if (four <= kTrellisWarps) return queue.put(trellis<4, 4, kSecond>, blocks, four * kWarp, b);
  queue.put(long_trellis<kSecond>, blocks, kLongThreads, b);
}

}  // namespace
}  // namespace ds2

using namespace ds2;

ds2_status ds2_ctc_cuda_sizes(const ds2_ctc_shape *shape, size_t *out_saved_bytes, size_t *out_cost_bytes,
                              size_t *out_forward_bytes) {
  if (const ds2_status status = check_shape(shape)) return status;
  if (!out_saved_bytes || !out_cost_bytes || !out_forward_bytes) return fail(DS2_INVALID, "an output is NULL");
  Batch b = batch_of(*shape);
  *out_saved_bytes = place_saved(b, nullptr);
  *out_cost_bytes = place_workspace(b, nullptr, false);
  *out_forward_bytes = place_workspace(b, nullptr, true);
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
  const size_t needed = place_workspace(b, nullptr, saved != nullptr);
  if (workspace_bytes < needed)
    return fail(DS2_WORKSPACE, "need %zu bytes of workspace, got %zu", needed, workspace_bytes);
  b.logits = logits, b.targets = targets, b.input_lengths = input_lengths, b.target_lengths = target_lengths;
  b.costs = costs, b.verdicts = verdicts;
  place_workspace(b, workspace, saved != nullptr);
  if (saved) place_saved(b, saved);

  Queue queue{stream};
  queue.put(prepare, b.N, kPrepareThreads, b);
  queue.put(shape->precision == DS2_BFLOAT16 ? softmax<Bfloat16> : softmax<float>, row_blocks(b), kRowThreads, b);
  put_trellis<false>(queue, b);
  queue.put(meet, b.N, kMeetThreads, b);
  if (saved) {
    put_trellis<true>(queue, b);
    queue.put(occupy, row_blocks(b), kRowThreads, b);
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
  place_saved(b, const_cast<void *>(saved));
  Queue queue{stream};
  const auto kernel = shape->precision == DS2_BFLOAT16 ? gradient<Bfloat16> : gradient<float>;
  queue.put(kernel, row_blocks(b), kRowThreads, b, dcosts, dlogits);
  return queue.status();
}
