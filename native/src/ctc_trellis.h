// The CTC trellis in scaled floats, which cannot underflow: each cell has a mantissa in [1, 2) and an exponent of its
// own, so every addition is exact to one rounding for any length and any logits, without logarithms.
//
// Cells come in pairs i = 0..L: label i and the blank after it; label 0 does not exist and stays zero. A frame is a
// sequence of blocks, each of four vectors: mantissas and exponents of W labels, mantissas and exponents of their
// blanks.
#pragma once
#include "ctc_frames.h"

namespace {

using ds2::CtcTotal;
using ds2::kZeroExponent;
using ds2::padded;

/// W numbers m * 2^e. After `normalize` m is in [1, 2); between calls it may grow to a few units.
struct ScaledVector {
  V m;
  I e;
};

DS2_INLINE ScaledVector zeros() { return {V{} + 1.0f, I{} + kZeroExponent}; }
DS2_INLINE ScaledVector load_cells(const float *p) { return {load(p), load_ints(p + W)}; }
DS2_INLINE void store_cells(float *p, ScaledVector c) { store(p, c.m), store_ints(p + W, c.e); }
DS2_INLINE ScaledVector select(I condition, ScaledVector a, ScaledVector b) {
  return {condition < 0 ? a.m : b.m, condition < 0 ? a.e : b.e};
}

/// 2^k, or zero for k < -126. biased_k: k + 127.
DS2_INLINE V power_of_two(I biased_k) { return as_floats(max(biased_k, I{}) << 23); }

DS2_INLINE ScaledVector add(ScaledVector a, ScaledVector b) {
  const I e = max(a.e, b.e), bias = e - 127;
  return {a.m * power_of_two(a.e - bias) + b.m * power_of_two(b.e - bias), e};
}

DS2_INLINE ScaledVector normalize(ScaledVector c) {
  const I bits = as_bits(c.m);
  return {as_floats((bits & 0x7fffff) | 0x3f800000), max(c.e + ((bits >> 23) - 127), I{} + kZeroExponent)};
}

DS2_INLINE ScaledVector multiply(ScaledVector c, ScaledVector emission) { return {c.m * emission.m, c.e + emission.e}; }

/// Logits this far below the largest of their frame (nats) count as probability zero.
constexpr float kLogitFloor = -22000;

/// Emissions of a frame relative to its largest logit: mantissas[s] * 2^exponents[s]. The largest is exactly 1, as an
/// error there would repeat in every similar frame. x - largest is corrected by its rounding error.
DS2_INLINE void compute_emissions(const float *row, int32_t symbols, float *mantissas, float *exponents) {
  const V largest = V{} + row[0];
  for (int32_t s = 0; s < symbols; s += W) {
    const V x = load(row + kRowHeader + s), difference = x - largest;
    const I is_zero = ~(difference >= kLogitFloor);  // NaN included: the values beyond the end of the row are undefined
    const V y = is_zero < 0 ? V{} : difference;
    const V subtracted = x - y, rounding_error = (x - (y + subtracted)) + (subtracted - largest);
    I k;
    const V f = reduce_argument(y, k) + rounding_error;
    k -= kRoundBits;
    store(mantissas + s, is_zero < 0 ? V{} + 1.0f : exp_reduced(f));
    store_ints(exponents + s, is_zero < 0 ? I{} + kZeroExponent : k);
  }
}

/// The emissions of a frame by label: looked up in tables of `registers` vectors if the symbols fit, otherwise gathered
/// in memory, label by label.
template <int registers>
struct Emissions {
  V m[registers];
  I e[registers];
  const int32_t *slots;

