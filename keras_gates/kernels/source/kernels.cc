// From the description of a cell to its kernels.
#include <type_traits>

#include "backward.h"
#include "forward.h"
#ifdef KERAS_GATES_CELLS
#include KERAS_GATES_CELLS  // a user's own cells, and the table of them, OwnCells
#endif

namespace gates {

#ifdef KERAS_GATES_CELLS
using Cells = OwnCells;
#else
using Cells = AllCells;
#endif

int padded_units(int units) { return int(round_up(units, lanes)); }

std::vector<const char*> cell_names() { return {Cells::names.begin(), Cells::names.end()}; }

Layout layout_of(const CellSpec& spec) {
  Layout found{};
  Cells::with_cell(spec, [&](const auto& cell) {
    using Cell = std::decay_t<decltype(cell)>;
    found = {Cell::gates,      recurrent_gates<Cell>, Cell::heard,       Cell::bias_rows,
             tape_slots<Cell>, Cell::memories,        Cell::reads_below, Cell::vectors};
  });
  return found;
}

void run_forward(const CellSpec& spec, const Sequences& in, const Results& out) {
  Cells::with_cell(spec, [&](const auto& cell) { Forward(cell, in, out).run(); });
}

void run_backward(const CellSpec& spec, const Sequences& in, const Results& out, const Gradients& gradients) {
  Cells::with_cell(spec, [&](const auto& cell) { Backward(cell, in, out, gradients).run(); });
}

}  // namespace gates
