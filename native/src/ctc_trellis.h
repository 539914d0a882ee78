// The trellis of CTC in numbers that cannot underflow: a float in [1, 2) and an exponent of its own for every cell, so an
// addition is exact to one rounding at any length and any logits, and needs no logarithm.
//
// Cells come in pairs, i = 0..L: label i and the blank after it; label 0 does not exist and stays at zero. A frame is a run
// of blocks, one vector each of: mantissas and exponents of W labels, mantissas and exponents of their blanks.
#pragma once
#include "ctc_frames.h"

namespace {

using ds2::CtcTotal;
using ds2::kNone;
using ds2::padded;

/// m * 2^e. Fresh from `normal`, m is in [1, 2); between there it may grow to some units.
struct Cells {
  V m;
  I e;
};

DS2_INLINE Cells nothing() { return {V{} + 1.0f, I{} + kNone}; }
DS2_INLINE Cells load_cells(const float *p) { return {load(p), load_ints(p + W)}; }
DS2_INLINE void store_cells(float *p, Cells c) { store(p, c.m), store_ints(p + W, c.e); }
DS2_INLINE Cells choose(I condition, Cells a, Cells b) { return {condition < 0 ? a.m : b.m, condition < 0 ? a.e : b.e}; }

/// 2^k, zero below -126. offset_k: k + 127.
DS2_INLINE V power(I offset_k) { return as_floats(larger(offset_k, I{}) << 23); }

DS2_INLINE Cells add(Cells a, Cells b) {
  const I e = larger(a.e, b.e), zero = e - 127;
  return {a.m * power(a.e - zero) + b.m * power(b.e - zero), e};
}

DS2_INLINE Cells normal(Cells c) {
  const I bits = as_bits(c.m);
  return {as_floats((bits & 0x7fffff) | 0x3f800000), larger(c.e + ((bits >> 23) - 127), I{} + kNone)};
}

DS2_INLINE Cells times(Cells c, Cells emission) { return {c.m * emission.m, c.e + emission.e}; }

constexpr float kLost = -22000;  // nats below the best of its frame where a symbol's probability counts as zero

/// Probabilities of the symbols of a frame relative to its best: mantissas[s] * 2^exponents[s], exactly 1 for the best, as
/// what is lost there is lost in every frame that is like it. x - best is taken with what its rounding lost.
DS2_INLINE void emit(const float *row, int32_t symbols, float *mantissas, float *exponents) {
  const V best = V{} + row[0];
  for (int32_t s = 0; s < symbols; s += W) {
    const V x = load(row + kHead + s), difference = x - best;
    const I lost = ~(difference >= kLost);  // a NaN, too: beyond the row's end there may be anything
    const V y = lost < 0 ? V{} : difference;
    const V taken = x - y, rounded = (x - (y + taken)) + (taken - best);
    I k;
    const V f = reduce_argument(y, k) + rounded;
    k -= kRoundBits;
    store(mantissas + s, lost < 0 ? V{} + 1.0f : exp_reduced(f));
    store_ints(exponents + s, lost < 0 ? I{} + kNone : k);
  }
}

/// The emissions of a frame by label: from tables in registers where its symbols fit into `registers` vectors, else by
/// `gathered` memory, one label after the other.
template <int registers>
struct Emissions {
  V m[registers];
  I e[registers];
  const int32_t *slots;

  Emissions(const float *mantissas, const float *exponents, const CtcUtterance &u, float *) : slots(u.slots) {
    for (int r = 0; r < registers; ++r) m[r] = load(mantissas + r * W), e[r] = load_ints(exponents + r * W);
  }
  DS2_INLINE_MEMBER Cells at(int32_t i) const {
    const I slot = load_ints(slots + i);
    if constexpr (registers == 2) return {pick(m[0], m[1], slot), pick(e[0], e[1], slot)};
    const I in_pair = slot & (2 * W - 1);
    const Cells low = {pick(m[0], m[1], in_pair), pick(e[0], e[1], in_pair)};
    const Cells high = {pick(m[2], m[3], in_pair), pick(e[2], e[3], in_pair)};
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
  DS2_INLINE_MEMBER Cells at(int32_t i) const { return {load(m + i), load_ints(e + i)}; }
};

/// The parts of an utterance's scratch.
struct Scratch {
  float *beta, *shares, *gathered, *mantissas, *exponents, *even, *odd, *exact, *values;

