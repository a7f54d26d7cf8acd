// Matrix products: C = start + A B, where a tile of C stays in registers while A and B stream by.
//
// A and B are of floats, or of pairs of bfloat16, with sums of floats all the same. A pair holds two numbers that
// follow each other in depth, so there are half as many steps; the last pair of an odd depth ends with zero.
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

// How A lies in memory: the float or pair of row m at step k is data[m * row + k * step].
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
  bool pairs;     // whether B, and so A, is of pairs

  int steps() const { return pairs ? (depth + 1) / 2 : depth; }
  const float* panel(int column) const { return data + (stride ? column : size_t(column) * steps()); }
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

// The same for an A of rows of floats, `stride` apart. Where B is of pairs, A's are written to `room`, as far apart: it
// may be where A is.
inline void product_of_rows(int rows, const float* a, size_t stride, float* room, Right b, float* c, size_t c_stride,
                            Start start) {
  if (b.pairs)
    for (int m = 0; m < rows; m++)
      for (int k = 0; k < b.depth; k += lanes) {
        const halves half = narrow(load_some(a + m * stride + k, b.depth - k));
        std::memcpy(room + m * stride + k / 2, &half, sizeof half);
      }
  product(rows, {b.pairs ? room : a, stride, 1}, b, c, c_stride, start);
}

// Turns rows of floats into rows of pairs, in their place: rows k and k + 1 become row k / 2.
inline void join_rows(float* matrix, int rows, int columns, size_t stride) {
  for (int k = 0; k < rows; k += 2)
    for (int n = 0; n < columns; n += lanes) {
      const float* from = matrix + k * stride + n;
      const vec second = k + 1 < rows ? load_some(from + stride, columns - n) : vec{};
      store_some(matrix + k / 2 * stride + n, join(load_some(from, columns - n), second), columns - n);
    }
}

// Packs columns [first, last) of B into panels, into memory that is its data, where `row(k, column)` gives up to
// `lanes` values of B's row k from a column that is a multiple of lanes.
template <class Rows>
void pack(float* packed, Right b, int first, int last, Rows row) {
  for (int column = first; column < last; column += tile_columns) {
    const int width = std::min(tile_columns, b.columns - column);
    float* out = packed + (b.panel(column) - b.data);
    for (int k = 0; k < b.depth; k += b.pairs ? 2 : 1)
      for (int n = column; n < column + width; n += lanes, out += lanes)
        store(out, b.pairs ? join(row(k, n), k + 1 < b.depth ? row(k + 1, n) : vec{}) : row(k, n));
  }
}

}  // namespace gates
