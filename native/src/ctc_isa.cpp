// Compiled once per instruction set; the build defines DS2_ISA and DS2_WIDTH.
#include "ctc_exact.h"

namespace {

constexpr int32_t kMinExponent = -(1 << 28);  // a smaller exponent counts as probability zero

template <int count>
struct RegisterCount {
  static constexpr int value = count;
};

/// Call f with the number of vector registers that hold the utterance's symbols, 0 if they do not fit.
template <class F>
void with_registers(const CtcUtterance &u, const F &f) {
  if (u.U <= 2 * kTableLanes)
    f(RegisterCount<kTableLanes ? 2 : 0>{});
  else if (u.U <= 4 * kTableLanes)
    f(RegisterCount<kTableLanes ? 4 : 0>{});
  else
    f(RegisterCount<0>{});
}

CtcTotal forward(const CtcUtterance &u) {
  const double log_denominator = u.bfloat16 ? fill_softmax_rows<uint16_t>(u) : fill_softmax_rows<float>(u);
  if (log_denominator - log_denominator != 0) return {log_denominator, 0, false};
  with_registers(u, [&](auto registers) { fill_alpha<registers.value>(u); });
  const float *label = label_at(alpha_at(u, u.T - 1), u.L), *blank = label + 2 * W;
  int32_t exponents[2];
  memcpy(exponents, label + W, sizeof(int32_t));
  memcpy(exponents + 1, blank + W, sizeof(int32_t));
  const int32_t exponent = exponents[0] > exponents[1] ? exponents[0] : exponents[1];
  if (exponent < kMinExponent) return {__builtin_huge_val(), exponent, true};
  const double mantissa = ldexp(label[0], exponents[0] - exponent) + ldexp(blank[0], exponents[1] - exponent);
  const double cost = log_denominator - (log(mantissa) + exponent * 0.693147180559945309);
  return {cost < kNearCertain * u.T ? log_denominator - exact_log_prob(u) : cost, exponent, true};
}

void compute_occupancies(const CtcUtterance &u, const CtcTotal &total) {
  with_registers(u, [&](auto registers) { fill_occupancies<registers.value>(u, total); });
}

void gradient(const CtcGradient &g) { g.bfloat16 ? write_gradient<uint16_t>(g) : write_gradient<float>(g); }

}  // namespace

const ds2::CtcKernels &ds2::DS2_ISA::ctc_kernels() {
  static const CtcKernels kernels = {forward, compute_occupancies, gradient};
  return kernels;
}
