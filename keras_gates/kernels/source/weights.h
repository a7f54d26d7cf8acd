// Weights as the products want them: gates in the order of a cell's slots, units padded to whole vectors,
// packed into panels. And back again: gradients of that shape into the shape of the weights.
#pragma once

#include "cells.h"
#include "job.h"
#include "product.h"

namespace gates {

// Some slots of a cell, and the gate of the weights behind each.
struct Slots {
  int begin, end;
  int (*gate)(int slot);
  int count() const { return end - begin; }
};

template <class Cell>
constexpr Slots input_slots{0, Cell::x_end, Cell::x_gate};
template <class Cell>
constexpr Slots state_slots{Cell::h_begin, Cell::h_end, Cell::h_gate};
template <class Cell>
constexpr Slots late_slots{Cell::h_end, Cell::late_end, Cell::h_gate};
template <class Cell>
constexpr int recurrent_gates = Cell::late_end - Cell::h_begin;
template <class Cell>
constexpr bool recurs = recurrent_gates<Cell> > 0;

template <class Cell>
constexpr bool normalizes = Cell::normalized.size() > 0;
// Where there is layer normalisation, the tape has another slot for its statistics: the scale of each group, then mean
// and scale of the memory.
template <class Cell>
constexpr int tape_slots = Cell::slots + normalizes<Cell>;
constexpr int most_statistics = 4;
static_assert(most_statistics <= lanes, "they must fit into a slot");

struct Matrix {
  const float* data;
  int rows, units, gates;

  const float* at(int row, int gate, int unit) const { return data + (size_t(row) * gates + gate) * units + unit; }
};

// B (rows, slots): what turns inputs or a state into pre-activations.
class Packed {
 public:
  Packed() = default;
  // `pairs`: of bfloat16, else of floats.
  Packed(Matrix matrix, Slots slots, bool transposed, bool pairs, float* memory)
      : matrix_(matrix), slots_(slots), transposed_(transposed), pairs_(pairs), memory_(memory) {}

  static size_t size(Matrix m, Slots slots) {
    return (round_up(m.rows, lanes)) * slots.count() * round_up(m.units, lanes);
  }

  // This thread's share of the panels.
  void fill(int thread, int threads) const {
    const int panels = (columns() + tile_columns - 1) / tile_columns;
    const int first = panels * thread / threads * tile_columns;
    const int last = std::min(columns(), panels * (thread + 1) / threads * tile_columns);
    const int up = int(round_up(matrix_.units, lanes));
    if (transposed_)
      pack(memory_, right(), first, last,
           [&](int k, int n) { return column_of(slots_.gate(slots_.begin + k / up), k % up, n); });
    else
      pack(memory_, right(), first, last, [&](int k, int n) {
        const int unit = n % up;
        return load_some(matrix_.at(k, slots_.gate(slots_.begin + n / up), unit), matrix_.units - unit);
      });
  }

  Right right() const { return {memory_, depth(), columns(), 0, pairs_}; }

 private:
  int slot_columns() const { return slots_.count() * int(round_up(matrix_.units, lanes)); }
  int depth() const { return transposed_ ? slot_columns() : matrix_.rows; }
  int columns() const { return transposed_ ? int(round_up(matrix_.rows, lanes)) : slot_columns(); }

  // One column of the weights, from a row on; zero where the units are padding.
  vec column_of(int gate, int unit, int row) const {
    vec column{};
    if (unit >= matrix_.units) return column;
    const int count = std::min(lanes, matrix_.rows - row);
    for (int j = 0; j < count; j++) column[j] = *matrix_.at(row + j, gate, unit);
    return column;
  }

  Matrix matrix_{};
  Slots slots_{};
  bool transposed_ = false, pairs_ = false;
  float* memory_ = nullptr;
};

// What a row of pre-activations starts from: all biases, by slot.
template <class Cell>
void fill_bias(const Sequences& in, float* row) {
  const int up = padded_units(in.units);
  std::fill(row, row + size_t(Cell::slots) * up, 0.f);
  for (int slot = 0; slot < Cell::slots; slot++)
    for (int unit = 0; unit < in.units; unit++) {
      float& start = row[size_t(slot) * up + unit];
      if (slot < Cell::x_end) start += in.bias[Cell::x_gate(slot) * in.units + unit];
      if (Cell::bias_rows == 2 && slot >= Cell::h_begin)
        start += in.bias[(Cell::gates + Cell::h_gate(slot)) * in.units + unit];
    }
}

}  // namespace gates
