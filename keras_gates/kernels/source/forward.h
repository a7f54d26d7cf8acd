// The forward pass of one cell over sequences.
#pragma once

#include "pass.h"

namespace gates {

template <class Cell>
class Forward : Pass<Cell> {
 public:
  Forward(const Cell& cell, const Sequences& in, const Results& out)
      : Pass<Cell>(cell, in, out, Direction::forward), ahead_(std::max(1, std::min(in.time, 32 / std::max(1, rows_)))) {
    start_ = scratch_.template take<float>(size_t(Cell::slots) * up_);
    if (normalizes<Cell>) std::fill_n(start_, size_t(Cell::slots) * up_, 0.f);  // the bias comes after it
    else std::copy_n(bias_, size_t(Cell::slots) * up_, start_);
  }

  void run() {
    std::vector<Work> work;
    for (int thread = 0; thread < this->threads(); thread++) work.push_back(take());
    Barrier packed_up;
    std::atomic<size_t> next{0};
    run_on_threads(this->threads(), in_.openmp, [&](int thread, int threads) {
      this->pack(thread, threads);
      packed_up.wait(threads);
      for (size_t s; (s = next++) < slices_.size();) run_slice(slices_[s], work[thread]);
    });
  }

 private:
  using Pass<Cell>::has_late, Pass<Cell>::memories, Pass<Cell>::in_, Pass<Cell>::out_, Pass<Cell>::scratch_,
      Pass<Cell>::cell_, Pass<Cell>::slices_, Pass<Cell>::rows_, Pass<Cell>::up_, Pass<Cell>::z_stride_,
      Pass<Cell>::x_stride_, Pass<Cell>::h_stride_, Pass<Cell>::w_, Pass<Cell>::u_, Pass<Cell>::u_late_,
      Pass<Cell>::bias_;

  // What a thread works on: the rows that some steps move, one after another, and the states of its slice.
  struct Work {
    int* active;    // which rows of the batch
    float *x, *z;   // their inputs and pre-activations
    float* left;    // the left side of the recurrent product: states, masked, or late()
    float *h, *c;   // the states of every row of the slice
    float* before;  // the states of a row before a step, one after the other
    bool* started;  // whether a step has moved the row
  };

  Work take() {
    const size_t several = size_t(ahead_) * rows_;
    Work w;
    w.active = scratch_.template take<int>(several);
    w.x = scratch_.template take<float>(several * x_stride_);
    w.z = scratch_.template take<float>(several * z_stride_);
    w.left = scratch_.template take<float>(rows_ * h_stride_);
    w.h = scratch_.template take<float>(size_t(rows_) * up_);
    w.c = scratch_.template take<float>(size_t(rows_) * memories * up_);
    w.before = scratch_.template take<float>(size_t(1 + memories) * in_.units);
    w.started = scratch_.template take<bool>(rows_);
    return w;
  }

  void run_slice(Slice slice, const Work& w) const {
    load_states(slice, w);
    for (int step = 0; step < in_.time; step += ahead_) {
      const int end = std::min(in_.time, step + ahead_);
      project(slice, step, end, w);
      int first = 0;
      for (int s = step; s < end; s++) first += advance(slice, s, first, w);
    }
    for (int row = slice.begin; row < slice.end; row++) {
      const size_t here = size_t(row - slice.begin) * up_, there = size_t(row) * in_.units;
      std::copy_n(w.h + here, in_.units, out_.h + there);
      this->unpad_memories(w.c + here * memories, out_.c + there * memories);
    }
  }

  void load_states(Slice slice, const Work& w) const {
    const size_t size = size_t(slice.rows()) * up_;
    std::fill_n(w.h, size, 0.f);
    std::fill_n(w.c, size * memories, 0.f);
    std::fill_n(w.started, slice.rows(), false);
    for (int row = slice.begin; row < slice.end; row++) {
      const size_t here = size_t(row - slice.begin) * up_, there = size_t(row) * in_.units;
      std::copy_n(in_.h + there, in_.units, w.h + here);
      this->pad_memories(in_.c + there * memories, w.c + here * memories);
    }
  }

