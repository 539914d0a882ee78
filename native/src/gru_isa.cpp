// Compiled once for each instruction set, with DS2_ISA, DS2_WIDTH, DS2_ROWS given by the build.
#include "gru_steps.h"
#include "gru_weights.h"

#define DS2_NAME_(x) #x
#define DS2_NAME(x) DS2_NAME_(x)

const ds2::GruKernels &ds2::DS2_ISA::gru_kernels() {
  static const GruKernels kernels = {DS2_NAME(DS2_ISA), forward, backward, weights};
  return kernels;
}
