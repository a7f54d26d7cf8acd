// The backward pass of one cell over sequences.
#pragma once

#include "cells.h"
#include "memory.h"
#include "slices.h"
#include "threads.h"
#include "weights.h"

namespace gates {

template <class Cell>
class Backward {
 public:
  Backward(const Cell& cell, const Sequences& in, const Results& out, const Gradients& grad)
      : cell_(cell), in_(in), out_(out), grad_(grad), slices_(slices_of(in)), rows_(most_rows(slices_)),
        room_(std::max(128, rows_)), up_(padded_units(in.units)), z_stride_(spread(size_t(Cell::slots) * up_)),
        x_stride_(spread(in.features)), h_stride_(spread(up_)), x_(panels(in.features)), h_(panels(in.units)) {}

  void run() {
    const Matrix w{in_.kernel, in_.features, in_.units, Cell::gates};
    const Matrix u{in_.recurrent_kernel, in_.units, in_.units, recurrent_gates<Cell>};
    Scratch scratch;
    w_ = transposed(w, input_slots<Cell>, scratch);
    if constexpr (recurs<Cell>) u_ = transposed(u, state_slots<Cell>, scratch);
    if constexpr (resets) u_reset_ = transposed(u, reset_slots<Cell>, scratch);
    const int parts = std::max(1, std::min(in_.threads, int(slices_.size())));
    std::vector<Work> work;
    for (int part = 0; part < parts; part++) work.push_back(take(scratch));

    Barrier packed_up, added_up;
    std::atomic<int> next{0};
    run_on_threads(parts, [&](int thread, int threads) {
      w_.fill(thread, threads);
      if constexpr (recurs<Cell>) u_.fill(thread, threads);
      if constexpr (resets) u_reset_.fill(thread, threads);
      packed_up.wait(threads);
      for (int part; (part = next++) < parts;) {
        clear(work[part]);
        for (size_t s = part; s < slices_.size(); s += parts) run_slice(slices_[s], work[part]);
      }
      added_up.wait(threads);
      gather(work, thread, threads);
    });
  }

 private:
  static constexpr bool resets = Cell::reset_end > Cell::h_end;

  // Rows of a left side turned round, tile_rows columns after tile_rows columns, for products over many steps.
  struct Panels {
    int columns;
    size_t group;  // from one group of columns to the next

    size_t size() const { return (columns + tile_rows - 1) / tile_rows * group; }

    void put(float* panels, int k, const float* row) const {
      float* to = panels + size_t(k) * tile_rows;
      int column = 0;
      for (; column + tile_rows <= columns; column += tile_rows, to += group)
        std::copy_n(row + column, tile_rows, to);
      std::copy_n(row + column, columns - column, to);
    }
  };

  // What a part of the slices is worked on with. The parts hang on the number of threads asked for, not on how
  // many there happen to be, so that sums come out the same to the last bit every time.
  // Steps are kept until there are enough of them for one big product.
  struct Work {
    int* active;       // rows of the batch that the step moves
    size_t* position;  // of the kept rows: where in x each belongs
    float* dz;         // the kept rows: gradients of the pre-activations
    float *x, *h, *rh;          // the kept rows' inputs, states and reset states, as panels
    float* before;              // h before the step, or c where the product hears c: such cells have no use for h
    float* product;             // what reaches that through a product
    float* d_x;                 // of the kept rows
    float *d_h, *d_c;           // of every row of the slice
    int* first;                 // the first step that moves each row of the slice
    float *d_w, *d_u, *d_bias;  // sums over rows and steps, by slots
    float* d_peepholes[3];
    int kept;
    Cell cell;  // with the peephole sums of this part
  };

  Panels panels(int columns) const { return {columns, size_t(room_) * tile_rows}; }

  static Packed transposed(Matrix matrix, Slots slots, Scratch& scratch) {
    return {matrix, slots, true, scratch.take<float>(Packed::size(matrix, slots))};
  }

  size_t x_columns() const { return size_t(Cell::x_end) * up_; }
  size_t h_columns() const { return size_t(recurrent_gates<Cell>) * up_; }