  // W x + b of some steps at once: one product with many rows instead of several with few.
  void project(Slice slice, int step, int end, const Work& w) const {
    int count = 0;
    for (int s = step; s < end; s++) {
      const int active = active_rows(in_, slice, s, w.active + count);
      for (int k = count; k < count + active; k++)
        std::copy_n(in_.x + this->inputs_at(w.active[k], s), in_.features, w.x + k * x_stride_);
      count += active;
    }
    product_of_rows(count, w.x, x_stride_, w.x, w_.right(), w.z, z_stride_, {Start::bias, start_});
  }

  // One step of the rows it moves, whose pre-activations begin at row `first` of z. Returns how many they are.
  int advance(Slice slice, int step, int first, const Work& w) const {
    const int count = active_rows(in_, slice, step, w.active);
    float* z = w.z + first * z_stride_;
    if constexpr (Cell::x_end < Cell::slots)
      for (int k = 0; k < count; k++)
        std::copy(start_ + Cell::x_end * up_, start_ + Cell::slots * up_, z + k * z_stride_ + Cell::x_end * up_);
    if constexpr (recurs<Cell>) {
      for (int k = 0; k < count; k++) load_left(slice, w.active[k], w, k);
      product_of_rows(count, w.left, h_stride_, w.left, u_.right(), z + Cell::h_begin * up_, z_stride_,
                      {Start::itself});
    }
    if constexpr (has_late) {
      for (int k = 0; k < count; k++) begin(slice, w.active[k], z + k * z_stride_, w, k);
      product_of_rows(count, w.left, h_stride_, w.left, u_late_.right(), z + Cell::h_end * up_, z_stride_,
                      {Start::itself});
    }
    for (int k = 0; k < count; k++) move(slice, w.active[k], step, z + k * z_stride_, w);
    if (in_.mask)
      for (int row = slice.begin; row < slice.end; row++)
        if (!is_active(in_, row, step)) repeat(slice, row, step, w);
    return count;
  }

  void load_left(Slice slice, int row, const Work& w, int k) const {
    const size_t here = size_t(row - slice.begin) * up_;
    float* left = w.left + k * h_stride_;
    for (int j = 0; j < Cell::heard; j++) {
      const int state = Cell::heard_state(j);
      const float* from = state == 0 ? w.h + here : w.c + here * memories + (state - 1) * up_;
      std::copy_n(from, in_.units, left + j * in_.units);
    }
    if (!in_.recurrent_mask) return;
    const float* mask = in_.recurrent_mask + size_t(row) * in_.units;
    for (int u = 0; u < in_.units; u++) left[Cell::heard_dropped * in_.units + u] *= mask[u];
  }

  // The first half of a step that has a late product: its left side.
  void begin(Slice slice, int row, float* z, const Work& w, int k) const {
    const size_t here = size_t(row - slice.begin) * up_;
    float* left = w.left + k * h_stride_;
    for (int u = 0; u < up_; u += lanes) {
      vec slots[Cell::slots];
      for (int s = 0; s < Cell::h_end; s++) slots[s] = load(z + s * up_ + u);
      vec late = cell_.late(slots, this->load_state(w.h + here, w.c + here * memories, u));
      if (Cell::drops_late && in_.recurrent_mask)
        late *= load_some(in_.recurrent_mask + size_t(row) * in_.units + u, in_.units - u);
      store(left + u, late);
      for (int s = 0; s < Cell::h_end; s++) store(z + s * up_ + u, slots[s]);
    }
  }