  explicit Scratch(const CtcUtterance &u) {
    beta = u.scratch;
    shares = beta + ds2::trellis_floats(u.L);
    gathered = shares + padded(u.L + 1);
    mantissas = gathered + 2 * padded(u.L + 1);
    exponents = mantissas + padded(u.U);
    even = exponents + padded(u.U);
    odd = even + padded(u.U);
    values = odd + padded(u.U);
    exact = values + 2 * padded(u.U);
  }
};

inline Cells emission_of(int32_t symbol, const Scratch &scratch) {
  int32_t exponent;
  memcpy(&exponent, scratch.exponents + symbol, sizeof exponent);
  return {V{} + scratch.mantissas[symbol], I{} + exponent};
}

inline int32_t blocks_of(int32_t L) { return (L + W) / W; }

inline void clear(float *cells, int32_t blocks) {
  for (int32_t k = 0; k < 2 * blocks; ++k) store_cells(cells + k * 2 * W, nothing());
}

/// Where label i of a frame is, and the blank after it.
inline float *label_at(float *cells, int32_t i) { return cells + i / W * 4 * W + i % W; }
inline float *blank_at(float *cells, int32_t i) { return label_at(cells, i) + 2 * W; }

inline void put_one(float *cell) {
  cell[0] = 1;
  cell[W] = 0;  // the bits of the integer 0
}

/// Frame t of alpha; -1 is the start.
inline float *alpha_at(const CtcUtterance &u, int32_t t) {
  return u.alpha + (u.keep_alpha ? t + 1 : (t + 1) % 2) * ds2::trellis_floats(u.L);
}

template <int registers>
void fill_alpha(const CtcUtterance &u) {
  const Scratch scratch(u);
  const int32_t blocks = blocks_of(u.L);
  clear(alpha_at(u, -1), blocks);
  put_one(blank_at(alpha_at(u, -1), 0));
  for (int32_t t = 0; t < u.T; ++t) {
    emit(u.rows + static_cast<size_t>(t) * (kHead + u.U), u.U, scratch.mantissas, scratch.exponents);
    const Emissions<registers> emissions(scratch.mantissas, scratch.exponents, u, scratch.gathered);
    const Cells blank = emission_of(u.blank, scratch);
    const float *last = alpha_at(u, t - 1);
    float *now = alpha_at(u, t);
    Cells entering_before = nothing();
    for (int32_t k = 0; k < blocks; ++k, last += 4 * W, now += 4 * W) {
      const Cells l = load_cells(last), b = load_cells(last + 2 * W), both = add(l, b);
      const Cells entering = choose(load_ints(u.doors + k * W), both, b);
      const Cells entered = {slide<W - 1>(entering_before.m, entering.m), slide<W - 1>(entering_before.e, entering.e)};
      entering_before = entering;
      store_cells(now, normal(times(add(l, entered), emissions.at(k * W))));
      store_cells(now + 2 * W, normal(times(both, blank)));
    }
  }
}

/// beta of frame t, without the emission, becomes that of frame t - 1; occupancies replace the logits of frame t.
template <int registers>
void fill_occupancies(const CtcUtterance &u, const CtcTotal &total) {
  const Scratch scratch(u);
  const int32_t blocks = blocks_of(u.L);
  clear(scratch.beta, blocks);
  put_one(label_at(scratch.beta, u.L));
  put_one(blank_at(scratch.beta, u.L));
  const I zero = I{} + (total.exponent - 127);
  for (int32_t t = u.T - 1; t >= 0; --t) {
    float *row = u.rows + static_cast<size_t>(t) * (kHead + u.U);
    emit(row, u.U, scratch.mantissas, scratch.exponents);
    const Emissions<registers> emissions(scratch.mantissas, scratch.exponents, u, scratch.gathered);
    const Cells blank = emission_of(u.blank, scratch);
    float *beta = scratch.beta + blocks * 4 * W;
    const float *alpha = alpha_at(u, t) + blocks * 4 * W;
    Cells next_label = nothing();
    V blanks = {}, labels = {};
    for (int32_t k = blocks - 1; k >= 0; --k) {
      beta -= 4 * W, alpha -= 4 * W;
      const Cells l = load_cells(beta), b = load_cells(beta + 2 * W);
      const Cells al = load_cells(alpha), ab = load_cells(alpha + 2 * W);
      const V share = l.m * al.m * power(l.e + al.e - zero);
      store(scratch.shares + k * W, share);
      labels += share;
      blanks += b.m * ab.m * power(b.e + ab.e - zero);
      const Cells label = times(l, emissions.at(k * W)), after = times(b, blank);
      const Cells following = {slide<1>(label.m, next_label.m), slide<1>(label.e, next_label.e)};
      next_label = label;
      const Cells from_blank = add(after, following);
      store_cells(beta, normal(add(label, choose(load_ints(u.doors + k * W), from_blank, after))));
      store_cells(beta + 2 * W, normal(from_blank));
    }
    const auto sum = [](V a, V b) { return a + b; };
    const float all_blanks = reduce(blanks, sum), scale = 1 / (all_blanks + reduce(labels, sum));
    memset(scratch.even, 0, 2 * padded(u.U) * sizeof(float));
    scratch.even[u.blank] = all_blanks;
    int32_t i = 1;
    for (; i < u.L; i += 2) {  // two sums, so that equal neighbours do not wait for each other
      scratch.odd[u.slots[i]] += scratch.shares[i];
      scratch.even[u.slots[i + 1]] += scratch.shares[i + 1];
    }
    if (i == u.L) scratch.odd[u.slots[i]] += scratch.shares[i];
    for (int32_t s = 0; s < u.U; ++s) row[kHead + s] = (scratch.even[s] + scratch.odd[s]) * scale;
  }
}

}  // namespace
