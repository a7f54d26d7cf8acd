// From the description of a cell to its kernels.
#include <type_traits>

#include "backward.h"
#include "forward.h"

namespace gates {

int padded_units(int units) { return int(round_up(units, lanes)); }

std::vector<const char*> cell_names() { return {AllCells::names.begin(), AllCells::names.end()}; }

Layout layout_of(const CellSpec& spec) {
  Layout found{};
  AllCells::with_cell(spec, [&](const auto& cell) {
    using Cell = std::decay_t<decltype(cell)>;
    found = {Cell::gates,      recurrent_gates<Cell>, Cell::heard,       Cell::bias_rows,
             tape_slots<Cell>, Cell::memories,        Cell::reads_below, Cell::vectors};
  });
  return found;
}

void run_forward(const CellSpec& spec, const Sequences& in, const Results& out) {
  AllCells::with_cell(spec, [&](const auto& cell) { Forward(cell, in, out).run(); });
}

void run_backward(const CellSpec& spec, const Sequences& in, const Results& out, const Gradients& gradients) {
  AllCells::with_cell(spec, [&](const auto& cell) { Backward(cell, in, out, gradients).run(); });
}

}  // namespace gates