  Work take(Scratch& scratch) const {
    Work w;
    w.active = scratch.take<int>(rows_);
    w.position = scratch.take<size_t>(room_);
    w.dz = scratch.take<float>(room_ * z_stride_);
    w.x = scratch.take<float>(x_.size());
    w.h = scratch.take<float>(h_.size());
    w.rh = scratch.take<float>(resets ? h_.size() : 0);
    w.before = scratch.take<float>(rows_ * h_stride_);
    w.product = scratch.take<float>(rows_ * h_stride_);
    w.d_x = scratch.take<float>(room_ * x_stride_);
    w.d_h = scratch.take<float>(size_t(rows_) * up_);
    w.d_c = scratch.take<float>(size_t(rows_) * up_);
    w.first = scratch.take<int>(rows_);
    w.d_w = scratch.take<float>(in_.features * spread(x_columns()));
    w.d_u = scratch.take<float>(in_.units * spread(h_columns()));
    w.d_bias = scratch.take<float>(size_t(Cell::slots) * up_);
    for (float*& sum : w.d_peepholes) sum = scratch.take<float>(up_);
    w.kept = 0;
    w.cell = cell_;
    w.cell.add_peephole_gradients_to(w.d_peepholes);
    return w;
  }

  void clear(Work& w) const {
    std::fill_n(w.d_w, in_.features * spread(x_columns()), 0.f);
    std::fill_n(w.d_u, in_.units * spread(h_columns()), 0.f);
    std::fill_n(w.d_bias, size_t(Cell::slots) * up_, 0.f);
    for (float* sum : w.d_peepholes) std::fill_n(sum, up_, 0.f);
  }

  void run_slice(Slice slice, Work& w) const {
    load_gradients(slice, w);
    for (int step = in_.time - 1; step >= 0; step--) {
      receive(slice, step, w);
      const int count = active_rows(in_, slice, step, w.active);
      if (w.kept + count > room_) use_kept(w);
      retreat(slice, step, count, w);
    }
    use_kept(w);
    for (int row = slice.begin; row < slice.end; row++) {
      const size_t here = size_t(row - slice.begin) * up_, there = size_t(row) * in_.units;
      std::copy_n(w.d_h + here, in_.units, grad_.d_h + there);
      if (Cell::has_memory) std::copy_n(w.d_c + here, in_.units, grad_.d_c + there);
    }
  }

  void load_gradients(Slice slice, Work& w) const {
    const size_t size = size_t(slice.rows()) * up_;
    std::fill_n(w.d_h, size, 0.f);
    std::fill_n(w.d_c, size, 0.f);
    for (int row = slice.begin; row < slice.end; row++) {
      const size_t here = size_t(row - slice.begin) * up_, there = size_t(row) * in_.units;
      std::copy_n(grad_.h + there, in_.units, w.d_h + here);
      if (Cell::has_memory) std::copy_n(grad_.c + there, in_.units, w.d_c + here);
      int first = 0;
      while (first < in_.time && !is_active(in_, row, first)) first++;
      w.first[row - slice.begin] = first;
    }
  }

  // Adds the gradients of a step's outputs to those of the states they show. The output of a masked step shows
  // the state too, unless it is zero: by choice, or because no step has moved the row yet.
  void receive(Slice slice, int step, const Work& w) const {
    for (int row = slice.begin; row < slice.end; row++) {
      const bool active = is_active(in_, row, step);
      const bool shows = active || (!in_.zero_output_for_mask && step > w.first[row - slice.begin]);
      float* d_h = w.d_h + size_t(row - slice.begin) * up_;
      if (shows && grad_.outputs) add(grad_.outputs + (size_t(row) * in_.time + step) * in_.units, d_h);
      if (shows && step == in_.time - 1) add(grad_.last + size_t(row) * in_.units, d_h);
      if (!active) {
        const size_t at = size_t(row) * in_.time + position(in_, step);
        std::fill_n(grad_.d_x + at * in_.features, in_.features, 0.f);
      }
    }
  }

  void add(const float* row, float* to) const {
    for (int u = 0; u < in_.units; u++) to[u] += row[u];
  }

