// The backward pass of one cell over sequences.
#pragma once

#include "pass.h"

namespace gates {

template <class Cell>
class Backward : Pass<Cell> {
 public:
  Backward(const Cell& cell, const Sequences& in, const Results& out, const Gradients& grad)
      : Pass<Cell>(cell, in, out, Direction::backward),
        grad_(grad),
        room_(std::max(128, rows_)),
        x_(panels(in.features)),
        h_(panels(Cell::heard * in.units)),
        late_(panels(in.units)) {}

  void run() {
    const int parts = std::max(1, std::min(2 * in_.threads, int(slices_.size())));
    std::vector<Work> work;
    for (int thread = 0; thread < this->threads(); thread++) work.push_back(take());
    std::vector<Sums> sums;
    for (int part = 0; part < parts; part++) sums.push_back(take_sums());
    Barrier packed_up, added_up;
    std::atomic<int> next{0};
    run_on_threads(this->threads(), in_.openmp, [&](int thread, int threads) {
      this->pack(thread, threads);
      packed_up.wait(threads);
      for (int part; (part = next++) < parts;) {
        clear(sums[part]);
        work[thread].sums = sums[part];
        for (size_t s = part; s < slices_.size(); s += parts) run_slice(slices_[s], work[thread]);
      }
      added_up.wait(threads);
      gather(sums, thread, threads);
    });
  }

 private:
  using Pass<Cell>::has_late, Pass<Cell>::memories, Pass<Cell>::in_, Pass<Cell>::out_, Pass<Cell>::scratch_,
      Pass<Cell>::cell_, Pass<Cell>::slices_, Pass<Cell>::rows_, Pass<Cell>::up_, Pass<Cell>::x_columns_,
      Pass<Cell>::z_stride_, Pass<Cell>::x_stride_, Pass<Cell>::h_stride_, Pass<Cell>::w_, Pass<Cell>::u_,
      Pass<Cell>::u_late_;
  static constexpr int vectors = int(std::tuple_size<decltype(Cell::own)>::value);

  // Rows of a left side turned round, tile_rows columns after tile_rows columns, for products over many steps.
  struct Panels {
    int columns;
    size_t group;  // from one group of columns to the next

    size_t size() const { return (columns + tile_rows - 1) / tile_rows * group; }

    void put(float* panels, int k, const float* row) const {
      float* to = panels + size_t(k) * tile_rows;
      int column = 0;
      for (; column + tile_rows <= columns; column += tile_rows, to += group) std::copy_n(row + column, tile_rows, to);
      std::copy_n(row + column, columns - column, to);
    }

    // Turns panels of floats into panels of pairs, in their place.
    void join(float* panels, int rows) const {
      for (float* end = panels + size(); panels < end; panels += group) join_rows(panels, rows, tile_rows, tile_rows);
    }
  };

  // The gradients of the weights from a part of the slices. The parts depend on the number of threads requested, not on
  // who takes them, so that sums come out the same to the last bit every time.
  struct Sums {
    float *d_w, *d_u, *d_bias;  // over rows and steps, by slots
    float* d_vectors[most_vectors];
  };

  // What a thread works on. Steps are kept until there are enough of them for one big product.
  struct Work {
    Cell cell;                  // sums up the gradients of its weight vectors over the kept rows
    int* active;                // rows of the batch that the step moves
    size_t* position;           // of the kept rows: where in x the inputs of each begin
    float* dz;                  // the kept rows: gradients of the pre-activations
    float* narrow;              // dz in bfloat16, where the products are
    float *x, *h, *late;        // the kept rows' inputs, heard states and late(), as panels
    float* before;              // h before the step
    float* product;             // the left side of a product, and what reaches it through the product
    float* zoned_out;           // what reaches a row's old states past the cell, one after the other
    float* d_x;                 // of the kept rows
    float *d_h, *d_c;           // of every row of the slice
    int* first;                 // the first step that moves each row of the slice
    float* d_shift;             // of the biases that come after a normalisation, over the kept rows
    Sums sums;                  // of the part that it works on
    int kept = 0;
  };

  Panels panels(int columns) const { return {columns, size_t(room_) * tile_rows}; }

  size_t x_columns() const { return size_t(Cell::x_end) * up_; }
  size_t h_columns() const { return size_t(recurrent_gates<Cell>) * up_; }

