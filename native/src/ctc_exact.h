// The cost of an utterance whose label is almost certain, where float rounding over thousands of frames would be
// visible.
#pragma once
#include "ctc_trellis.h"

namespace {

/// Costs below this many nats per frame are summed again in double precision: floats lose up to 6e-8 per frame.
constexpr double kNearCertain = 6e-3;

/// Natural log of the label's probability relative to the largest logits, in double precision. Emissions are at most 1
/// and the total is close to it, so underflow on the way is harmless.
inline double exact_log_prob(const CtcUtterance &u) {
  const Scratch scratch(u);
  const size_t size = padded(u.L + 1);
  double *label = reinterpret_cast<double *>(scratch.exact), *blank = label + size, *q = blank + size;
  double *from_previous = q + size;  // from_previous[i]: what enters label i from the pair before
  for (size_t i = 0; i < size; ++i) label[i] = blank[i] = from_previous[i] = 0;
  blank[0] = 1;
  for (int32_t t = 0; t < u.T; ++t) {
    compute_emissions(u.rows + static_cast<size_t>(t) * (kRowHeader + u.U), u.U, scratch.mantissas, scratch.exponents);
    const auto value = [&](int32_t symbol) {
      int32_t exponent;
      memcpy(&exponent, scratch.exponents + symbol, sizeof exponent);
      return exponent == kZeroExponent ? 0.0 : ldexp(scratch.mantissas[symbol], exponent);
    };
    double *values = reinterpret_cast<double *>(scratch.values);
    for (int32_t s = 0; s < u.U; ++s) values[s] = value(s);
    for (int32_t i = 1; i <= u.L; ++i) q[i] = values[u.slots[i]];
    const double q_blank = values[u.blank];
    for (int32_t i = 0; i < u.L; ++i) from_previous[i + 1] = blank[i] + (u.may_skip[i] < 0 ? label[i] : 0);
    blank[0] *= q_blank;
    for (int32_t i = 1; i <= u.L; ++i) {
      blank[i] = (blank[i] + label[i]) * q_blank;
      label[i] = (label[i] + from_previous[i]) * q[i];
    }
  }
  return log(label[u.L] + blank[u.L]);
}

}  // namespace
