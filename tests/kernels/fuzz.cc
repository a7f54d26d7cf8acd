// Random problems for the kernels, answered a second time in plain loops and double precision.
//
//   fuzz SECONDS [SEED [CELL]]
//
// The equations are those of the kernels (`in_double.h`), so this finds what is wrong with the passes around them
// (products, packing, slices, masks, tape, threads), with their arithmetic in floats, and a `backward` that is not
// the gradient of its `forward`. That the equations are the right ones is the business of the self-test and of
// tests/test_kernel_grid.py. Values are compared one by one, gradients along a random direction of each argument in
// turn, with differences of the double-precision loss. With products in bfloat16 the passes run for the sanitizers
// alone; those products are compared by themselves, where they are exact. Ends with 1, and the problem's number, at the
// first disagreement.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "in_double.h"
#include "job.h"
#include "product.h"

namespace {

using gates::CellSpec;
using Doubles = std::vector<double>;
using Floats = std::vector<float>;

std::mt19937_64 generator;
std::vector<int> kinds;  // the cells to choose from

int uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }
bool chance(double p) { return std::bernoulli_distribution(p)(generator); }

enum Argument { X, H, C, KERNEL, RECURRENT, BIAS, VECTORS, ARGUMENTS };
const char* const names[] = {"x", "h", "c", "kernel", "recurrent_kernel", "bias", "vectors"};

struct Problem {
  CellSpec cell;
  gates::Layout layout;
  int batch, time, features, units, threads;
  int columns, shown;  // of x, and of an output
  bool backwards, zero_output, show_initial, shows_memory, sees[gates::most_vectors], every_output;
  std::vector<char> mask;
  Doubles arguments[ARGUMENTS], dropped, kept;
  Doubles at_outputs, at_last, at_h, at_c;  // the loss: a weighted sum of all results

  bool active(int row, int t) const { return mask.empty() || mask[size_t(row) * time + t]; }
};

struct Answer {
  Doubles outputs, last, h, c;
};

// Layer normalisation of all these values together.
void normalize(const std::vector<double*>& values, double epsilon) {
  double mean = 0, variance = 0;
  for (const double* v : values) mean += *v / values.size();
  for (const double* v : values) variance += std::pow(*v - mean, 2) / values.size();
  for (double* v : values) *v = (*v - mean) / std::sqrt(variance + epsilon);
}