  Work take() {
    Work w;
    w.cell = cell_;
    w.active = scratch_.template take<int>(rows_);
    w.position = scratch_.template take<size_t>(room_);
    w.dz = scratch_.template take<float>(room_ * z_stride_);
    w.narrow = scratch_.template take<float>(in_.bfloat16_products ? room_ * z_stride_ : 0);
    w.x = scratch_.template take<float>(x_.size());
    w.h = scratch_.template take<float>(h_.size());
    w.late = scratch_.template take<float>(has_late ? late_.size() : 0);
    w.before = scratch_.template take<float>(size_t(rows_) * up_);
    w.zoned_out = scratch_.template take<float>(size_t(1 + memories) * in_.units);
    w.product = scratch_.template take<float>(rows_ * h_stride_);
    w.d_x = scratch_.template take<float>(room_ * x_stride_);
    w.d_h = scratch_.template take<float>(size_t(rows_) * up_);
    w.d_c = scratch_.template take<float>(size_t(rows_) * memories * up_);
    w.first = scratch_.template take<int>(rows_);
    const size_t shifts = normalizes<Cell> ? size_t(Cell::slots) * up_ : 0;
    w.d_shift = scratch_.template take<float>(shifts);
    std::fill_n(w.d_shift, shifts, 0.f);
    for (Vector& own : w.cell.own) {
      own.gradient = scratch_.template take<float>(up_);
      std::fill_n(own.gradient, up_, 0.f);
    }
    return w;
  }

  size_t w_size() const { return in_.features * spread(x_columns()); }
  size_t u_size() const { return Cell::heard * in_.units * spread(h_columns()); }

  Sums take_sums() {
    Sums s;
    s.d_w = scratch_.template take<float>(w_size());
    s.d_u = scratch_.template take<float>(u_size());
    s.d_bias = scratch_.template take<float>(size_t(Cell::slots) * up_);
    for (int k = 0; k < vectors; k++) s.d_vectors[k] = scratch_.template take<float>(up_);
    return s;
  }

  void clear(const Sums& s) const {
    std::fill_n(s.d_w, w_size(), 0.f);
    std::fill_n(s.d_u, u_size(), 0.f);
    std::fill_n(s.d_bias, size_t(Cell::slots) * up_, 0.f);
    for (int k = 0; k < vectors; k++) std::fill_n(s.d_vectors[k], up_, 0.f);
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
      this->unpad_memories(w.d_c + here * memories, grad_.d_c + there * memories);
    }
  }

  void load_gradients(Slice slice, Work& w) const {
    const size_t size = size_t(slice.rows()) * up_;
    std::fill_n(w.d_h, size, 0.f);
    std::fill_n(w.d_c, size * memories, 0.f);
    for (int row = slice.begin; row < slice.end; row++) {
      const size_t here = size_t(row - slice.begin) * up_, there = size_t(row) * in_.units;
      std::copy_n(grad_.h + there, in_.units, w.d_h + here);
      this->pad_memories(grad_.c + there * memories, w.d_c + here * memories);
      int first = 0;
      while (first < in_.time && !is_active(in_, row, first)) first++;
      w.first[row - slice.begin] = first;
    }
  }

  // Adds the gradients of a step's outputs to those of the states they show. The output of a masked step shows
  // the state too, unless it is zero: by choice, or because no step has moved the row yet and by choice then.
  void receive(Slice slice, int step, const Work& w) const {
    for (int row = slice.begin; row < slice.end; row++) {
      const bool active = is_active(in_, row, step);
      const bool begun = in_.show_initial_state || step > w.first[row - slice.begin];
      const bool shows = active || (!in_.zero_output_for_mask && begun);
      const size_t here = size_t(row - slice.begin) * up_;
      float *d_h = w.d_h + here, *d_c = w.d_c + here * memories;
      if (shows && grad_.outputs) {
        const float* const d_shown = grad_.outputs + this->outputs_at(row, step);
        add(d_shown, d_h);
        if (in_.shows_memory) add(d_shown + in_.units, d_c);
      }
      if (shows && step == in_.time - 1) add(grad_.last + size_t(row) * in_.units, d_h);
      if (!active) std::fill_n(grad_.d_x + this->inputs_at(row, step), x_columns_, 0.f);
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
      float *d_h = w.d_h + here, *d_c = w.d_c + here * memories;
      const float* keep = this->kept_of(row, step);
      if (keep) divide(keep, d_h, d_c, w.zoned_out);
      unmove(row, step, dz + k * z_stride_, w.before + size_t(k) * up_, d_h, d_c, w);
      if (keep) unite(w.zoned_out, d_h, d_c);
    }
    if constexpr (has_late) {
      product_of_rows(count, dz + Cell::h_end * up_, z_stride_, w.narrow, u_late_.right(), w.product, h_stride_,
                      {Start::zero});
      for (int k = 0; k < count; k++) unbegin(slice, w.active[k], step, dz + k * z_stride_, w, k);
    }
    if constexpr (recurs<Cell>) {
      product_of_rows(count, dz + Cell::h_begin * up_, z_stride_, w.narrow, u_.right(), w.product, h_stride_,
                      {Start::zero});
      for (int k = 0; k < count; k++) {
        const int row = w.active[k];
        const size_t here = size_t(row - slice.begin) * up_;
        const float* from = w.product + k * h_stride_;
        for (int j = 0; j < Cell::heard; j++, from += in_.units) {
          const int state = Cell::heard_state(j);
          float* d_heard = state == 0 ? w.d_h + here : w.d_c + here * memories + (state - 1) * up_;
          const bool drops = j == Cell::heard_dropped;
          for (int u = 0; u < in_.units; u++) d_heard[u] += drops ? from[u] * dropped(row, u) : from[u];
        }
      }
    }
    w.kept += count;
  }

