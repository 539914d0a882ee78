// The tasks of a recurrent layer's calls, and the table of kernels that an instruction set provides for them.
// Plain types only: the kernels are compiled once per instruction set and must not share inline code.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "padding.h"

namespace ds2 {

/// A cell's buffers: gates per unit (G), values per unit saved for backward, whether it carries a second state besides
/// h, and whether the last gate's u has a gradient of its own. Copied from the cell policies in rnn_cells.h.
struct CellShape {
  int32_t gates, saved;
  bool has_carry, separate_du;
};

/// Rows shard, shard + shards, shard + 2 shards … of one direction. All pointers are for this direction.
struct RnnTask {
  int32_t T, N, H;
  bool is_padded;             // arrays have N rows per frame, otherwise only the active rows
  const int32_t *row_starts;  // (T,): first row of frame t in an array (M, ·)
  int32_t direction;          // 0: forward in time, 1: backward
  int32_t shard, shards;      // interleaved, so that a shard stays sorted and all shards have similar lengths
  int32_t rows;               // rows of this shard
  const int32_t *lengths;
  const float *recurrent;     // (GH, H)
  float *packed;              // workspace: weights, or the states of a block of terms, packed for the product
  float *operand;             // workspace: the operand that a step computes for the next one, double-buffered
  float *carry;               // workspace: (rows, padded(H)), if the cell has one
};

struct RnnForward : RnnTask {
  const float *gates;  // (M, GH)
  const float *start;  // (states, N, H): the state before the first frame; NULL: zeros
  float *h;            // (M, H)
  float *end;          // (states, N, H): the state after the last frame, or NULL
  float *reserve;      // (M, saved * padded(H)) or NULL
};

struct RnnBackward : RnnTask {
  const float *h, *reserve, *dh;
  float *dgates;   // (M, GH): gradient of the gates from this direction
  float *du_last;  // (M, H): gradient of the last gate's u, which differs from that of x because of a GRU's reset gate
};

/// Part `shard` of one direction's drecurrent, summed over all rows.
struct RnnWeights : RnnTask {
  const float *h, *dgates, *du_last;
  float *drecurrent;  // (GH, H)
};

struct CellKernels {
  CellShape shape;
  void (*forward)(const RnnForward &);
  void (*backward)(const RnnBackward &);
  void (*weights)(const RnnWeights &);
};

constexpr int32_t kCells = 5;  // values of ds2_cell

struct RnnKernels {
  const char *name;
  CellKernels cells[kCells];
};

constexpr int32_t kWeightTerms = 256;  // (frame, row) pairs multiplied into drecurrent at a time

namespace base { const RnnKernels &rnn_kernels(); }
namespace avx2 { const RnnKernels &rnn_kernels(); }
namespace avx512 { const RnnKernels &rnn_kernels(); }
namespace avx512bf16 { const RnnKernels &rnn_kernels(); }

}  // namespace ds2
