// Random problems for the kernels, answered a second time by the equations in plain double precision.
//
//   fuzz SECONDS [SEED]
//
// Values are compared one by one, gradients along a random direction of each argument in turn, with central
// differences of the double-precision loss. Ends with 1, and the problem's number, at the first disagreement.
#include <sys/wait.h>
#include <unistd.h>

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

#include "job.h"

namespace {

using gates::CellSpec;
using Doubles = std::vector<double>;
using Floats = std::vector<float>;

std::mt19937_64 generator;

int uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }
bool chance(double p) { return std::bernoulli_distribution(p)(generator); }

enum Argument { X, H, C, KERNEL, RECURRENT, BIAS, PEEPHOLES, ARGUMENTS };
const char* const names[] = {"x", "h", "c", "kernel", "recurrent_kernel", "bias", "peepholes"};

struct Problem {
  CellSpec cell;
  gates::Layout layout;
  int batch, time, features, units, threads;
  bool backwards, zero_output, sees[3], every_output;
  std::vector<char> mask;
  Doubles arguments[ARGUMENTS], dropped;
  Doubles at_outputs, at_last, at_h, at_c;  // the loss: a weighted sum of all results

  bool active(int row, int t) const { return mask.empty() || mask[size_t(row) * time + t]; }
};

struct Answer {
  Doubles outputs, last, h, c;
};

double sigmoid(double a) { return 1 / (1 + std::exp(-a)); }

double squash(gates::Activation phi, double a) {
  return phi == gates::Activation::tanh ? std::tanh(a) : phi == gates::Activation::relu && a < 0 ? 0 : a;
}

// Which of the gates i, f, o a cell with a memory has, and whose pre-activations stand side by side with g's.
struct LstmGates {
  bool i, f, o;

  explicit LstmGates(CellSpec::Kind kind)
      : i(kind != CellSpec::no_input_gate && kind != CellSpec::coupled), f(kind != CellSpec::no_forget_gate),
        o(kind != CellSpec::no_output_gate) {}
  bool has(int which) const { return which == 0 ? i : which == 1 ? f : o; }
};

