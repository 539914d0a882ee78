// Compiled once for each instruction set, with DS2_ISA and DS2_WIDTH given by the build.
#include "ctc_trellis.h"

const ds2::CtcKernels &ds2::DS2_ISA::ctc_kernels() {
  static const CtcKernels kernels = {forward, occupy, gradient};
  return kernels;
}