  // Pre-activations into gates and new states, on the tape and into the outputs.
  void move(Slice slice, int row, int step, float* z, const Work& w) const {
    const size_t here = size_t(row - slice.begin) * up_, on_tape = (size_t(step) * in_.batch + row) * up_;
    float *h = w.h + here, *c = w.c + here * memories;
    float* gates = out_.gates ? out_.gates + on_tape * tape_slots<Cell> : nullptr;
    float* memory = out_.memory ? out_.memory + on_tape * memories : nullptr;
    const float* keep = this->kept_of(row, step);
    if (keep) save(h, c, w.before);
    [[maybe_unused]] float statistics[most_statistics];
    if constexpr (normalizes<Cell>) normalize(z, statistics);
    for (int u = 0; u < up_; u += lanes) {
      vec slots[Cell::slots];
      for (int s = 0; s < Cell::slots; s++) slots[s] = load(z + s * up_ + u);
      if constexpr (normalizes<Cell>) this->scale_and_shift(slots, u);
      State state = this->load_state(h, c, u);
      if constexpr (Cell::reads_below)
        state.below = load_some(in_.x + this->below_at(row, step) + u, in_.units - u);
      if (memory) this->store_memories(memory, state, u);
      cell_.forward(slots, state, u);
      store(h + u, state.h);
      this->store_memories(c, state, u);
      if (gates && !normalizes<Cell>)
        for (int s = 0; s < Cell::slots; s++) store(gates + s * up_ + u, slots[s]);
    }
    if constexpr (Cell::normalizes_memory) show(h, c, statistics + Cell::normalized.size());
    if (normalizes<Cell> && gates) {
      std::copy_n(z, Cell::slots * up_, gates);
      std::copy_n(statistics, most_statistics, gates + Cell::slots * up_);
    }
    if (keep) zone_out(keep, w.before, h, c);
    if (out_.outputs) {
      float* const shown = out_.outputs + this->outputs_at(row, step);
      std::copy_n(h, in_.units, shown);
      if (in_.shows_memory) std::copy_n(c, in_.units, shown + in_.units);
    }
    w.started[row - slice.begin] = true;
    if (step == in_.time - 1) std::copy_n(h, in_.units, out_.last + size_t(row) * in_.units);
  }

  // The states of a row, one after the other without padding.
  void save(const float* h, const float* c, float* states) const {
    std::copy_n(h, in_.units, states);
    this->unpad_memories(c, states + in_.units);
  }

  void zone_out(const float* keep, const float* before, float* h, float* c) const {
    for (int k = 0; k <= memories; k++) {
      float* state = k == 0 ? h : c + (k - 1) * up_;
      for (int u = 0; u < in_.units; u++, keep++, before++) state[u] = *keep * *before + (1 - *keep) * state[u];
    }
  }

  // Normalises the groups of slots of a row, and tells their scales.
  void normalize(float* z, float* scales) const {
    for (const Group& group : Cell::normalized) {
      const Moments moments = this->moments_of(z + group.begin * up_, group.end - group.begin);
      *scales++ = moments.scale;
      for (int s = group.begin; s < group.end; s++)
        for (int u = 0; u < up_; u += lanes) {
          float* const at = z + s * up_ + u;
          store(at, this->keep_units((load(at) - moments.mean) * moments.scale, u));
        }
    }
  }

  // The second half of a step whose output shows the normalised memory.
  void show(float* h, float* c, float* statistics) const {
    const Moments moments = this->moments_of(c, 1);
    statistics[0] = moments.mean;
    statistics[1] = moments.scale;
    for (int u = 0; u < up_; u += lanes) {
      State state = this->load_state(h, c, u);
      cell_.show(this->keep_units((state.c - moments.mean) * moments.scale, u), state, u);
      store(h + u, state.h);
      this->store_memories(c, state, u);
    }
  }

  // The output of a masked step: the previous one, or zero; before the first step, the initial states or zero.
  void repeat(Slice slice, int row, int step, const Work& w) const {
    const size_t here = size_t(row - slice.begin) * up_;
    const float *h = w.h + here, *c = w.c + here * memories;
    const bool shows = (w.started[row - slice.begin] || in_.show_initial_state) && !in_.zero_output_for_mask;
    const auto write = [&](const float* state, float* to) {
      shows ? std::copy_n(state, in_.units, to) : std::fill_n(to, in_.units, 0.f);
    };
    if (out_.outputs) {
      float* const shown = out_.outputs + this->outputs_at(row, step);
      write(h, shown);
      if (in_.shows_memory) write(c, shown + in_.units);
    }
    if (step == in_.time - 1) write(h, out_.last + size_t(row) * in_.units);
  }

  const int ahead_;  // how many steps are projected at once
  float* start_ = nullptr;  // what pre-activations start from, by slots
};

}  // namespace gates
