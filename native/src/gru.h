// What one task of a GRU call works on, and the kernels an instruction set offers for it.
// Plain types only: the kernels are compiled for several instruction sets, and nothing inline may be shared between them.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace ds2 {

/// Rows shard, shard + shards, shard + 2 shards … of one direction. Pointers are this direction's.
struct GruTask {
  int32_t T, N, H;
  bool padded;            // arrays have N rows for every frame, else its active ones only
  const int32_t *starts;  // the row of an (M, ·) array where frame t begins
  int32_t direction;      // 0 runs forward in time, 1 backward
  int32_t shard, shards;  // every shards-th row keeps the rows sorted and the shards equal
  int32_t rows;           // of this shard
  const int32_t *lengths;
  const float *recurrent;  // (3H, H)
  float *packed;           // workspace: the weights, or the states of a block of terms, laid out for the product
  float *operand;          // workspace: what a step leaves for the next, twice
};

struct GruForward : GruTask {
  const float *gates;  // (M, 3H)
  float *h;            // (M, H)
  float *reserve;      // (M, 4 pad(H)) or NULL
};

struct GruBackward : GruTask {
  const float *h, *reserve, *dh;
  float *dgates;      // (M, 3H): this direction's gradient of the gates
  float *dcandidate;  // (M, H): the gradient of U_n h, which the reset gate keeps apart from that of x_n
  float *carry;       // workspace: rows * pad(H)
};

/// Part `shard` of one direction's drecurrent, over all its rows.
struct GruWeights : GruTask {
  const float *h, *dgates, *dcandidate;
  float *drecurrent;  // (3H, H)
};

struct GruKernels {
  const char *name;
  void (*forward)(const GruForward &);
  void (*backward)(const GruBackward &);
  void (*weights)(const GruWeights &);
};

constexpr int32_t kWidest = 16;        // floats of the widest vector: what buffers are padded to
constexpr int32_t kWeightTerms = 256;  // (frame, row) pairs multiplied into drecurrent at a time

constexpr size_t pad(size_t n) { return (n + kWidest - 1) / kWidest * kWidest; }

namespace base { const GruKernels &gru_kernels(); }
namespace avx2 { const GruKernels &gru_kernels(); }
namespace avx512 { const GruKernels &gru_kernels(); }
namespace avx512bf16 { const GruKernels &gru_kernels(); }

}  // namespace ds2
