// What the forward and the backward pass of one cell over sequences have in common.
#pragma once

#include <atomic>
#include <cmath>
#include <vector>

#include "cells.h"
#include "memory.h"
#include "slices.h"
#include "threads.h"
#include "weights.h"

namespace gates {

enum class Direction { forward, backward };

// Of values that are normalised together: (value - mean) * scale.
struct Moments {
  float mean, scale;
};

template <class Cell>
class Pass {
 protected:
  static constexpr bool has_late = Cell::late_end > Cell::h_end;
  static constexpr int memories = Cell::memories;

  Pass(const Cell& cell, const Sequences& in, const Results& out, Direction direction)
      : in_(in),
        out_(out),
        cell_(cell),
        slices_(slices_of(in)),
        rows_(most_rows(slices_)),
        up_(padded_units(in.units)),
        x_columns_(in.features + Cell::reads_below * in.units),
        z_stride_(spread(size_t(Cell::slots) * up_)),
        x_stride_(spread(in.features)),
        h_stride_(spread(size_t(Cell::heard) * up_)) {
    const Matrix w{in.kernel, in.features, in.units, Cell::gates};
    const Matrix u{in.recurrent_kernel, Cell::heard * in.units, in.units, recurrent_gates<Cell>};
    const Matrix late{in.recurrent_kernel, in.units, in.units, recurrent_gates<Cell>};
    const bool transposed = direction == Direction::backward;
    const auto packed = [&](Matrix matrix, Slots slots) {
      return Packed(matrix, slots, transposed, in.bfloat16_products, scratch_.take<float>(Packed::size(matrix, slots)));
    };
    w_ = packed(w, input_slots<Cell>);
    if constexpr (recurs<Cell>) u_ = packed(u, state_slots<Cell>);
    if constexpr (has_late) u_late_ = packed(late, late_slots<Cell>);
    for (size_t k = 0; k < cell_.own.size(); k++) cell_.own[k].weight = padded(in.vectors[k]);
    bias_ = scratch_.take<float>(size_t(Cell::slots) * up_);
    fill_bias<Cell>(in, bias_);
  }

  // This thread's share of the packing of the weights.
  void pack(int thread, int threads) const {
    w_.fill(thread, threads);
    if constexpr (recurs<Cell>) u_.fill(thread, threads);
    if constexpr (has_late) u_late_.fill(thread, threads);
  }

  // As many threads as can have work.
  int threads() const { return std::max(1, std::min(in_.threads, int(slices_.size()))); }

  // Where a row's inputs of a step begin in x. The memory below, where the cell reads it, stands behind its features.
  size_t inputs_at(int row, int step) const { return (size_t(row) * in_.time + position(in_, step)) * x_columns_; }
  size_t below_at(int row, int step) const { return inputs_at(row, step) + in_.features; }

  // Where a row's outputs of a step begin. The memory, where it is shown, stands behind h.
  size_t outputs_at(int row, int step) const {
    return (size_t(row) * in_.time + step) * (1 + in_.shows_memory) * in_.units;
  }

  // Copies the memories of a row (memories * units) to where they are padded to whole vectors, and back.
  void pad_memories(const float* row, float* to) const {
    for (int k = 0; k < memories; k++) std::copy_n(row + k * in_.units, in_.units, to + k * up_);
  }

  void unpad_memories(const float* padded, float* row) const {
    for (int k = 0; k < memories; k++) std::copy_n(padded + k * up_, in_.units, row + k * in_.units);
  }

  // The shares of the old states that zoneout keeps in a row's step, of all units; null if it keeps none.
  const float* kept_of(int row, int step) const {
    const size_t at = size_t(row) * in_.time + position(in_, step);
    return in_.keep ? in_.keep + at * (1 + memories) * in_.units : nullptr;
  }

  State load_state(const float* h, const float* c, int u) const {
    State state{};
    state.h = load(h + u);
    for (int k = 0; k < memories; k++) state.memory(k) = load(c + k * up_ + u);
    return state;
  }

  void store_memories(float* c, State state, int u) const {
    for (int k = 0; k < memories; k++) store(c + k * up_ + u, state.memory(k));
  }

  // Only the units that there are, of a vector of them.
  vec keep_units(vec v, int u) const { return u + lanes <= in_.units ? v : keep_some(v, in_.units - u); }

  // Of a row of slots, one beside the other, whose padding is zero.
  Moments moments_of(const float* row, int slots) const {
    const float count = float(slots) * in_.units;
    vec sum{}, squares{};
    for (int n = 0; n < slots * up_; n += lanes) sum += load(row + n);
    const float mean = total(sum) / count;
    for (int s = 0; s < slots; s++)
      for (int u = 0; u < up_; u += lanes) {
        const vec from_mean = keep_units(load(row + s * up_ + u) - mean, u);
        squares += from_mean * from_mean;
      }
    return {mean, 1 / std::sqrt(total(squares) / count + cell_.epsilon)};
  }

  // The pre-activations of normalised slots: times their gain, plus their bias.
  void scale_and_shift(vec* slots, int u) const {
    for (int s = 0; s < Cell::slots; s++) slots[s] = cell_.own[s].scale(slots[s], u) + load(bias_ + s * up_ + u);
  }

  const Sequences& in_;
  const Results& out_;
  Scratch scratch_;
  Cell cell_;  // with its weight vectors
  const std::vector<Slice> slices_;
  const int rows_, up_;  // rows of the largest slice; padded units
  const size_t x_columns_;
  const size_t z_stride_, x_stride_, h_stride_;
  Packed w_, u_, u_late_;
  float* bias_ = nullptr;  // by slots

 private:
  const float* padded(const float* vector) {
    if (!vector) return nullptr;
    float* copy = scratch_.take<float>(up_);
    std::fill(std::copy_n(vector, in_.units, copy), copy + up_, 0.f);
    return copy;
  }
};

}  // namespace gates