// One row by the equations, a unit at a time.
void step(const Problem& p, const Doubles* w, const double* x, const double* keep, Doubles& h, Doubles& c) {
  const int units = p.units, all = p.layout.gates * units, recurrent = p.layout.recurrent_gates * units;
  const auto from_x = [&](int gate, int u) {
    double a = w[BIAS][gate * units + u];
    for (int i = 0; i < p.features; i++) a += x[i] * w[KERNEL][size_t(i) * all + gate * units + u];
    return a;
  };
  const auto from = [&](const Doubles& state, int gate, int u) {
    double a = 0;
    for (int i = 0; i < units; i++)
      a += state[i] * (keep ? keep[i] : 1) * w[RECURRENT][size_t(i) * recurrent + gate * units + u];
    return a;
  };
  const auto both = [&](int gate, int u) { return from_x(gate, u) + from(h, gate, u); };
  const auto see = [&](int which, int u, double memory) {
    return p.sees[which] ? w[PEEPHOLES][which * units + u] * memory : 0;
  };
  const auto phi = [&](double a) { return squash(p.cell.activation, a); };
  Doubles new_h(units), new_c = c;
  switch (p.cell.kind) {
    case CellSpec::simple:
      for (int u = 0; u < units; u++) new_h[u] = phi(both(0, u));
      break;
    case CellSpec::lstm:
    case CellSpec::no_input_gate:
    case CellSpec::no_forget_gate:
    case CellSpec::no_output_gate:
    case CellSpec::coupled: {
      const LstmGates has(p.cell.kind);
      const int f_at = has.i, g_at = f_at + has.f, o_at = g_at + 1;
      for (int u = 0; u < units; u++) {
        const double f = has.f ? sigmoid(both(f_at, u) + see(1, u, c[u])) : 1;
        const double i = p.cell.kind == CellSpec::coupled ? 1 - f : has.i ? sigmoid(both(0, u) + see(0, u, c[u])) : 1;
        new_c[u] = f * c[u] + i * phi(both(g_at, u));
        const double seen = p.cell.output_previous ? c[u] : new_c[u];
        const double o = has.o ? sigmoid(both(o_at, u) + see(2, u, seen)) : 1;
        new_h[u] = o * squash(p.cell.output_activation, new_c[u]);
      }
      break;
    }
    case CellSpec::gru: {
      Doubles update(units), reset(units), reset_h(units);
      const auto own_bias = [&](int gate, int u) { return p.cell.reset_after ? w[BIAS][all + gate * units + u] : 0; };
      for (int u = 0; u < units; u++) {
        update[u] = sigmoid(both(0, u) + own_bias(0, u));
        reset[u] = sigmoid(both(1, u) + own_bias(1, u));
        reset_h[u] = reset[u] * h[u];
      }
      for (int u = 0; u < units; u++) {
        const double heard = p.cell.reset_after ? reset[u] * (from(h, 2, u) + own_bias(2, u)) : from(reset_h, 2, u);
        const double n = phi(from_x(2, u) + heard), k = p.cell.update_writes ? 1 - update[u] : update[u];
        new_h[u] = k * h[u] + (1 - k) * n;
      }
      break;
    }
    case CellSpec::minimal_gated: {
      Doubles f(units), reset_h(units);
      for (int u = 0; u < units; u++) {
        f[u] = sigmoid(both(0, u));
        reset_h[u] = f[u] * h[u];
      }
      for (int u = 0; u < units; u++)
        new_h[u] = (1 - f[u]) * h[u] + f[u] * phi(from_x(1, u) + from(reset_h, 1, u));
      break;
    }
    case CellSpec::janet:
      for (int u = 0; u < units; u++) {
        const double s = both(0, u);
        new_h[u] = sigmoid(s) * h[u] + (1 - sigmoid(s - p.cell.beta)) * phi(both(1, u));
      }
      break;
    case CellSpec::independent:
      for (int u = 0; u < units; u++) new_h[u] = phi(from_x(0, u) + see(0, u, h[u]));
      break;
    case CellSpec::peephole_only:
      for (int u = 0; u < units; u++) {
        const double i = sigmoid(from_x(0, u) + from(c, 0, u)), f = sigmoid(from_x(1, u) + from(c, 1, u));
        const double o = sigmoid(from_x(3, u) + from(c, 2, u));
        new_c[u] = f * c[u] + i * phi(from_x(2, u));
        new_h[u] = squash(p.cell.output_activation, o * new_c[u]);
      }
      break;
    case CellSpec::min_gru:
      for (int u = 0; u < units; u++) {
        const double update = sigmoid(from_x(0, u));
        new_h[u] = (1 - update) * h[u] + update * phi(from_x(1, u));
      }
      break;
    case CellSpec::min_lstm:
      for (int u = 0; u < units; u++) {
        const double i = sigmoid(from_x(0, u)), f = sigmoid(from_x(1, u));
        new_h[u] = (f * h[u] + i * phi(from_x(2, u))) / (f + i);
      }
      break;
  }
  h = new_h, c = new_c;
}

Answer expected(const Problem& p, const Doubles* w) {
  const int units = p.units;
  Answer a{Doubles(size_t(p.batch) * p.time * units), {}, {}, {}};
  for (int row = 0; row < p.batch; row++) {
    Doubles h(&w[H][row * units], &w[H][row * units] + units), c(&w[C][row * units], &w[C][row * units] + units);
    Doubles output(units, 0.);
    for (int s = 0; s < p.time; s++) {
      const int t = p.backwards ? p.time - 1 - s : s;
      if (p.active(row, t)) {
        step(p, w, &w[X][(size_t(row) * p.time + t) * p.features],
             p.dropped.empty() ? nullptr : &p.dropped[row * units], h, c);
        output = h;
      } else if (p.zero_output) {
        output.assign(units, 0.);
      }
      std::copy(output.begin(), output.end(), &a.outputs[(size_t(row) * p.time + s) * units]);
      // With zero outputs a later masked step stays zero, and an unmasked one shows its state again.
    }
    a.last.insert(a.last.end(), output.begin(), output.end());
    a.h.insert(a.h.end(), h.begin(), h.end());
    a.c.insert(a.c.end(), c.begin(), c.end());
  }
  return a;
}

double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
  return sum;
}