// One step of one row: what `h` and `memories` (one after the other) become.
template <class Cell>
void step(const Cell& cell, const Problem& p, const Doubles* w, const double* x, const double* dropped, double* h,
          double* memories) {
  constexpr int recurrent_gates = Cell::late_end - Cell::h_begin;
  const int units = p.units;
  const auto product = [&](const double* left, int rows, const Doubles& weights, int gates, int gate, int u) {
    double sum = 0;
    for (int i = 0; i < rows; i++) sum += left[i] * weights[(size_t(i) * gates + gate) * units + u];
    return sum;
  };
  const auto drop = [&](double* left) {
    for (int u = 0; dropped && u < units; u++) left[u] *= dropped[u];
  };
  const auto state_of = [&](int u) {
    in_double::gates::State state{};
    state.h = h[u];
    if (Cell::reads_below) state.below = x[p.features + u];
    for (int k = 0; k < Cell::memories; k++) state.memory(k) = memories[k * units + u];
    return state;
  };
  Doubles heard;
  for (int j = 0; j < Cell::heard; j++) {
    const int which = Cell::heard_state(j);
    const double* state = which == 0 ? h : memories + (which - 1) * units;
    heard.insert(heard.end(), state, state + units);
  }
  drop(heard.data() + Cell::heard_dropped * units);
  constexpr bool normalizes = Cell::normalized.size() > 0;
  const auto bias = [&](int slot, int u) {
    double sum = slot < Cell::x_end ? w[BIAS][Cell::x_gate(slot) * units + u] : 0;
    if (Cell::bias_rows == 2 && slot >= Cell::h_begin) sum += w[BIAS][(Cell::gates + Cell::h_gate(slot)) * units + u];
    return sum;
  };
  std::vector<std::array<double, Cell::slots>> z(units);
  for (int slot = 0; slot < Cell::slots; slot++)
    for (int u = 0; u < units; u++) {
      double& a = z[u][slot] = normalizes ? 0 : bias(slot, u);
      if (slot < Cell::x_end) a += product(x, p.features, w[KERNEL], Cell::gates, Cell::x_gate(slot), u);
      if (Cell::h_begin <= slot && slot < Cell::h_end)
        a += product(heard.data(), Cell::heard * units, w[RECURRENT], recurrent_gates, Cell::h_gate(slot), u);
    }
  if constexpr (Cell::late_end > Cell::h_end) {
    Doubles late(units);
    for (int u = 0; u < units; u++) late[u] = cell.late(z[u].data(), state_of(u));
    if (Cell::drops_late) drop(late.data());
    for (int slot = Cell::h_end; slot < Cell::late_end; slot++)
      for (int u = 0; u < units; u++)
        z[u][slot] += product(late.data(), units, w[RECURRENT], recurrent_gates, Cell::h_gate(slot), u);
  }
  if constexpr (normalizes) {
    for (const auto& group : Cell::normalized) {
      std::vector<double*> values;
      for (int slot = group.begin; slot < group.end; slot++)
        for (auto& of_unit : z) values.push_back(&of_unit[slot]);
      normalize(values, cell.epsilon);
    }
    for (int u = 0; u < units; u++)
      for (int slot = 0; slot < Cell::slots; slot++)
        z[u][slot] = cell.own[slot].scale(z[u][slot], u) + bias(slot, u);
  }
  for (int u = 0; u < units; u++) {
    in_double::gates::State state = state_of(u);
    cell.forward(z[u].data(), state, u);
    h[u] = state.h;
    for (int k = 0; k < Cell::memories; k++) memories[k * units + u] = state.memory(k);
  }
  if constexpr (Cell::normalizes_memory) {
    Doubles normalized(memories, memories + units);
    std::vector<double*> values;
    for (double& c : normalized) values.push_back(&c);
    normalize(values, cell.epsilon);
    for (int u = 0; u < units; u++) {
      in_double::gates::State state{};
      state.h = h[u], state.c = memories[u];
      cell.show(normalized[u], state, u);
      h[u] = state.h, memories[u] = state.c;
    }
  }
}

template <class Cell>
Answer expected_of(const Cell& cell, const Problem& p, const Doubles* w) {
  const int units = p.units, in_memory = Cell::memories * units;
  Answer a{Doubles(size_t(p.batch) * p.time * p.shown), {}, {}, {}};
  for (int row = 0; row < p.batch; row++) {
    const auto start = [&](Argument k, int size) {
      return Doubles(w[k].data() + row * size, w[k].data() + (row + 1) * size);
    };
    Doubles h = start(H, units), c = start(C, in_memory), output(p.shown, 0.);
    const auto show = [&] {
      output = h;
      if (p.shows_memory) output.insert(output.end(), c.begin(), c.begin() + units);
    };
    if (p.show_initial) show();
    for (int s = 0; s < p.time; s++) {
      const int t = p.backwards ? p.time - 1 - s : s;
      if (p.active(row, t)) {
        const Doubles h_before = h, c_before = c;
        step(cell, p, w, &w[X][(size_t(row) * p.time + t) * p.columns],
             p.dropped.empty() ? nullptr : &p.dropped[row * units], h.data(), c.data());
        if (!p.kept.empty()) {
          const double* keep = &p.kept[(size_t(row) * p.time + t) * (units + in_memory)];
          for (int u = 0; u < units; u++) h[u] = keep[u] * h_before[u] + (1 - keep[u]) * h[u];
          for (int u = 0; u < in_memory; u++) c[u] = keep[units + u] * c_before[u] + (1 - keep[units + u]) * c[u];
        }
        show();
      } else if (p.zero_output) {
        output.assign(p.shown, 0.);
      }
      std::copy(output.begin(), output.end(), &a.outputs[(size_t(row) * p.time + s) * p.shown]);
      // With zero outputs a later masked step stays zero, and an unmasked one shows its state again.
    }
    a.last.insert(a.last.end(), output.begin(), output.begin() + units);
    a.h.insert(a.h.end(), h.begin(), h.end());
    a.c.insert(a.c.end(), c.begin(), c.end());
  }
  return a;
}

Answer expected(const Problem& p, const Doubles* w) {
  Answer answer;
  in_double::gates::AllCells::with_cell(p.cell, [&](auto cell) {
    for (size_t k = 0; k < cell.own.size(); k++)
      if (p.sees[k]) cell.own[k].weight = w[VECTORS].data() + k * p.units;
    answer = expected_of(cell, p, w);
  });
  return answer;
}