  // One step back for the rows it moved.
  void retreat(Slice slice, int step, int count, Work& w) const {
    float* dz = w.dz + w.kept * z_stride_;
    for (int k = 0; k < count; k++) {
      const int row = w.active[k];
      const size_t here = size_t(row - slice.begin) * up_;
      load_left(row, step, w, k);
      unmove(row, step, dz + k * z_stride_, w.before + k * h_stride_, w.d_h + here, w.d_c + here, w);
    }
    if constexpr (resets) {
      product(count, {dz + Cell::h_end * up_, z_stride_, 1}, u_reset_.right(), w.product, h_stride_, {Start::zero});
      for (int k = 0; k < count; k++) reset(slice, w.active[k], step, dz + k * z_stride_, w, k);
    }
    if constexpr (recurs<Cell>) {
      product(count, {dz + Cell::h_begin * up_, z_stride_, 1}, u_.right(), w.product, h_stride_, {Start::zero});
      for (int k = 0; k < count; k++) {
        const int row = w.active[k];
        float* d_heard = (Cell::hears_memory ? w.d_c : w.d_h) + size_t(row - slice.begin) * up_;
        const float* from = w.product + k * h_stride_;
        for (int u = 0; u < in_.units; u++) d_heard[u] += from[u] * dropped(row, u);
      }
    }
    w.kept += count;
  }

  float dropped(int row, int u) const {
    return in_.recurrent_mask ? in_.recurrent_mask[size_t(row) * in_.units + u] : 1.f;
  }

  // What the recurrent product of a step heard: c, on the tape, or h, which is the output of the last step that
  // moved the row, or the initial state.
  const float* state_before(int row, int step) const {
    if (Cell::hears_memory) return out_.memory + (size_t(step) * in_.batch + row) * up_;
    do step--;
    while (step >= 0 && !is_active(in_, row, step));
    return step < 0 ? in_.h + size_t(row) * in_.units
                    : out_.outputs + (size_t(row) * in_.time + step) * in_.units;
  }

  // Keeps the left sides of the step's products, for the gradients of the weights.
  void load_left(int row, int step, Work& w, int k) const {
    const size_t at = size_t(row) * in_.time + position(in_, step);
    w.position[w.kept + k] = at;
    x_.put(w.x, w.kept + k, in_.x + at * in_.features);
    float* before = w.before + k * h_stride_;
    std::copy_n(state_before(row, step), in_.units, before);
    std::fill(before + in_.units, before + up_, 0.f);
    if (!recurs<Cell>) return;
    if (!in_.recurrent_mask) {
      h_.put(w.h, w.kept + k, before);
      return;
    }
    float* left = w.product + k * h_stride_;
    for (int u = 0; u < in_.units; u++) left[u] = before[u] * dropped(row, u);
    h_.put(w.h, w.kept + k, left);
  }

  // Gates into the gradients of their pre-activations. What is padding stays zero even if x is not finite.
  void unmove(int row, int step, float* dz, const float* h, float* d_h, float* d_c, const Work& w) const {
    const size_t on_tape = (size_t(step) * in_.batch + row) * up_;
    const float* gates = out_.gates + on_tape * Cell::slots;
    const float* memory = out_.memory + (Cell::has_memory ? on_tape : 0);
    for (int u = 0; u < up_; u += lanes) {
      vec slots[Cell::slots];
      for (int s = 0; s < Cell::slots; s++) slots[s] = load(gates + s * up_ + u);
      const State state{load(h + u), Cell::has_memory ? load(memory + u) : vec{}};
      State d{load(d_h + u), Cell::has_memory ? load(d_c + u) : vec{}};
      w.cell.backward(slots, state, d, u);
      store(d_h + u, d.h);
      if (Cell::has_memory) store(d_c + u, d.c);
      const bool whole = u + lanes <= in_.units;
      for (int s = 0; s < Cell::slots; s++)
        store(dz + s * up_ + u, whole ? slots[s] : keep_some(slots[s], in_.units - u));
    }
  }

  void reset(Slice slice, int row, int step, float* dz, const Work& w, int k) const {
    const float* h = w.before + k * h_stride_;
    float* d_product = w.product + k * h_stride_;  // becomes r * h once it has been used
    float* d_h = w.d_h + size_t(row - slice.begin) * up_;
    const float* gate = out_.gates + ((size_t(step) * in_.batch + row) * Cell::slots + Cell::reset_slot) * up_;
    float* slot = dz + Cell::reset_slot * up_;
    for (int u = 0; u < up_; u += lanes) {
      const vec r = load(gate + u);
      vec dz_r = load(slot + u), d = load(d_product + u), reset_state = r * load(h + u);
      if (in_.recurrent_mask) {
        const vec mask = load_some(in_.recurrent_mask + size_t(row) * in_.units + u, in_.units - u);
        d *= mask;
        reset_state *= mask;
      }
      add_to(d_h + u, Cell::reset_backward(r, load(h + u), d, dz_r));
      store(slot + u, keep_some(dz_r, in_.units - u));
      store(d_product + u, reset_state);
    }
    h_.put(w.rh, w.kept + k, d_product);
  }

