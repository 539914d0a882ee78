// Compiled once for each instruction set, with DS2_ISA and DS2_WIDTH given by the build.
#include "ctc_exact.h"

namespace {

constexpr int32_t kLeast = -(1 << 28);  // exponents below count as probability zero

template <int count>
struct Registers {
  static constexpr int value = count;
};

/// Call f with the registers that hold an utterance's alphabet.
template <class F>
void by_registers(const CtcUtterance &u, const F &f) {
  if (u.U <= 2 * kTable)
    f(Registers<kTable ? 2 : 0>{});
  else if (u.U <= 4 * kTable)
    f(Registers<kTable ? 4 : 0>{});
  else
    f(Registers<0>{});
}

CtcTotal forward(const CtcUtterance &u) {
  const double normaliser = u.bfloat16 ? measure<uint16_t>(u) : measure<float>(u);
  if (normaliser - normaliser != 0) return {normaliser, 0, false};
  by_registers(u, [&](auto registers) { fill_alpha<registers.value>(u); });
  const float *label = label_at(alpha_at(u, u.T - 1), u.L), *blank = label + 2 * W;
  int32_t exponents[2];
  memcpy(exponents, label + W, sizeof(int32_t));
  memcpy(exponents + 1, blank + W, sizeof(int32_t));
  const int32_t exponent = exponents[0] > exponents[1] ? exponents[0] : exponents[1];
  if (exponent < kLeast) return {__builtin_huge_val(), exponent, true};
  const double mantissa = ldexp(label[0], exponents[0] - exponent) + ldexp(blank[0], exponents[1] - exponent);
  const double cost = normaliser - (log(mantissa) + exponent * 0.693147180559945309);
  return {cost < kCertain * u.T ? normaliser - exact_log(u) : cost, exponent, true};
}

void occupy(const CtcUtterance &u, const CtcTotal &total) {
  by_registers(u, [&](auto registers) { fill_occupancies<registers.value>(u, total); });
}

void gradient(const CtcGradient &g) { g.bfloat16 ? write_gradient<uint16_t>(g) : write_gradient<float>(g); }

}  // namespace

const ds2::CtcKernels &ds2::DS2_ISA::ctc_kernels() {
  static const CtcKernels kernels = {forward, occupy, gradient};
  return kernels;
}
