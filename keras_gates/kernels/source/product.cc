#include "product.h"

namespace gates {
namespace {

// `Number` is float or pair.
template <class Number, int rows, int vecs>
inline void tile(int steps, Left a, const float* b, size_t b_stride, float* c, size_t c_stride, Start start) {
  vec sum[rows][vecs]{};
  for (int k = 0; k < steps; k++, a.data += a.step, b += b_stride) {
    const Number* left = reinterpret_cast<const Number*>(a.data);
    vec right[vecs];
    for (int v = 0; v < vecs; v++) right[v] = load(b + v * lanes);
    for (int m = 0; m < rows; m++)
      for (int v = 0; v < vecs; v++) sum[m][v] = multiply_add(sum[m][v], left[m * a.row], right[v]);
  }
  for (int m = 0; m < rows; m++)
    for (int v = 0; v < vecs; v++) {
      float* to = c + m * c_stride + v * lanes;
      if (start.kind == Start::itself) sum[m][v] += load(to);
      if (start.kind == Start::bias) sum[m][v] += load(start.row + v * lanes);
      store(to, sum[m][v]);
    }
}

// Calls the tile of the given size: one of tile_rows x tile_vecs instances.
template <class Number, int rows = tile_rows, int vecs = tile_vecs, class... Rest>
inline void tile_of(int m, int v, Rest... rest) {
  if constexpr (vecs > 1)
    if (v < vecs) return tile_of<Number, rows, vecs - 1>(m, v, rest...);
  if constexpr (rows > 1)
    if (m < rows) return tile_of<Number, rows - 1, vecs>(m, v, rest...);
  tile<Number, rows, vecs>(rest...);
}

template <class Number>
void product_of(int rows, Left a, Right b, float* c, size_t c_stride, Start start, size_t group) {
  const int groups = (rows + tile_rows - 1) / tile_rows;
  for (int column = 0; column < b.columns; column += tile_columns) {
    const int vecs = std::min(tile_columns, b.columns - column) / lanes;
    const Start here{start.kind, start.row + (start.row ? column : 0)};
    for (int g = 0, m = 0; g < groups; g++) {
      const int count = group ? std::min(tile_rows, rows - m) : (rows - m) / (groups - g);
      const Left left{a.data + (group ? g * group : m * a.row), a.row, a.step};
      tile_of<Number>(count, vecs, b.steps(), left, b.panel(column), b.panel_stride(vecs), c + m * c_stride + column,
                      c_stride, here);
      m += count;
    }
  }
}

}  // namespace

void product(int rows, Left a, Right b, float* c, size_t c_stride, Start start, size_t group) {
  b.pairs ? product_of<pair>(rows, a, b, c, c_stride, start, group)
          : product_of<float>(rows, a, b, c, c_stride, start, group);
}

}  // namespace gates
