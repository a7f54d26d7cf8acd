// From the name of a cell to its kernels.
#include "backward.h"
#include "forward.h"

#include <type_traits>

namespace gates {

int padded_units(int units) { return int(round_up(units, lanes)); }

namespace {

Peephole padded_peephole(const float* weight, int units, Scratch& scratch) {
  Peephole peephole;
  if (!weight) return peephole;
  float* padded = scratch.take<float>(padded_units(units));
  std::fill_n(padded, padded_units(units), 0.f);
  std::copy_n(weight, units, padded);
  peephole.weight = padded;
  return peephole;
}

template <LstmForm form, class Use>
void with_lstm(const CellSpec& spec, const Sequences& in, Use use) {
  const auto use_squashed = [&](auto cell) {
    cell.candidate = {spec.activation};
    cell.output = {spec.output_activation};
    cell.previous = spec.output_previous;
    use(cell);
  };
  if (!in.peepholes[0] && !in.peepholes[1] && !in.peepholes[2]) return use_squashed(Lstm<form, NoPeephole>{});
  Scratch scratch;
  Lstm<form, Peephole> cell;
  cell.p_i = padded_peephole(in.peepholes[0], in.units, scratch);
  cell.p_f = padded_peephole(in.peepholes[1], in.units, scratch);
  cell.p_o = padded_peephole(in.peepholes[2], in.units, scratch);
  use_squashed(cell);
}

template <class Cell, class Use>
void with_gru(const CellSpec& spec, bool update_writes, Use use) {
  Cell cell;
  cell.phi = {spec.activation};
  cell.update = {update_writes};
  use(cell);
}

template <class Use>
void with_independent(const CellSpec& spec, const Sequences& in, Use use) {
  Scratch scratch;
  use(IndependentlyRecurrent{{}, {spec.activation}, padded_peephole(in.peepholes[0], in.units, scratch)});
}

template <class Use>
void with_cell(const CellSpec& spec, const Sequences& in, Use use) {
  switch (spec.kind) {
    case CellSpec::simple: return use(Simple{{}, {spec.activation}});
    case CellSpec::independent: return with_independent(spec, in, use);
    case CellSpec::lstm: return with_lstm<LstmForm::full>(spec, in, use);
    case CellSpec::no_input_gate: return with_lstm<LstmForm::no_input_gate>(spec, in, use);
    case CellSpec::no_forget_gate: return with_lstm<LstmForm::no_forget_gate>(spec, in, use);
    case CellSpec::no_output_gate: return with_lstm<LstmForm::no_output_gate>(spec, in, use);
    case CellSpec::coupled: return with_lstm<LstmForm::coupled>(spec, in, use);
    case CellSpec::gru:
      if (spec.reset_after) return with_gru<GruResetAfter>(spec, spec.update_writes, use);
      return with_gru<GruResetBefore<false>>(spec, spec.update_writes, use);
    case CellSpec::minimal_gated: return with_gru<GruResetBefore<true>>(spec, true, use);
    case CellSpec::janet: return use(Janet{{}, {spec.activation}, spec.beta});
    case CellSpec::min_gru: return use(MinGru{{}, {spec.activation}});
    case CellSpec::min_lstm: return use(MinLstm{{}, {spec.activation}});
    case CellSpec::peephole_only: return use(PeepholeOnly{{}, {spec.activation}, {spec.output_activation}});
  }
}

template <class Cell>
constexpr Layout layout{Cell::gates, recurrent_gates<Cell>, Cell::bias_rows, Cell::slots,
                        Cell::has_memory, Cell::peepholes};

}  // namespace

Layout layout_of(const CellSpec& spec) {
  Layout found{};
  with_cell(spec, {}, [&](const auto& cell) { found = layout<std::decay_t<decltype(cell)>>; });
  return found;
}

void run_forward(const CellSpec& spec, const Sequences& in, const Results& out) {
  with_cell(spec, in, [&](const auto& cell) { Forward(cell, in, out).run(); });
}

void run_backward(const CellSpec& spec, const Sequences& in, const Results& out, const Gradients& gradients) {
  with_cell(spec, in, [&](const auto& cell) { Backward(cell, in, out, gradients).run(); });
}

}  // namespace gates
