// Compiled once per instruction set; the build defines DS2_ISA, DS2_WIDTH, DS2_ROWS and DS2_PREFETCH.
#include "rnn_steps.h"
#include "rnn_weights.h"

#define DS2_NAME_(x) #x
#define DS2_NAME(x) DS2_NAME_(x)

namespace {

template <class Cell>
constexpr CellKernels kernels_of() {
  return {{Cell::gates, Cell::saved, Cell::has_carry, Cell::separate_du}, forward<Cell>, backward<Cell>, weights<Cell>};
}

}  // namespace

const ds2::RnnKernels &ds2::DS2_ISA::rnn_kernels() {
  // in the order of ds2_cell
  static const RnnKernels kernels = {DS2_NAME(DS2_ISA),
                                     {kernels_of<Gru<Tanh>>(), kernels_of<Gru<ClippedRelu>>(),
                                      kernels_of<Simple<Tanh>>(), kernels_of<Simple<ClippedRelu>>(),
                                      kernels_of<Lstm>()}};
  return kernels;
}
