// The cost of an utterance that is all but certain, where the rounding of floats over thousands of frames would show.
#pragma once
#include "ctc_trellis.h"

namespace {

/// Costs below this, in nats a frame, are worth summing again: floats lose up to 6e-8 a frame.
constexpr double kCertain = 6e-3;

/// ln of the label's probability relative to the best symbols, in doubles. As these are no more than 1 and the sum is close to
/// it, what underflows on the way does not matter.
inline double exact_log(const CtcUtterance &u) {
  const Scratch scratch(u);
  const size_t size = padded(u.L + 1);
  double *label = reinterpret_cast<double *>(scratch.exact), *blank = label + size, *q = blank + size;
  double *entered = q + size;  // entered[i] goes to label i
  for (size_t i = 0; i < size; ++i) label[i] = blank[i] = entered[i] = 0;
  blank[0] = 1;
  for (int32_t t = 0; t < u.T; ++t) {
    emit(u.rows + static_cast<size_t>(t) * (kHead + u.U), u.U, scratch.mantissas, scratch.exponents);
    const auto value = [&](int32_t symbol) {
      int32_t exponent;
      memcpy(&exponent, scratch.exponents + symbol, sizeof exponent);
      return exponent == kNone ? 0.0 : ldexp(scratch.mantissas[symbol], exponent);
    };
    double *values = reinterpret_cast<double *>(scratch.values);
    for (int32_t s = 0; s < u.U; ++s) values[s] = value(s);
    for (int32_t i = 1; i <= u.L; ++i) q[i] = values[u.slots[i]];
    const double q_blank = values[u.blank];
    for (int32_t i = 0; i < u.L; ++i) entered[i + 1] = blank[i] + (u.doors[i] < 0 ? label[i] : 0);
    blank[0] *= q_blank;
    for (int32_t i = 1; i <= u.L; ++i) {
      blank[i] = (blank[i] + label[i]) * q_blank;
      label[i] = (label[i] + entered[i]) * q[i];
    }
  }
  return log(label[u.L] + blank[u.L]);
}

}  // namespace
