// From the name of a cell to its kernels.
#include "backward.h"
#include "forward.h"

namespace gates {

int padded_units(int units) { return int(round_up(units, lanes)); }

namespace {

template <template <class> class Family, class Use>
void with_peepholes(const CellSpec& spec, const Sequences& in, Use use) {
  if (!in.peepholes[0] && !in.peepholes[1] && !in.peepholes[2]) return use(Family<NoPeephole>{});
  Scratch scratch;
  Family<Peephole> cell;
  Peephole* peepholes[] = {&cell.p_i, &cell.p_f, &cell.p_o};
  for (int p = 0; p < 3; p++) {
    if (!in.peepholes[p]) continue;
    float* padded = scratch.take<float>(padded_units(in.units));
    std::fill_n(padded, padded_units(in.units), 0.f);
    std::copy_n(in.peepholes[p], in.units, padded);
    peepholes[p]->weight = padded;
  }
  cell.previous = spec.output_previous;
  use(cell);
}

template <class Use>
void with_cell(const CellSpec& spec, const Sequences& in, Use use) {
  switch (spec.kind) {
    case CellSpec::simple: return use(Simple{});
    case CellSpec::lstm: return with_peepholes<Lstm>(spec, in, use);
    case CellSpec::coupled: return with_peepholes<Coupled>(spec, in, use);
    case CellSpec::gru:
      if (spec.reset_after) return use(GruResetAfter{{spec.update_writes}});
      return use(GruResetBefore{{spec.update_writes}});
  }
}

}  // namespace

void run_forward(const CellSpec& spec, const Sequences& in, const Results& out) {
  with_cell(spec, in, [&](const auto& cell) { Forward(cell, in, out).run(); });
}

void run_backward(const CellSpec& spec, const Sequences& in, const Results& out, const Gradients& gradients) {
  with_cell(spec, in, [&](const auto& cell) { Backward(cell, in, out, gradients).run(); });
}

}  // namespace gates