double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
  return sum;
}

double loss(const Problem& p, const Doubles* w) {
  const Answer a = expected(p, w);
  return (p.every_output ? dot(a.outputs, p.at_outputs) : 0) + dot(a.last, p.at_last) + dot(a.h, p.at_h) +
         dot(a.c, p.at_c);
}

Doubles normal(size_t count, double deviation = 1) {
  std::normal_distribution<double> draw(0, deviation);
  Doubles values(count);
  for (double& v : values) v = float(draw(generator));
  return values;
}

// Without relu: differences across its kink are no gradients.
gates::Activation random_activation() { return chance(.7) ? gates::Activation::tanh : gates::Activation::linear; }

Problem random_problem() {
  Problem p;
  p.cell.kind = kinds[uniform(0, int(kinds.size()) - 1)];
  p.cell.activation = random_activation(), p.cell.output_activation = random_activation();
  p.cell.update_writes = chance(.5), p.cell.output_previous = chance(.3);
  const bool normalizes = std::strstr(gates::cell_names()[p.cell.kind], "layer_norm");
  const bool clockwork = !std::strcmp(gates::cell_names()[p.cell.kind], "clockwork");
  p.cell.constant = normalizes ? .25f : clockwork ? 12 : float(uniform(-4, 4));
  p.layout = layout_of(p.cell);
  const bool large = chance(.1);
  p.batch = uniform(1, large ? 140 : 20), p.time = uniform(1, large ? 3 : 9);
  p.features = uniform(1, chance(.2) ? 130 : 20), p.units = uniform(1, chance(.2) ? 130 : 36);
  p.threads = uniform(1, 4);
  p.backwards = chance(.3), p.zero_output = chance(.3), p.show_initial = chance(.3), p.every_output = chance(.8);
  p.columns = p.features + p.layout.reads_below * p.units;
  p.shows_memory = p.layout.memories && chance(.3), p.shown = p.units * (1 + p.shows_memory);
  const int possible = int(std::strlen(p.layout.vectors));
  const bool vectors = chance(.6);
  for (int which = 0; which < gates::most_vectors; which++) p.sees[which] = vectors && which < possible && chance(.6);
  if (chance(.6)) {
    p.mask.resize(size_t(p.batch) * p.time);
    const int kind = uniform(0, 3);
    for (int row = 0; row < p.batch; row++) {
      const int length = chance(.1) ? 0 : uniform(0, p.time);
      for (int t = 0; t < p.time; t++)
        p.mask[size_t(row) * p.time + t] = kind == 0   ? t < length
                                           : kind == 1 ? t >= length
                                                       : chance(kind == 2 ? .5 : .95);
    }
  }
  const size_t gates = size_t(p.layout.gates) * p.units, states = size_t(p.batch) * p.units;
  p.arguments[X] = normal(size_t(p.batch) * p.time * p.columns);
  p.arguments[H] = normal(states, .5);
  p.arguments[C] = normal(states * p.layout.memories, .5);
  if (clockwork)
    for (double& c : p.arguments[C]) c = uniform(0, 11) + .5;  // far from where a clock jumps
  if (p.layout.memories > 1)  // one of them may be divided by, and positive
    for (double& c : p.arguments[C]) c = .5 + std::abs(c);
  p.arguments[KERNEL] = normal(p.features * gates, 1 / std::sqrt(p.features));
  p.arguments[RECURRENT] = normal(size_t(p.layout.heard) * p.layout.recurrent_gates * p.units * p.units,
                                  1 / std::sqrt(p.layout.heard * p.units));
  p.arguments[BIAS] = normal(p.layout.bias_rows * gates, .3);
  p.arguments[VECTORS] = normal(size_t(gates::most_vectors) * p.units, .5);
  if (clockwork)
    for (double& period : p.arguments[VECTORS]) period = uniform(1, 4);
  if (chance(.3)) {
    p.dropped.resize(states);
    for (double& d : p.dropped) d = chance(.5) ? 2 : 0;
  }
  if (!clockwork && chance(.3)) {
    p.kept.resize(states * p.time * (1 + p.layout.memories));
    const bool some = chance(.5);
    for (double& share : p.kept) share = some ? chance(.5) : .25;
  }
  p.at_outputs = normal(size_t(p.batch) * p.time * p.shown), p.at_last = normal(states), p.at_h = normal(states);
  p.at_c = normal(p.arguments[C].size());
  return p;
}

