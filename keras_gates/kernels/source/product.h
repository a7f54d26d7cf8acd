// Matrix products: C = start + A B, where a tile of C stays in registers while A and B stream by.
#pragma once

#include <algorithm>
#include <cstddef>

#include "vector.h"

namespace gates {

// The tile of C: as many registers as leave room for one row of B and one value of A.
#if defined(__AVX512F__)
constexpr int tile_rows = 8, tile_vecs = 3;
#elif defined(__AVX__)
constexpr int tile_rows = 4, tile_vecs = 3;
#else
constexpr int tile_rows = 4, tile_vecs = 2;
#endif
constexpr int tile_columns = tile_vecs * lanes;

inline size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// A row length that keeps rows of a matrix from falling onto the same cache sets.
inline size_t spread(size_t columns) { return round_up(columns, 64) + lanes; }

// How A lies in memory: the element of row m at depth k is data[m * row + k * step].
struct Left {
  const float* data;
  size_t row, step;
};

// B, (depth, columns): panels of tile_columns columns, each panel either dense (packed) or a strip of a
// row-major matrix. `columns` is a multiple of lanes.
struct Right {
  const float* data;
  int depth, columns;
  size_t stride;  // of a row-major matrix; 0 when packed

  const float* panel(int column) const { return data + (stride ? column : size_t(column) * depth); }
  size_t panel_stride(int vecs) const { return stride ? stride : size_t(vecs) * lanes; }
};

// What C is before the product is added. It is added last: a sum over many products rounds less that way.
struct Start {
  enum Kind { zero, bias, itself } kind;
  const float* row = nullptr;  // of the bias, as long as C is wide
};

// C (rows, b.columns) = start + A B. A's rows go in groups as equal as can be: no group of one row next to
// full ones. Where A is packed in groups of tile_rows, `group` is the distance from one to the next, else 0.
void product(int rows, Left a, Right b, float* c, size_t c_stride, Start start, size_t group = 0);

// Packs columns [first, last) of a matrix B(depth, columns) into panels, where `row(k, column)` gives up to
// `lanes` values of row k from a column that is a multiple of lanes.
template <class Rows>
void pack(float* packed, int depth, int columns, int first, int last, Rows row) {
  for (int column = first; column < last; column += tile_columns) {
    const int width = std::min(tile_columns, columns - column);
    float* out = packed + size_t(column) * depth;
    for (int k = 0; k < depth; k++)
      for (int n = 0; n < width; n += lanes, out += lanes) store(out, row(k, column + n));
  }
}

}  // namespace gates