  // The products over all kept rows: gradients of the inputs and of the weights.
  void use_kept(Work& w) const {
    product(w.kept, {w.dz, z_stride_, 1}, w_.right(), w.d_x, x_stride_, {Start::zero});
    for (int k = 0; k < w.kept; k++)
      std::copy_n(w.d_x + k * x_stride_, in_.features, grad_.d_x + w.position[k] * in_.features);
    add_outer(x_, w.x, w, {0, Cell::x_end}, w.d_w, spread(x_columns()));
    if constexpr (recurs<Cell>) add_outer(h_, w.h, w, {Cell::h_begin, Cell::h_end}, w.d_u, spread(h_columns()));
    if constexpr (resets)
      add_outer(h_, w.rh, w, {Cell::h_end, Cell::reset_end}, w.d_u + (Cell::h_end - Cell::h_begin) * up_,
                spread(h_columns()));
    for (int k = 0; k < w.kept; k++)
      for (int n = 0; n < Cell::slots * up_; n += lanes) add_to(w.d_bias + n, load(w.dz + k * z_stride_ + n));
    w.kept = 0;
  }

  struct Range {
    int begin, end;
  };

  void add_outer(Panels shape, const float* left, const Work& w, Range slots, float* sum, size_t stride) const {
    const Right right{w.dz + slots.begin * up_, w.kept, (slots.end - slots.begin) * up_, z_stride_};
    product(shape.columns, {left, 1, tile_rows}, right, sum, stride, {Start::itself}, shape.group);
  }

  // This thread's share of the weights' gradients: the sums of all parts, in the shape of the weights.
  void gather(const std::vector<Work>& work, int thread, int threads) const {
    const auto share = [&](int rows, int which) { return int(long(rows) * which / threads); };
    for (int row = share(in_.features, thread); row < share(in_.features, thread + 1); row++)
      for (int slot = 0; slot < Cell::x_end; slot++)
        sum(work, &Work::d_w, row * spread(x_columns()) + slot * up_,
            grad_.d_kernel + (size_t(row) * Cell::gates + Cell::x_gate(slot)) * in_.units);
    for (int row = share(in_.units, thread); row < share(in_.units, thread + 1); row++)
      for (int slot = Cell::h_begin; slot < Cell::reset_end; slot++)
        sum(work, &Work::d_u, row * spread(h_columns()) + (slot - Cell::h_begin) * up_,
            grad_.d_recurrent_kernel + (size_t(row) * recurrent_gates<Cell> + Cell::h_gate(slot)) * in_.units);
    if (thread > 0) return;
    for (int slot = 0; slot < Cell::slots; slot++) {
      if (slot < Cell::x_end)
        sum(work, &Work::d_bias, slot * up_, grad_.d_bias + Cell::x_gate(slot) * in_.units);
      if (Cell::bias_rows == 2 && slot >= Cell::h_begin)
        sum(work, &Work::d_bias, slot * up_, grad_.d_bias + (Cell::gates + Cell::h_gate(slot)) * in_.units);
    }
    for (int p = 0; p < 3; p++)
      if (in_.peepholes[p]) {
        std::fill_n(grad_.d_peepholes[p], in_.units, 0.f);
        for (const Work& part : work) add(part.d_peepholes[p], grad_.d_peepholes[p]);
      }
  }

  void sum(const std::vector<Work>& work, float* Work::*sums, size_t at, float* to) const {
    std::copy_n(work[0].*sums + at, in_.units, to);
    for (size_t part = 1; part < work.size(); part++) add(work[part].*sums + at, to);
  }

  const Cell& cell_;
  const Sequences& in_;
  const Results& out_;
  const Gradients& grad_;
  const std::vector<Slice> slices_;
  const int rows_, room_, up_;  // rows of the largest slice; how many rows are kept; padded units
  const size_t z_stride_, x_stride_, h_stride_;
  const Panels x_, h_;
  Packed w_, u_, u_reset_;
};

}  // namespace gates