// An array of exactly its length, not a value more, so that the address sanitizer sees its ends.
template <class T>
std::unique_ptr<T[]> exact(const Doubles& values) {
  std::unique_ptr<T[]> array(new T[values.size()]);
  for (size_t i = 0; i < values.size(); i++) array[i] = T(values[i]);
  return array;
}

std::unique_ptr<float[]> unwritten(size_t count) {
  std::unique_ptr<float[]> array(new float[count]);
  for (size_t i = 0; i < count; i++) array[i] = std::numeric_limits<float>::quiet_NaN();
  return array;
}

bool agree(const char* what, double got, double want, double scale, double tolerance) {
  if (std::abs(got - want) <= tolerance * scale) return true;
  std::printf("%s: got %.9g, expected %.9g\n", what, got, want);
  return false;
}

bool agree(const char* what, const float* got, const Doubles& want) {
  double scale = 1e-3;
  for (double v : want) scale = std::max(scale, std::abs(v));
  for (size_t i = 0; i < want.size(); i++)
    if (!agree(what, got[i], want[i], scale, 2e-5)) return false;
  return true;
}

bool check(const Problem& p) {
  std::unique_ptr<float[]> a[ARGUMENTS];
  for (int k = 0; k < ARGUMENTS; k++) a[k] = exact<float>(p.arguments[k]);
  const auto dropped = exact<float>(p.dropped), kept = exact<float>(p.kept);
  std::unique_ptr<bool[]> mask(new bool[p.mask.size()]);
  std::copy(p.mask.begin(), p.mask.end(), mask.get());

  gates::Sequences in;
  in.batch = p.batch, in.time = p.time, in.features = p.features, in.units = p.units, in.threads = p.threads;
  in.x = a[X].get(), in.h = a[H].get(), in.c = a[C].get();
  in.kernel = a[KERNEL].get(), in.recurrent_kernel = a[RECURRENT].get(), in.bias = a[BIAS].get();
  for (int which = 0; which < gates::most_vectors; which++)
    if (p.sees[which]) in.vectors[which] = a[VECTORS].get() + which * p.units;
  in.mask = p.mask.empty() ? nullptr : mask.get();
  in.recurrent_mask = p.dropped.empty() ? nullptr : dropped.get();
  in.keep = p.kept.empty() ? nullptr : kept.get();
  in.go_backwards = p.backwards, in.zero_output_for_mask = p.zero_output, in.show_initial_state = p.show_initial;
  in.shows_memory = p.shows_memory;

  const size_t states = size_t(p.batch) * p.units, rows = size_t(p.batch) * p.time;
  const size_t padded = gates::padded_units(p.units), in_memory = p.arguments[C].size();
  const auto outputs = unwritten(rows * p.shown), last = unwritten(states), h = unwritten(states),
             c = unwritten(in_memory);
  const auto tape = unwritten(rows * p.layout.tape_slots * padded), memory = unwritten(rows * p.layout.memories * padded);
  gates::Results out;
  out.outputs = outputs.get(), out.last = last.get(), out.h = h.get(), out.c = c.get();
  out.gates = tape.get(), out.memory = memory.get();
  run_forward(p.cell, in, out);
  const Answer want = expected(p, p.arguments);
  if (!agree("outputs", outputs.get(), want.outputs) || !agree("last", last.get(), want.last)) return false;
  if (!agree("h", h.get(), want.h) || !agree("c", c.get(), want.c)) return false;

  const auto short_last = unwritten(states), short_h = unwritten(states), short_c = unwritten(in_memory);
  gates::Results inference;
  inference.last = short_last.get(), inference.h = short_h.get(), inference.c = short_c.get();
  run_forward(p.cell, in, inference);
  if (std::memcmp(last.get(), short_last.get(), states * sizeof(float))) return std::puts("inference differs"), false;

  const auto at_outputs = exact<float>(p.at_outputs), at_last = exact<float>(p.at_last), at_h = exact<float>(p.at_h),
             at_c = exact<float>(p.at_c);
  std::unique_ptr<float[]> d[ARGUMENTS];
  for (int k = 0; k < ARGUMENTS; k++) d[k] = unwritten(p.arguments[k].size());
  gates::Gradients g;
  g.outputs = p.every_output ? at_outputs.get() : nullptr;
  g.last = at_last.get(), g.h = at_h.get(), g.c = at_c.get();
  g.d_x = d[X].get(), g.d_h = d[H].get(), g.d_c = d[C].get();
  g.d_kernel = d[KERNEL].get(), g.d_recurrent_kernel = d[RECURRENT].get(), g.d_bias = d[BIAS].get();
  for (int which = 0; which < gates::most_vectors; which++) g.d_vectors[which] = d[VECTORS].get() + which * p.units;
  run_backward(p.cell, in, out, g);
  for (int k = 0; k < ARGUMENTS; k++) {
    Doubles along = normal(p.arguments[k].size()), moved[ARGUMENTS];
    if (k == VECTORS)
      for (size_t i = 0; i < along.size(); i++)
        if (!p.sees[i / p.units] || d[k][i] == 0) along[i] = 0;  // the periods of a clockwork have no gradient
    double size = 0, slope = 0;
    for (size_t i = 0; i < along.size(); i++) {
      if (along[i] == 0) continue;
      slope += d[k][i] * along[i];
      size += std::pow(d[k][i] * along[i], 2);
    }
    // The maximum in sLSTM has kinks: on either side of one the differences are other slopes, and both are right.
    const double small = 1e-6, here = loss(p, p.arguments);
    double slopes[2];
    for (int side = 0; side < 2; side++) {
      const double by = side ? -small : small;
      for (int other = 0; other < ARGUMENTS; other++) moved[other] = p.arguments[other];
      for (size_t i = 0; i < along.size(); i++) moved[k][i] += by * along[i];
      slopes[side] = (loss(p, moved) - here) / by;
    }
    const double nearest = std::min(std::max(slope, std::min(slopes[0], slopes[1])), std::max(slopes[0], slopes[1]));
    if (!agree(names[k], slope, nearest, 1e-2 + std::sqrt(size), 1e-3)) return false;
  }
  in.bfloat16_products = true;
  run_forward(p.cell, in, out);
  run_backward(p.cell, in, out, g);
  const auto finite = [](const float* values, size_t count) {
    return std::all_of(values, values + count, [](float v) { return std::isfinite(v); });
  };
  if (!finite(outputs.get(), rows * p.shown) || !finite(d[KERNEL].get(), p.arguments[KERNEL].size()))
    return std::puts("not finite in bfloat16"), false;
  return true;
}

