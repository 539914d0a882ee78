// Products of a packed matrix with rows, and recurrences of streams: the tasks, and the table of kernels that an
// instruction set provides for them. Plain types only: the kernels are compiled once per instruction set.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "padding.h"
#include "rnn.h"

namespace ds2 {

constexpr int32_t kBlockRows = 48;  // rows multiplied at a time; the workspace holds one block

/// J outputs, K inputs; `format` is a ds2_weights.
struct Matrix {
  int32_t format, J, K;
  void *packed;
};

/// y[m] = activation(W x[m] + bias) for M rows.
struct MatrixApply : Matrix {
  const float *bias;  // (J,) or NULL
  bool clip;          // clipped ReLU
  int32_t M;
  const float *const *x;  // M pointers to rows of K
  float *y;               // (M, J)
  void *workspace;        // the int16 activations of a block
};

/// Frames of N streams, at most kBlockRows; J = G * H, K = H.
struct MatrixAdvance : Matrix {
  int32_t N;
  const int32_t *lengths;
  const float *const *gates;  // N pointers to (T_n, G*H)
  float *const *state;        // N pointers to (states, H)
  float *const *h;            // N pointers to (T_n, H)
  void *workspace;            // the int16 activations of a block, then the products (N, padded(J))
};

/// A row convolution of H units: M steps of M + taps - 1 frames.
struct RowConv {
  int32_t H, taps, M;
  const float *frames;   // (M + taps - 1, H)
  const float *weights;  // (taps, H)
  float *y;              // (M, H)
};

/// Outputs and inputs, as they are padded in the packed matrix and in the workspace by every instruction set.
constexpr size_t padded_outputs(int32_t J) { return 2 * padded((static_cast<size_t>(J) + 1) / 2); }
constexpr size_t padded_inputs(int32_t K) { return padded(static_cast<size_t>(K)); }

/// Largest magnitude of an int16 activation: K products with weights of up to 127 have an exact sum in 32 bits.
constexpr int32_t largest_activation(int32_t K) {
  const int64_t most = 0x7fffffff / (INT64_C(127) * K);
  return most < 32767 ? static_cast<int32_t>(most) : 32767;
}

struct MatrixKernels {
  void (*pack)(const Matrix &, const float *weights);
  void (*apply)(const MatrixApply &);
  void (*advance[kCells])(const MatrixAdvance &);
  void (*row_conv)(const RowConv &);
};

namespace base { const MatrixKernels &matrix_kernels(); }
namespace avx2 { const MatrixKernels &matrix_kernels(); }
namespace avx512 { const MatrixKernels &matrix_kernels(); }
namespace avx512vnni { const MatrixKernels &matrix_kernels(); }

}  // namespace ds2