  // Of the gradients of the states after zoneout: those of the cell's new states, and in `past` those of the old states
  // that were kept.
  void divide(const float* keep, float* d_h, float* d_c, float* past) const {
    for (int k = 0; k <= memories; k++) {
      float* d = k == 0 ? d_h : d_c + (k - 1) * up_;
      for (int u = 0; u < in_.units; u++, keep++) {
        *past++ = *keep * d[u];
        d[u] *= 1 - *keep;
      }
    }
  }

  void unite(const float* past, float* d_h, float* d_c) const {
    for (int k = 0; k <= memories; k++, past += in_.units) add(past, k == 0 ? d_h : d_c + (k - 1) * up_);
  }

  float dropped(int row, int u) const {
    return in_.recurrent_mask ? in_.recurrent_mask[size_t(row) * in_.units + u] : 1.f;
  }

  // h before a step: the output of the last step that moved the row, or the initial state.
  const float* h_before(int row, int step) const {
    do step--;
    while (step >= 0 && !is_active(in_, row, step));
    return step < 0 ? in_.h + size_t(row) * in_.units : out_.outputs + this->outputs_at(row, step);
  }

  // Keeps the left sides of the step's products, for the gradients of the weights.
  void load_left(int row, int step, Work& w, int k) const {
    const size_t at = w.position[w.kept + k] = this->inputs_at(row, step);
    x_.put(w.x, w.kept + k, in_.x + at);
    float* before = w.before + size_t(k) * up_;
    std::copy_n(h_before(row, step), in_.units, before);
    std::fill(before + in_.units, before + up_, 0.f);
    if (!recurs<Cell>) return;
    const float* memory = out_.memory + (size_t(step) * in_.batch + row) * memories * up_;
    float* left = w.product + k * h_stride_;
    for (int j = 0; j < Cell::heard; j++) {
      const int state = Cell::heard_state(j);
      std::copy_n(state == 0 ? before : memory + (state - 1) * up_, in_.units, left + j * in_.units);
    }
    if (in_.recurrent_mask)
      for (int u = 0; u < in_.units; u++) left[Cell::heard_dropped * in_.units + u] *= dropped(row, u);
    h_.put(w.h, w.kept + k, left);
  }

  // Gates into the gradients of their pre-activations. What is padding stays zero even if x is not finite.
  void unmove(int row, int step, float* dz, const float* h, float* d_h, float* d_c, const Work& w) const {
    const size_t on_tape = (size_t(step) * in_.batch + row) * up_;
    const float* gates = out_.gates + on_tape * tape_slots<Cell>;
    const float* memory = out_.memory + on_tape * memories;
    if constexpr (Cell::normalizes_memory) hide(gates, h, memory, dz, d_h, d_c, w);
    const float* from = Cell::normalizes_memory ? dz : gates;
    for (int u = 0; u < up_; u += lanes) {
      vec slots[Cell::slots];
      for (int s = 0; s < Cell::slots; s++) slots[s] = load(from + s * up_ + u);
      if constexpr (normalizes<Cell> && !Cell::normalizes_memory) this->scale_and_shift(slots, u);
      State state = this->load_state(h, memory, u);
      if constexpr (Cell::reads_below)
        state.below = load_some(in_.x + this->below_at(row, step) + u, in_.units - u);
      State d = this->load_state(d_h, d_c, u);
      w.cell.backward(slots, state, d, u);
      if constexpr (Cell::reads_below)
        store_some(grad_.d_x + this->below_at(row, step) + u, d.below, in_.units - u);
      store(d_h + u, d.h);
      this->store_memories(d_c, d, u);
      for (int s = 0; s < Cell::slots; s++) store(dz + s * up_ + u, this->keep_units(slots[s], u));
    }
    if constexpr (normalizes<Cell>) unnormalize(gates, dz, w);
  }