double loss(const Problem& p, const Doubles* w) {
  const Answer a = expected(p, w);
  return (p.every_output ? dot(a.outputs, p.at_outputs) : 0) + dot(a.last, p.at_last) + dot(a.h, p.at_h) +
         (p.layout.has_memory ? dot(a.c, p.at_c) : 0);
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
  p.cell.kind = CellSpec::Kind(uniform(0, CellSpec::kinds - 1));
  p.cell.activation = random_activation(), p.cell.output_activation = random_activation();
  p.cell.reset_after = chance(.5), p.cell.update_writes = chance(.5), p.cell.output_previous = chance(.3);
  p.cell.beta = float(uniform(-4, 4));
  p.layout = layout_of(p.cell);
  const bool large = chance(.1);
  p.batch = uniform(1, large ? 140 : 20), p.time = uniform(1, large ? 3 : 9);
  p.features = uniform(1, chance(.2) ? 130 : 20), p.units = uniform(1, chance(.2) ? 130 : 36);
  p.threads = uniform(1, 4);
  p.backwards = chance(.3), p.zero_output = chance(.3), p.every_output = chance(.8);
  const std::string possible = p.layout.peepholes;
  const bool peepholes = chance(.6);
  for (int which = 0; which < 3; which++)
    p.sees[which] = peepholes && chance(.6) && which < int(possible.size()) && LstmGates(p.cell.kind).has(which);
  if (chance(.6)) {
    p.mask.resize(size_t(p.batch) * p.time);
    const int kind = uniform(0, 3);
    for (int row = 0; row < p.batch; row++) {
      const int length = chance(.1) ? 0 : uniform(0, p.time);
      for (int t = 0; t < p.time; t++)
        p.mask[size_t(row) * p.time + t] = kind == 0 ? t < length : kind == 1 ? t >= length : chance(kind == 2 ? .5 : .95);
    }
  }
  const size_t gates = size_t(p.layout.gates) * p.units, states = size_t(p.batch) * p.units;
  p.arguments[X] = normal(size_t(p.batch) * p.time * p.features);
  p.arguments[H] = normal(states, .5);
  p.arguments[C] = normal(states, .5);
  p.arguments[KERNEL] = normal(p.features * gates, 1 / std::sqrt(p.features));
  p.arguments[RECURRENT] = normal(size_t(p.layout.recurrent_gates) * p.units * p.units, 1 / std::sqrt(p.units));
  p.arguments[BIAS] = normal(p.layout.bias_rows * gates, .3);
  p.arguments[PEEPHOLES] = normal(size_t(3) * p.units, .5);
  if (chance(.3)) {
    p.dropped.resize(states);
    for (double& d : p.dropped) d = chance(.5) ? 2 : 0;
  }
  p.at_outputs = normal(states * p.time), p.at_last = normal(states), p.at_h = normal(states), p.at_c = normal(states);
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
  const auto dropped = exact<float>(p.dropped);
  std::unique_ptr<bool[]> mask(new bool[p.mask.size()]);
  std::copy(p.mask.begin(), p.mask.end(), mask.get());

  gates::Sequences in;
  in.batch = p.batch, in.time = p.time, in.features = p.features, in.units = p.units, in.threads = p.threads;
  in.x = a[X].get(), in.h = a[H].get(), in.c = a[C].get();
  in.kernel = a[KERNEL].get(), in.recurrent_kernel = a[RECURRENT].get(), in.bias = a[BIAS].get();
  for (int which = 0; which < 3; which++)
    if (p.sees[which]) in.peepholes[which] = a[PEEPHOLES].get() + which * p.units;
  in.mask = p.mask.empty() ? nullptr : mask.get();
  in.recurrent_mask = p.dropped.empty() ? nullptr : dropped.get();
  in.go_backwards = p.backwards, in.zero_output_for_mask = p.zero_output;

  const size_t states = size_t(p.batch) * p.units, rows = size_t(p.batch) * p.time;
  const size_t padded = gates::padded_units(p.units);
  const auto outputs = unwritten(rows * p.units), last = unwritten(states), h = unwritten(states), c = unwritten(states);
  const auto tape = unwritten(rows * p.layout.slots * padded), memory = unwritten(rows * padded);
  gates::Results out;
  out.outputs = outputs.get(), out.last = last.get(), out.h = h.get(), out.c = c.get();
  out.gates = tape.get(), out.memory = memory.get();
  run_forward(p.cell, in, out);
  const Answer want = expected(p, p.arguments);
  if (!agree("outputs", outputs.get(), want.outputs) || !agree("last", last.get(), want.last)) return false;
  if (!agree("h", h.get(), want.h) || (p.layout.has_memory && !agree("c", c.get(), want.c))) return false;

  const auto short_last = unwritten(states), short_h = unwritten(states), short_c = unwritten(states);
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
  for (int which = 0; which < 3; which++) g.d_peepholes[which] = d[PEEPHOLES].get() + which * p.units;
  run_backward(p.cell, in, out, g);
  for (int k = 0; k < ARGUMENTS; k++) {
    if (k == C && !p.layout.has_memory) continue;
    Doubles along = normal(p.arguments[k].size()), moved[ARGUMENTS];
    if (k == PEEPHOLES)
      for (size_t i = 0; i < along.size(); i++)
        if (!p.sees[i / p.units]) along[i] = 0;
    double size = 0, slope = 0;
    for (size_t i = 0; i < along.size(); i++) {
      if (along[i] == 0) continue;
      slope += d[k][i] * along[i];
      size += std::pow(d[k][i] * along[i], 2);
    }
    const double small = 1e-5;
    double values[2];
    for (int side = 0; side < 2; side++) {
      for (int other = 0; other < ARGUMENTS; other++) moved[other] = p.arguments[other];
      for (size_t i = 0; i < along.size(); i++) moved[k][i] += (side ? -small : small) * along[i];
      values[side] = loss(p, moved);
    }
    if (!agree(names[k], slope, (values[0] - values[1]) / (2 * small), 1e-2 + std::sqrt(size), 1e-3)) return false;
  }
  return true;
}