// Products of floats and of pairs, of whole numbers so small that both are exact: of rows with a packed matrix, and of
// two matrices that have their rows in depth. Around the matrices stands what is not a number.
bool check_products() {
  const int rows = uniform(1, 20), depth = uniform(1, 70), columns = gates::lanes * uniform(1, 7);
  const auto matrix = [](int rows, int columns) {
    Floats values(rows * gates::spread(columns), std::numeric_limits<float>::quiet_NaN());
    for (int m = 0; m < rows; m++)
      for (int n = 0; n < columns; n++) values[m * gates::spread(columns) + n] = float(uniform(-8, 8));
    return values;
  };
  const size_t a_stride = gates::spread(depth), turned_stride = gates::spread(rows), stride = gates::spread(columns);
  const Floats a = matrix(rows, depth), b = matrix(depth, columns);
  Floats a_turned = matrix(depth, rows);
  for (int k = 0; k < depth; k++)
    for (int m = 0; m < rows; m++) a_turned[k * turned_stride + m] = a[m * a_stride + k];
  for (bool pairs : {false, true}) {
    Floats packed(gates::round_up(depth, 2) * columns), room = a, joined_a = a_turned, joined_b = b;
    const gates::Right right{packed.data(), depth, columns, 0, pairs};
    gates::pack(packed.data(), right, 0, columns, [&](int k, int n) { return gates::load(&b[k * stride + n]); });
    if (pairs) {
      gates::join_rows(joined_a.data(), depth, rows, turned_stride);
      gates::join_rows(joined_b.data(), depth, columns, stride);
    }
    Floats by_rows(rows * stride), in_depth(rows * stride);
    const float* from = chance(.5) ? a.data() : room.data();
    gates::product_of_rows(rows, from, a_stride, room.data(), right, by_rows.data(), stride, {gates::Start::zero});
    gates::product(rows, {joined_a.data(), 1, turned_stride}, {joined_b.data(), depth, columns, stride, pairs},
                   in_depth.data(), stride, {gates::Start::zero});
    for (int m = 0; m < rows; m++)
      for (int n = 0; n < columns; n++) {
        float sum = 0;
        for (int k = 0; k < depth; k++) sum += a[m * a_stride + k] * b[k * stride + n];
        if (by_rows[m * stride + n] != sum || in_depth[m * stride + n] != sum)
          return std::printf("a product of %s is wrong\n", pairs ? "pairs" : "floats"), false;
      }
  }
  return true;
}

