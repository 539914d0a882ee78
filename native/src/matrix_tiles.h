// The product of a packed matrix with rows of activations. Sums go over the inputs in order, as in `multiply`, so that
// a row's result depends neither on the other rows nor on the size of the blocks.
#pragma once
#include "matrix_formats.h"

namespace {

constexpr int kSums = R == 8 ? 24 : 12;    // accumulators that fit into 32 or 16 registers, beside the factors
constexpr int kTileRows = R == 8 ? 8 : 6;  // rows of a tile
constexpr int kMostGroups = 4;
constexpr ptrdiff_t kDepth = 256;           // steps at a time if several tiles use the weights: 16 KiB in AVX2
constexpr ptrdiff_t kAheadBytes = 256;      // of each group, prefetched

/// Groups of a tile: with few rows several, so that there are enough independent sums to hide the latency.
constexpr int groups_of_tile(int rows) {
  const int groups = kSums / (2 * rows);
  return groups < 1 ? 1 : groups > kMostGroups ? kMostGroups : groups;
}

/// sums[i][g][panel] = products of x[i][begin..end) with group g, added to sums if `add`. Groups are group_bytes apart.
template <class Format, int rows, int groups>
__attribute__((noinline)) void multiply_tile(typename Format::Sums *out, const typename Format::Word *const *x,
                                             ptrdiff_t begin, ptrdiff_t end, const char *weights,
                                             ptrdiff_t group_bytes, bool add) {
  typedef typename Format::Sums Sums;
  Sums sums[rows][groups][2];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int c = 0; c < 2 * groups; ++c) sums[i][c / 2][c % 2] = add ? out[2 * groups * i + c] : Sums{};
  const typename Format::Word *row[rows];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) row[i] = x[i];
  const char *step = weights + begin * Format::step_bytes;
#pragma GCC unroll 2
  for (ptrdiff_t k = begin; k < end; ++k, step += Format::step_bytes) {
#pragma GCC unroll 8
    for (int g = 0; g < groups; ++g) {
      const char *const at = step + g * group_bytes;
      typename Format::Factors first, second;
      Format::load_step(at, first, second);
      __builtin_prefetch(at + kAheadBytes);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        // read the value again for each group: with all of them in registers, sums would not fit
        if (groups > 1 && rows > 1 && 2 * rows * groups > kSums / 2 + 2) asm("" : "+r"(row[i]));
        const typename Format::Word value = row[i][k];
        sums[i][g][0] = Format::add_products(sums[i][g][0], value, first);
        sums[i][g][1] = Format::add_products(sums[i][g][1], value, second);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int c = 0; c < 2 * groups; ++c) out[2 * groups * i + c] = sums[i][c / 2][c % 2];
}

template <class Format>
using Tile = void (*)(typename Format::Sums *, const typename Format::Word *const *, ptrdiff_t, ptrdiff_t, const char *,
                      ptrdiff_t, bool);

template <class Format, int rows>
Tile<Format> tile_of_rows(int groups) {
  constexpr int most = groups_of_tile(rows);
  static const Tile<Format> table[kMostGroups] = {
      multiply_tile<Format, rows, 1>, multiply_tile<Format, rows, most < 2 ? most : 2>,
      multiply_tile<Format, rows, most < 3 ? most : 3>, multiply_tile<Format, rows, most < 4 ? most : 4>};
  return table[groups - 1];
}

/// The instance of `multiply_tile` for 1..kTileRows rows and 1..groups_of_tile(rows) groups.
template <class Format>
Tile<Format> select_tile(int rows, int groups) {
  constexpr int M = kTileRows;
  static Tile<Format> (*const table[8])(int) = {
      tile_of_rows<Format, 1>,             tile_of_rows<Format, 2>,
      tile_of_rows<Format, 3>,             tile_of_rows<Format, 4>,
      tile_of_rows<Format, M < 5 ? M : 5>, tile_of_rows<Format, M < 6 ? M : 6>,
      tile_of_rows<Format, M < 7 ? M : 7>, tile_of_rows<Format, M < 8 ? M : 8>};
  return table[rows - 1](groups);
}