  Emissions(const float *mantissas, const float *exponents, const CtcUtterance &u, float *) : slots(u.slots) {
    for (int r = 0; r < registers; ++r) m[r] = load(mantissas + r * W), e[r] = load_ints(exponents + r * W);
  }
  DS2_INLINE_MEMBER ScaledVector at(int32_t i) const {
    const I slot = load_ints(slots + i);
    if constexpr (registers == 2) return {permute(m[0], m[1], slot), permute(e[0], e[1], slot)};
    const I in_pair = slot & (2 * W - 1);
    const ScaledVector low = {permute(m[0], m[1], in_pair), permute(e[0], e[1], in_pair)};
    const ScaledVector high = {permute(m[2], m[3], in_pair), permute(e[2], e[3], in_pair)};
    return {slot < 2 * W ? low.m : high.m, slot < 2 * W ? low.e : high.e};
  }
};

template <>
struct Emissions<0> {
  const float *m, *e;

  Emissions(const float *mantissas, const float *exponents, const CtcUtterance &u, float *gathered) : m(gathered) {
    const size_t size = padded(u.L + 1);
    e = gathered + size;
    for (int32_t i = 0; i <= u.L; ++i) {
      const int32_t slot = u.slots[i];
      gathered[i] = mantissas[slot];
      gathered[size + i] = exponents[slot];
    }
    for (size_t i = u.L + 1; i < size; ++i) gathered[i] = mantissas[0], gathered[size + i] = exponents[0];
  }
  DS2_INLINE_MEMBER ScaledVector at(int32_t i) const { return {load(m + i), load_ints(e + i)}; }
};

/// The parts of an utterance's scratch buffer.
struct Scratch {
  float *beta, *occupancies, *gathered, *mantissas, *exponents, *even, *odd, *exact, *values;