// What is not finite in one row of x must reach that row's outputs and no other row.
bool check_not_finite(Problem p) {
  p.mask.clear();
  const int row = uniform(0, p.batch - 1);
  const auto run = [&](double value) {
    p.arguments[X][size_t(row) * p.time * p.features] = value;
    std::unique_ptr<float[]> a[ARGUMENTS];
    for (int k = 0; k < ARGUMENTS; k++) a[k] = exact<float>(p.arguments[k]);
    gates::Sequences in;
    in.batch = p.batch, in.time = p.time, in.features = p.features, in.units = p.units, in.threads = p.threads;
    in.x = a[X].get(), in.h = a[H].get(), in.c = a[C].get();
    in.kernel = a[KERNEL].get(), in.recurrent_kernel = a[RECURRENT].get(), in.bias = a[BIAS].get();
    for (int which = 0; which < 3; which++)
      if (p.sees[which]) in.peepholes[which] = a[PEEPHOLES].get() + which * p.units;
    const size_t states = size_t(p.batch) * p.units;
    Floats outputs(states * p.time), last(states), h(states), c(states);
    gates::Results out;
    out.outputs = outputs.data(), out.last = last.data(), out.h = h.data(), out.c = c.data();
    run_forward(p.cell, in, out);
    return outputs;
  };
  const Floats plain = run(0), with_nan = run(std::numeric_limits<double>::quiet_NaN());
  const size_t of_row = size_t(p.time) * p.units;
  for (size_t i = 0; i < plain.size(); i++) {
    const bool recurs = p.cell.kind != CellSpec::independent || p.sees[0];
    const bool here = i / of_row == size_t(row) && (recurs || i % of_row < size_t(p.units));
    if (here != bool(std::isnan(with_nan[i])) || (!here && plain[i] != with_nan[i]))
      return std::puts("a NaN went astray"), false;
  }
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
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  long done = 0;
  for (; Clock::now() < end; done++) {
    generator.seed(seed + done);
    const Problem p = random_problem();
    if (!check(p) || !check_not_finite(p) || (done % 100 == 0 && !check_in_child(p))) {
      std::printf("FAILED: fuzz 0.1 %lu (kind %d, batch %d, time %d, features %d, units %d)\n", seed + done,
                  p.cell.kind, p.batch, p.time, p.features, p.units);
      return 1;
    }
  }
  std::printf("%ld problems from seed %lu, no finding\n", done, seed);
}