  // Back through the second half of a step whose output shows the normalised memory: leaves in dz what backward() wants,
  // and in d_c the gradient of the memory after the step.
  void hide(const float* tape, const float* h, const float* memory, float* dz, float* d_h, float* d_c,
            const Work& w) const {
    const float* statistics = tape + Cell::slots * up_ + Cell::normalized.size();
    const float mean = statistics[0], scale = statistics[1];
    float *normalized = dz + Cell::h_begin * up_, *d_normalized = normalized + up_;  // in slots that are not used yet
    vec sum{}, along{};
    for (int u = 0; u < up_; u += lanes) {
      vec slots[Cell::slots];
      for (int s = 0; s < Cell::slots; s++) slots[s] = load(tape + s * up_ + u);
      this->scale_and_shift(slots, u);
      State d = this->load_state(d_h, d_c, u);
      const vec c = this->keep_units((w.cell.remember(slots, this->load_state(h, memory, u)) - mean) * scale, u);
      const vec d_shown = this->keep_units(w.cell.show_backward(slots, c, d, u), u);
      sum += d_shown;
      along += d_shown * c;
      store(d_h + u, d.h);
      this->store_memories(d_c, d, u);
      for (int s = 0; s < Cell::h_begin; s++) store(dz + s * up_ + u, slots[s]);
      store(normalized + u, c);
      store(d_normalized + u, d_shown);
    }
    const float mean_of_d = total(sum) / in_.units, slope = total(along) / in_.units;
    for (int u = 0; u < up_; u += lanes)
      add_to(d_c + u,
             this->keep_units(scale * (load(d_normalized + u) - mean_of_d - slope * load(normalized + u)), u));
  }

  // dz: the gradients of what the normalised slots became by gain and bias in, those of the pre-activations out.
  void unnormalize(const float* tape, float* dz, const Work& w) const {
    const float* scale = tape + Cell::slots * up_;
    for (const Group& group : Cell::normalized) {
      vec sum{}, along{};
      for (int s = group.begin; s < group.end; s++)
        for (int u = 0; u < up_; u += lanes) {
          const int at = s * up_ + u;
          const vec normalized = load(tape + at), shifted = load(dz + at);
          add_to(w.d_shift + at, shifted);
          const vec d = w.cell.own[s].scale_back(shifted, normalized, u);
          store(dz + at, d);
          sum += d;
          along += d * normalized;
        }
      const float count = float(group.end - group.begin) * in_.units;
      const float mean = total(sum) / count, slope = total(along) / count;
      for (int s = group.begin; s < group.end; s++)
        for (int u = 0; u < up_; u += lanes) {
          const int at = s * up_ + u;
          store(dz + at, this->keep_units(*scale * (load(dz + at) - mean - slope * load(tape + at)), u));
        }
      scale++;
    }
  }

  // Back through the first half of a step that has a late product.
  void unbegin(Slice slice, int row, int step, float* dz, const Work& w, int k) const {
    const size_t here = size_t(row - slice.begin) * up_, on_tape = (size_t(step) * in_.batch + row) * up_;
    const float *gates = out_.gates + on_tape * tape_slots<Cell>, *memory = out_.memory + on_tape * memories;
    const float* h = w.before + size_t(k) * up_;
    float *d_h = w.d_h + here, *d_c = w.d_c + here * memories;
    float* product = w.product + k * h_stride_;  // the gradient of late() in, late() out
    for (int u = 0; u < up_; u += lanes) {
      vec slots[Cell::slots], d_slots[Cell::slots];
      for (int s = 0; s < Cell::slots; s++) {
        slots[s] = load(gates + s * up_ + u);
        d_slots[s] = load(dz + s * up_ + u);
      }
      const bool drops = Cell::drops_late && in_.recurrent_mask;
      const vec mask =
          drops ? load_some(in_.recurrent_mask + size_t(row) * in_.units + u, in_.units - u) : fill(1.f);
      State d = this->load_state(d_h, d_c, u);
      const vec late =
          w.cell.late_backward(slots, this->load_state(h, memory, u), load(product + u) * mask, d_slots, d);
      store(product + u, late * mask);
      store(d_h + u, d.h);
      this->store_memories(d_c, d, u);
      for (int s = 0; s < Cell::h_end; s++) store(dz + s * up_ + u, this->keep_units(d_slots[s], u));
    }
    late_.put(w.late, w.kept + k, product);
  }

