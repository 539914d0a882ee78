// What one task of a recurrent layer's call works on, and the kernels an instruction set offers for it.
// Plain types only: the kernels are compiled for several instruction sets, and nothing inline may be shared between them.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace ds2 {

/// What the buffers of a cell hold: gates G of a unit, vectors saved for backward, and whether there are a memory beside h
/// and a gradient of the last gate's product of its own. The policies of rnn_cells.h say the same to the compiler.
struct CellShape {
  int32_t gates, saved;
  bool remembers, apart;
};

/// Rows shard, shard + shards, shard + 2 shards … of one direction. Pointers are this direction's.
struct RnnTask {
  int32_t T, N, H;
  bool padded;            // arrays have N rows for every frame, else its active ones only
  const int32_t *starts;  // the row of an (M, ·) array where frame t begins
  int32_t direction;      // 0 runs forward in time, 1 backward
  int32_t shard, shards;  // every shards-th row keeps the rows sorted and the shards equal
  int32_t rows;           // of this shard
  const int32_t *lengths;
  const float *recurrent;  // (GH, H)
  float *packed;           // workspace: the weights, or the states of a block of terms, laid out for the product
  float *operand;          // workspace: what a step leaves for the next, twice
  float *memory;           // workspace: rows * pad(H), for a cell that remembers
};

struct RnnForward : RnnTask {
  const float *gates;  // (M, GH)
  float *h;            // (M, H)
  float *reserve;      // (M, saved * pad(H)) or NULL
};

struct RnnBackward : RnnTask {
  const float *h, *reserve, *dh;
  float *dgates;  // (M, GH): this direction's gradient of the gates
  float *dapart;  // (M, H): the gradient of the last gate's product, which a GRU's reset gate keeps apart from that of x
};

/// Part `shard` of one direction's drecurrent, over all its rows.
struct RnnWeights : RnnTask {
  const float *h, *dgates, *dapart;
  float *drecurrent;  // (GH, H)
};

struct CellKernels {
  CellShape shape;
  void (*forward)(const RnnForward &);
  void (*backward)(const RnnBackward &);
  void (*weights)(const RnnWeights &);
};

constexpr int32_t kCells = 5;  // of ds2_cell

struct RnnKernels {
  const char *name;
  CellKernels cells[kCells];
};

constexpr int32_t kWidest = 16;        // floats of the widest vector: what buffers are padded to
constexpr int32_t kWeightTerms = 256;  // (frame, row) pairs multiplied into drecurrent at a time

constexpr size_t pad(size_t n) { return (n + kWidest - 1) / kWidest * kWidest; }

namespace base { const RnnKernels &rnn_kernels(); }
namespace avx2 { const RnnKernels &rnn_kernels(); }
namespace avx512 { const RnnKernels &rnn_kernels(); }
namespace avx512bf16 { const RnnKernels &rnn_kernels(); }

}  // namespace ds2