  explicit Scratch(const CtcUtterance &u) {
    beta = u.scratch;
    occupancies = beta + ds2::trellis_floats(u.L);
    gathered = occupancies + padded(u.L + 1);
    mantissas = gathered + 2 * padded(u.L + 1);
    exponents = mantissas + padded(u.U);
    even = exponents + padded(u.U);
    odd = even + padded(u.U);
    values = odd + padded(u.U);
    exact = values + 2 * padded(u.U);
  }
};

inline ScaledVector broadcast_emission(int32_t symbol, const Scratch &scratch) {
  int32_t exponent;
  memcpy(&exponent, scratch.exponents + symbol, sizeof exponent);
  return {V{} + scratch.mantissas[symbol], I{} + exponent};
}

inline int32_t blocks_of(int32_t L) { return (L + W) / W; }

inline void set_zeros(float *cells, int32_t blocks) {
  for (int32_t k = 0; k < 2 * blocks; ++k) store_cells(cells + k * 2 * W, zeros());
}

/// Mantissa of label i in a frame's cells, and of the blank after it; the exponent follows W floats later.
inline float *label_at(float *cells, int32_t i) { return cells + i / W * 4 * W + i % W; }
inline float *blank_at(float *cells, int32_t i) { return label_at(cells, i) + 2 * W; }

inline void set_one(float *cell) {
  cell[0] = 1;
  cell[W] = 0;  // all bits zero: the integer 0
}

/// Alpha of frame t; t = -1 is the initial state.
inline float *alpha_at(const CtcUtterance &u, int32_t t) {
  return u.alpha + (u.keep_alpha ? t + 1 : (t + 1) % 2) * ds2::trellis_floats(u.L);
}

template <int registers>
void fill_alpha(const CtcUtterance &u) {
  const Scratch scratch(u);
  const int32_t blocks = blocks_of(u.L);
  set_zeros(alpha_at(u, -1), blocks);
  set_one(blank_at(alpha_at(u, -1), 0));
  for (int32_t t = 0; t < u.T; ++t) {
    compute_emissions(u.rows + static_cast<size_t>(t) * (kRowHeader + u.U), u.U, scratch.mantissas, scratch.exponents);
    const Emissions<registers> emissions(scratch.mantissas, scratch.exponents, u, scratch.gathered);
    const ScaledVector blank = broadcast_emission(u.blank, scratch);
    const float *last = alpha_at(u, t - 1);
    float *now = alpha_at(u, t);
    ScaledVector to_next_before = zeros();
    for (int32_t k = 0; k < blocks; ++k, last += 4 * W, now += 4 * W) {
      const ScaledVector l = load_cells(last), b = load_cells(last + 2 * W), both = add(l, b);
      const ScaledVector to_next = select(load_ints(u.may_skip + k * W), both, b);
      const ScaledVector from_previous = {slide<W - 1>(to_next_before.m, to_next.m),
                                          slide<W - 1>(to_next_before.e, to_next.e)};
      to_next_before = to_next;
      store_cells(now, normalize(multiply(add(l, from_previous), emissions.at(k * W))));
      store_cells(now + 2 * W, normalize(multiply(both, blank)));
    }
  }
}

/// Compute beta from the last frame to the first, in place, without the emissions of its own frame; replace the logits
/// of each frame with occupancies: the sum of alpha * beta over the states of a symbol, normalized to sum 1 per frame.
template <int registers>
void fill_occupancies(const CtcUtterance &u, const CtcTotal &total) {
  const Scratch scratch(u);
  const int32_t blocks = blocks_of(u.L);
  set_zeros(scratch.beta, blocks);
  set_one(label_at(scratch.beta, u.L));
  set_one(blank_at(scratch.beta, u.L));
  const I bias = I{} + (total.exponent - 127);
  for (int32_t t = u.T - 1; t >= 0; --t) {
    float *row = u.rows + static_cast<size_t>(t) * (kRowHeader + u.U);
    compute_emissions(row, u.U, scratch.mantissas, scratch.exponents);
    const Emissions<registers> emissions(scratch.mantissas, scratch.exponents, u, scratch.gathered);
    const ScaledVector blank = broadcast_emission(u.blank, scratch);
    float *beta = scratch.beta + blocks * 4 * W;
    const float *alpha = alpha_at(u, t) + blocks * 4 * W;
    ScaledVector next_label = zeros();
    V blanks = {}, labels = {};
    for (int32_t k = blocks - 1; k >= 0; --k) {
      beta -= 4 * W, alpha -= 4 * W;
      const ScaledVector l = load_cells(beta), b = load_cells(beta + 2 * W);
      const ScaledVector al = load_cells(alpha), ab = load_cells(alpha + 2 * W);
      const V occupancy = l.m * al.m * power_of_two(l.e + al.e - bias);
      store(scratch.occupancies + k * W, occupancy);
      labels += occupancy;
      blanks += b.m * ab.m * power_of_two(b.e + ab.e - bias);
      const ScaledVector label = multiply(l, emissions.at(k * W)), after = multiply(b, blank);
      const ScaledVector following = {slide<1>(label.m, next_label.m), slide<1>(label.e, next_label.e)};
      next_label = label;
      const ScaledVector from_blank = add(after, following);
      store_cells(beta, normalize(add(label, select(load_ints(u.may_skip + k * W), from_blank, after))));
      store_cells(beta + 2 * W, normalize(from_blank));
    }
    const auto sum = [](V a, V b) { return a + b; };
    const float all_blanks = reduce(blanks, sum), scale = 1 / (all_blanks + reduce(labels, sum));
    memset(scratch.even, 0, 2 * padded(u.U) * sizeof(float));
    scratch.even[u.blank] = all_blanks;
    int32_t i = 1;
    for (; i < u.L; i += 2) {  // two sums, so that repeated labels do not form one chain of dependent additions
      scratch.odd[u.slots[i]] += scratch.occupancies[i];
      scratch.even[u.slots[i + 1]] += scratch.occupancies[i + 1];
    }
    if (i == u.L) scratch.odd[u.slots[i]] += scratch.occupancies[i];
    for (int32_t s = 0; s < u.U; ++s) row[kRowHeader + s] = (scratch.even[s] + scratch.odd[s]) * scale;
  }
}

}  // namespace