  // The products over all kept rows: gradients of the inputs and of the weights. Each sum over the kept rows is
  // taken by itself before it is added to the sum over all: thousands of rows added up one by one would lose digits.
  void use_kept(Work& w) const {
    product_of_rows(w.kept, w.dz, z_stride_, w.narrow, w_.right(), w.d_x, x_stride_, {Start::zero});
    for (int k = 0; k < w.kept; k++)
      std::copy_n(w.d_x + k * x_stride_, in_.features, grad_.d_x + w.position[k]);
    for (int n = 0; n < Cell::slots * up_; n += lanes) {
      vec sum{};
      if (normalizes<Cell>) sum = load(w.d_shift + n), store(w.d_shift + n, vec{});
      else
        for (int k = 0; k < w.kept; k++) sum += load(w.dz + k * z_stride_ + n);
      add_to(w.sums.d_bias + n, sum);
    }
    for (int k = 0; k < vectors; k++)
      for (int u = 0; u < up_; u += lanes) {
        add_to(w.sums.d_vectors[k] + u, load(w.cell.own[k].gradient + u));
        store(w.cell.own[k].gradient + u, vec{});
      }
    if (in_.bfloat16_products) join_rows(w.dz, w.kept, Cell::slots * up_, z_stride_);
    add_outer(x_, w.x, w, {0, Cell::x_end}, w.sums.d_w, spread(x_columns()));
    if constexpr (recurs<Cell>) add_outer(h_, w.h, w, {Cell::h_begin, Cell::h_end}, w.sums.d_u, spread(h_columns()));
    if constexpr (has_late)
      add_outer(late_, w.late, w, {Cell::h_end, Cell::late_end}, w.sums.d_u + (Cell::h_end - Cell::h_begin) * up_,
                spread(h_columns()));
    w.kept = 0;
  }

  struct Range {
    int begin, end;
  };

  void add_outer(Panels shape, float* left, const Work& w, Range slots, float* sum, size_t stride) const {
    const bool pairs = in_.bfloat16_products;
    if (pairs) shape.join(left, w.kept);
    const Right right{w.dz + slots.begin * up_, w.kept, (slots.end - slots.begin) * up_, z_stride_, pairs};
    product(shape.columns, {left, 1, tile_rows}, right, sum, stride, {Start::itself}, shape.group);
  }

  // This thread's share of the weights' gradients: the sums of all parts, in the shape of the weights.
  void gather(const std::vector<Sums>& parts, int thread, int threads) const {
    const auto share = [&](int rows, int which) { return int(long(rows) * which / threads); };
    for (int row = share(in_.features, thread); row < share(in_.features, thread + 1); row++)
      for (int slot = 0; slot < Cell::x_end; slot++)
        sum(parts, &Sums::d_w, row * spread(x_columns()) + slot * up_,
            grad_.d_kernel + (size_t(row) * Cell::gates + Cell::x_gate(slot)) * in_.units);
    const int heard = Cell::heard * in_.units;
    for (int row = share(heard, thread); row < share(heard, thread + 1); row++)
      for (int slot = Cell::h_begin; slot < Cell::late_end; slot++)
        sum(parts, &Sums::d_u, row * spread(h_columns()) + (slot - Cell::h_begin) * up_,
            grad_.d_recurrent_kernel + (size_t(row) * recurrent_gates<Cell> + Cell::h_gate(slot)) * in_.units);
    if (thread > 0) return;
    for (int slot = 0; slot < Cell::slots; slot++) {
      if (slot < Cell::x_end) sum(parts, &Sums::d_bias, slot * up_, grad_.d_bias + Cell::x_gate(slot) * in_.units);
      if (Cell::bias_rows == 2 && slot >= Cell::h_begin)
        sum(parts, &Sums::d_bias, slot * up_, grad_.d_bias + (Cell::gates + Cell::h_gate(slot)) * in_.units);
    }
    for (int k = 0; k < vectors; k++) {
      if (!in_.vectors[k]) continue;
      std::fill_n(grad_.d_vectors[k], in_.units, 0.f);
      for (const Sums& part : parts) add(part.d_vectors[k], grad_.d_vectors[k]);
    }
  }

  void sum(const std::vector<Sums>& parts, float* Sums::* which, size_t at, float* to) const {
    std::copy_n(parts[0].*which + at, in_.units, to);
    for (size_t part = 1; part < parts.size(); part++) add(parts[part].*which + at, to);
  }

  const Gradients& grad_;
  const int room_;  // how many rows are kept
  const Panels x_, h_, late_;
};

}  // namespace gates