// What is not finite in one row of x must reach that row's outputs and no other row.
bool check_not_finite(Problem p) {
  p.mask.clear(), p.dropped.clear(), p.kept.clear();
  p.backwards = false;
  const int row = uniform(0, p.batch - 1);
  const auto run = [&](double value) {
    p.arguments[X][size_t(row) * p.time * p.columns] = value;
    std::unique_ptr<float[]> a[ARGUMENTS];
    for (int k = 0; k < ARGUMENTS; k++) a[k] = exact<float>(p.arguments[k]);
    gates::Sequences in;
    in.batch = p.batch, in.time = p.time, in.features = p.features, in.units = p.units, in.threads = p.threads;
    in.x = a[X].get(), in.h = a[H].get(), in.c = a[C].get();
    in.kernel = a[KERNEL].get(), in.recurrent_kernel = a[RECURRENT].get(), in.bias = a[BIAS].get();
    for (int which = 0; which < gates::most_vectors; which++)
      if (p.sees[which]) in.vectors[which] = a[VECTORS].get() + which * p.units;
    in.shows_memory = p.shows_memory;
    const size_t states = size_t(p.batch) * p.units;
    Floats outputs(size_t(p.batch) * p.time * p.shown), last(states), h(states), c(states * p.layout.memories);
    gates::Results out;
    out.outputs = outputs.data(), out.last = last.data(), out.h = h.data(), out.c = c.data();
    run_forward(p.cell, in, out);
    return outputs;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Floats plain = run(0), with_nan = run(nan);
  p.arguments[X][size_t(row) * p.time * p.columns] = nan;
  const Doubles want = expected(p, p.arguments).outputs;
  for (size_t i = 0; i < plain.size(); i++)
    if (std::isnan(want[i]) != std::isnan(with_nan[i]) || (!std::isnan(want[i]) && plain[i] != with_nan[i]))
      return std::puts("a NaN went astray"), false;
  return true;
}

}  // namespace

// Whether a child of a fork, which has none of our threads, can still do its work.
bool check_in_child(const Problem& p) {
#ifndef __SANITIZE_THREAD__  // it does not bear threads that start after a fork
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a thread that waits for one that is gone would wait for ever
    _exit(check(p) ? 0 : 1);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
#else
  return check(p);
#endif
}

int main(int count, char** words) {
  const double seconds = count > 1 ? std::atof(words[1]) : 10;
  const unsigned long seed = count > 2 ? std::strtoul(words[2], nullptr, 10) : std::random_device()();
  const std::string wanted = count > 3 ? words[3] : "";  // a part of the names
  const auto known = gates::cell_names();
  for (int kind = 0; kind < int(known.size()); kind++)
    if (std::string(known[kind]).find(wanted) != std::string::npos) kinds.push_back(kind);
  if (kinds.empty()) return std::printf("there is no cell %s\n", wanted.c_str()), 2;
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  long done = 0;
  for (; Clock::now() < end; done++) {
    generator.seed(seed + done);
    const Problem p = random_problem();
    if (!check(p) || !check_products() || !check_not_finite(p) || (done % 100 == 0 && !check_in_child(p))) {
      std::printf("FAILED: fuzz 0.1 %lu (%s, batch %d, time %d, features %d, units %d%s%s%s)\n", seed + done,
                  gates::cell_names()[p.cell.kind], p.batch, p.time, p.features, p.units,
                  p.mask.empty() ? "" : ", masked", p.dropped.empty() ? "" : ", dropout",
                  p.kept.empty() ? "" : ", zoneout");
      return 1;
    }
  }
  std::printf("%ld problems from seed %lu, no finding\n", done, seed);
}