/// Multiply up to kBlockRows rows, and call finish(row, first output, sums of W outputs) for each.
template <class Format, class Finish>
void multiply_rows(const Matrix &m, const char *weights, int32_t rows, const typename Format::Word *const *x,
                   const Finish &finish) {
  const int32_t blocks = ceil_div(rows, kTileRows), groups = ceil_div(m.J, kGroup);
  const int32_t most = groups_of_tile(ceil_div(rows, blocks)), parts = ceil_div(groups, most);
  const ptrdiff_t steps = step_count<Format>(m.K), depth = blocks == 1 ? steps : kDepth;
  const ptrdiff_t group_bytes = steps * Format::step_bytes;
  typename Format::Sums sums[(kBlockRows + kTileRows - 1) / kTileRows * kTileRows * 2 * kMostGroups];
  for (int32_t part = 0; part < parts; ++part) {
    const int32_t group = part_begin(part, groups, parts), count = part_begin(part + 1, groups, parts) - group;
    for (ptrdiff_t begin = 0; begin < steps; begin += depth)
      for (int32_t block = 0; block < blocks; ++block) {
        const int32_t row = part_begin(block, rows, blocks), end_row = part_begin(block + 1, rows, blocks);
        select_tile<Format>(end_row - row, count)(sums + row * 2 * count, x + row, begin,
                                                  begin + depth < steps ? begin + depth : steps,
                                                  weights + group * group_bytes, group_bytes, begin > 0);
      }
    for (int32_t i = 0; i < rows; ++i)
      for (int32_t c = 0; c < 2 * count; ++c) {
        const int32_t j = group * kGroup + c * W;
        if (j < m.J) finish(i, j, sums[i * 2 * count + c]);
      }
  }
}

/// The product of a block of rows with a matrix of any format: out[i*stride + j], without the bias.
/// quantised: room for the int16 activations of the rows.
template <class Format>
__attribute__((noinline)) void multiply_block(const Matrix &m, int32_t rows, const float *const *x, void *, float *out,
                                              ptrdiff_t stride) {
  multiply_rows<Format>(m, static_cast<const char *>(m.packed), rows, x, [&](int32_t i, int32_t j, V sums) {
    store(out + i * stride + j, sums, m.J - j);
  });
}

template <>
__attribute__((noinline)) void multiply_block<Int8>(const Matrix &m, int32_t rows, const float *const *x,
                                                    void *quantised, float *out, ptrdiff_t stride) {
  const float *scales = static_cast<const float *>(m.packed);
  const Int8::Word *values[kBlockRows];
  float row_scales[kBlockRows];
  uint32_t offsets[kBlockRows];
  for (int32_t i = 0; i < rows; ++i) {
    int16_t *row = static_cast<int16_t *>(quantised) + static_cast<size_t>(i) * padded_inputs(m.K);
    row_scales[i] = quantise_row(x[i], m.K, row);
    offsets[i] = Int8::first_offset(row, m.K);
    values[i] = reinterpret_cast<const Int8::Word *>(row);
  }
  multiply_rows<Int8>(m, reinterpret_cast<const char *>(scales + padded_outputs(m.J)), rows, values,
                      [&](int32_t i, int32_t j, U sums) {
                        const V scale = load(scales + j) * row_scales[i];
                        const I exact = reinterpret_cast<I>(j % kGroup ? sums : sums - offsets[i]);
                        store(out + i * stride + j, __builtin_convertvector(exact, V) * scale, m.J - j);
                      });
}

/// multiply_block for the format of the matrix.
inline void multiply_any(const Matrix &m, int32_t rows, const float *const *x, void *quantised, float *out,
                         ptrdiff_t stride) {
  static void (*const table[])(const Matrix &, int32_t, const float *const *, void *, float *, ptrdiff_t) = {
      multiply_block<Float32>, multiply_block<Bfloat16>, multiply_block<Int8>};
  table[m.format](m, rows, x, quantised, out, stride);
}

}  // namespace
