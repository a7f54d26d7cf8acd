// The cells: what each does with its pre-activations, forwards and backwards, for one vector of units.
//
// To add a cell: write it here and put it into the table at the end.
//
// A cell's pre-activations and gates lie side by side in `slots` of one row of `units` floats each.
//   input slots   [0, x_end)            receive W x + b          x_gate: the kernel's gate of a slot
//   state slots   [h_begin, h_end)      receive U h + b          h_gate: the recurrent kernel's gate of a slot
//   late slots    [h_end, late_end)    receive U late()         where a product waits for other gates
// A cell that reads the memory of a level below finds it in the state as `below`, which it leaves as it is.
// forward()   z: pre-activations in, what backward() needs out;   s: the state, old in, new out.
// backward()  z: what forward() left in, gradients of the pre-activations out;   s: the old state;
//             d: the gradient of the new state in, that of the old state out, apart from what reaches it
//             through the products.
//
// Layer normalisation: in a cell that has groups of slots to be `normalized`, (z - mean) / sqrt(variance + epsilon) over
// all units of a group's slots replaces z. Then each slot is multiplied by its own weight vector, a gain, and its bias
// is added: that is what forward() and backward() find in z. The tape has the normalised slots.
//
// sigma' = sigma (1 - sigma) and tanh' = 1 - tanh^2: mostly the gates are all that a backward pass needs.
#pragma once

#include <array>
#include <initializer_list>

#include "job.h"
#include "vector.h"

namespace gates {

// A cell's states: the output h, and as many of the memories c, n, m, o as it has. `below` is no state of its own: the
// memory that the level below has after the step.
struct State {
  vec h, c, n, m, o, below;

  vec& memory(int k) { return k == 0 ? c : k == 1 ? n : k == 2 ? m : o; }
};

inline vec sigmoid_slope(vec y) { return y * (1.f - y); }

// A weight vector, one number for each unit, which acts on a state of its own unit: a + p * state. Mostly it is a
// peephole. `gradient` is the sum over rows and steps; both are null if the cell goes without.
struct Vector {
  const real* weight = nullptr;
  real* gradient = nullptr;

  vec see(vec a, vec state, int u) const { return weight ? a + load(weight + u) * state : a; }

  // Adds what the gradient dz of the pre-activation sends through the vector to the state's gradient.
  vec back(vec d_state, vec dz, vec state, int u) const {
    if (!weight) return d_state;
    add_to(gradient + u, dz * state);
    return d_state + load(weight + u) * dz;
  }

  // The same for a gain: weight * y.
  vec scale(vec y, int u) const { return weight ? load(weight + u) * y : y; }

  vec scale_back(vec d, vec y, int u) const {
    if (!weight) return d;
    add_to(gradient + u, d * y);
    return load(weight + u) * d;
  }
};

// phi, the activation of candidates and memories. Its derivative depends only on its value.
struct Squash {
  Activation kind = Activation::tanh;

  vec operator()(vec a) const {
    if (kind == Activation::tanh) return tanh(a);
    if (kind == Activation::relu) return a < fill(0.f) ? fill(0.f) : a;  // a NaN compares false and so passes
    return a;
  }

  vec slope(vec y) const {
    if (kind == Activation::tanh) return 1.f - y * y;
    if (kind == Activation::relu) return y > fill(0.f) ? fill(1.f) : fill(0.f);
    return fill(1.f);
  }
};

// Slots [begin, end).
struct Group {
  int begin, end;
};

// Slots in the order of the kernels. Every gate hears the input, and the state unless `recurs` is false.
template <int n, bool recurs = true>
struct InOrder {
  static constexpr int slots = n, x_end = n, h_begin = recurs ? 0 : n, h_end = n, late_end = n;
  static constexpr int gates = n, bias_rows = 1;
  static constexpr int memories = 0;           // states besides h
  static constexpr bool reads_below = false;   // the memory of the level below
  // The states that U is multiplied by, side by side: 0 is h, 1 the first memory; and on which recurrent dropout acts.
  static constexpr int heard = 1, heard_dropped = 0;
  static constexpr int heard_state(int) { return 0; }
  static constexpr bool drops_late = true;     // recurrent dropout acts on late() too
  static constexpr const char* vectors = "";   // names, a letter each, of the weight vectors that it may have
  static constexpr std::array<Group, 0> normalized{};  // groups of slots
  static constexpr bool normalizes_memory = false;     // the output shows the normalised memory
  static constexpr int x_gate(int slot) { return slot; }
  static constexpr int h_gate(int slot) { return slot; }

  std::array<Vector, 0> own;  // the weight vectors, in the order of `vectors`
};

// h' = phi(W x + U h + b)
struct Simple : InOrder<1> {
  static constexpr const char* name = "simple";

  Squash phi;

  explicit Simple(const CellSpec& spec = {}) : phi{spec.activation} {}

  void forward(vec* z, State& s, int) const { s.h = z[0] = phi(z[0]); }

  void backward(vec* z, State, State& d, int) const {
    z[0] = d.h * phi.slope(z[0]);
    d.h = vec{};
  }
};

// h' = phi(W x + u * h + b) with a vector u
struct IndependentlyRecurrent : InOrder<1, false> {
  static constexpr const char* name = "independent";
  static constexpr const char* vectors = "u";

  Squash phi;
  std::array<Vector, 1> own;

  explicit IndependentlyRecurrent(const CellSpec& spec = {}) : phi{spec.activation} {}

  void forward(vec* z, State& s, int u) const { s.h = z[0] = phi(own[0].see(z[0], s.h, u)); }

  void backward(vec* z, State s, State& d, int u) const {
    z[0] = d.h * phi.slope(z[0]);
    d.h = own[0].back(vec{}, z[0], s.h, u);
  }
};

// h' = phi(W x + U h + b) where a unit's period divides the clock, which is a memory of every unit, else h.
struct Clockwork : Simple {
  static constexpr const char* name = "clockwork";
  static constexpr int memories = 1;
  static constexpr const char* vectors = "p";

  float cycle;  // the clock starts again after so many steps
  std::array<Vector, 1> own;

  explicit Clockwork(const CellSpec& spec = {}) : Simple(spec), cycle(spec.constant) {}

  auto ticks(vec clock, int u) const { return remainder(trunc(clock), own[0].scale(fill(1.f), u)) == fill(0.f); }

  void forward(vec* z, State& s, int u) const {
    z[0] = phi(z[0]);
    s.h = ticks(s.c, u) ? z[0] : s.h;
    s.c = remainder(s.c + 1.f, fill(cycle));
  }

  void backward(vec* z, State s, State& d, int u) const {
    const auto moves = ticks(s.c, u);
    z[0] = moves ? d.h * phi.slope(z[0]) : vec{};
    d.h = moves ? vec{} : d.h;
  }
};

// A gate that is missing is 1; coupled is i = 1 - f.
enum class LstmForm { full, no_input_gate, no_forget_gate, no_output_gate, coupled };

constexpr bool has_i(LstmForm form) { return form != LstmForm::no_input_gate && form != LstmForm::coupled; }
constexpr bool has_f(LstmForm form) { return form != LstmForm::no_forget_gate; }
constexpr bool has_o(LstmForm form) { return form != LstmForm::no_output_gate; }

constexpr const char* name_of(LstmForm form, bool peepholes) {
  constexpr const char* names[][2] = {{"lstm", "lstm_peepholes"},
                                      {"no_input_gate", "no_input_gate_peepholes"},
                                      {"no_forget_gate", "no_forget_gate_peepholes"},
                                      {"no_output_gate", "no_output_gate_peepholes"},
                                      {"coupled", "coupled_peepholes"}};
  return names[int(form)][peepholes];
}

// i, f, o = sigma(...), g = phi(...);  c' = f c + i g;  h' = o phi(c').  With peepholes i and f see c, o sees c'
// or, with `previous`, c. Where the gates recur, i, f and o are memories too, and U is multiplied by i, f, o, h.
template <LstmForm form, bool peepholes, bool gates_recur = false>
struct Lstm : InOrder<1 + has_i(form) + has_f(form) + has_o(form)> {
  static constexpr const char* name = gates_recur ? "full_gate_recurrence" : name_of(form, peepholes);
  static constexpr int I = 0, F = has_i(form), G = F + has_f(form), O = G + 1;
  static constexpr int memories = gates_recur ? 4 : 1;
  // h, which may be large, comes last: products that are added to its own are rounded as these are.
  static constexpr int heard = gates_recur ? 4 : 1, heard_dropped = heard - 1;
  static constexpr int heard_state(int which) { return which < heard_dropped ? which + 2 : 0; }
  static constexpr const char* vectors = peepholes ? "ifo" : "";
  enum Peephole { p_i, p_f, p_o };

  Squash candidate, output;
  bool previous;
  std::array<Vector, peepholes ? 3 : 0> own;

  explicit Lstm(const CellSpec& spec = {})
      : candidate{spec.activation}, output{spec.output_activation}, previous(spec.output_previous) {}

  template <Peephole which>
  vec see(vec a, vec memory, int u) const {
    if constexpr (peepholes) return own[which].see(a, memory, u);
    else return a;
  }

  template <Peephole which>
  vec back(vec d_memory, vec dz, vec memory, int u) const {
    if constexpr (peepholes) return own[which].back(d_memory, dz, memory, u);
    else return d_memory;
  }

  static vec input_gate(const vec* z) {
    if constexpr (form == LstmForm::coupled) return 1.f - z[F];
    else if constexpr (has_i(form)) return z[I];
    else return fill(1.f);
  }

  static vec forget_gate(const vec* z) {
    if constexpr (has_f(form)) return z[F];
    else return fill(1.f);
  }

  static vec output_gate(const vec* z) {
    if constexpr (has_o(form)) return z[O];
    else return fill(1.f);
  }

  void forward(vec* z, State& s, int u) const {
    const vec c = s.c;
    if constexpr (has_i(form)) z[I] = sigmoid(see<p_i>(z[I], c, u));
    if constexpr (has_f(form)) z[F] = sigmoid(see<p_f>(z[F], c, u));
    z[G] = candidate(z[G]);
    s.c = forget_gate(z) * c + input_gate(z) * z[G];
    if constexpr (has_o(form)) z[O] = sigmoid(see<p_o>(z[O], previous ? c : s.c, u));
    s.h = output_gate(z) * output(s.c);
    if constexpr (gates_recur) s.n = z[I], s.m = z[F], s.o = z[O];
  }

  // What reaches a gate's pre-activation, from the gradient of the gate and of the state that it becomes.
  static vec through_gate(vec d_gate, vec d_state, vec gate) {
    return (gates_recur ? d_gate + d_state : d_gate) * sigmoid_slope(gate);
  }

  void backward(vec* z, State s, State& d, int u) const {
    const vec i = input_gate(z), f = forget_gate(z), g = z[G], o = output_gate(z);
    const vec c = f * s.c + i * g, squashed = output(c);
    const vec dz_o = through_gate(d.h * squashed, d.o, o);
    vec d_c = d.c + d.h * o * output.slope(squashed);
    if constexpr (has_o(form)) {
      if (!previous) d_c = back<p_o>(d_c, dz_o, c, u);
      z[O] = dz_o;
    }
    z[G] = d_c * i * candidate.slope(g);
    d.c = d_c * f;
    if constexpr (has_i(form)) {
      z[I] = through_gate(d_c * g, d.n, i);
      d.c = back<p_i>(d.c, z[I], s.c, u);
    }
    if constexpr (has_f(form)) {
      z[F] = through_gate(d_c * (form == LstmForm::coupled ? s.c - g : s.c), d.m, f);
      d.c = back<p_f>(d.c, z[F], s.c, u);
    }
    if (has_o(form) && previous) d.c = back<p_o>(d.c, dz_o, s.c, u);
    d.h = vec{};
    if constexpr (gates_recur) d.n = d.m = d.o = vec{};
  }
};

// An LSTM whose gates see all memories: i and f P c, o P c' or, with `before`, P c. U is multiplied by h and c.
// Of P c' the product is late; q is its slot.
template <bool before>
struct FullPeepholes : Lstm<LstmForm::full, false> {
  using Base = Lstm<LstmForm::full, false>;
  static constexpr const char* name = before ? "full_peepholes_previous" : "full_peepholes";
  static constexpr int Q = 4, slots = before ? 4 : 5, late_end = slots;
  static constexpr int heard = 2, heard_dropped = 0;
  static constexpr int heard_state(int which) { return which; }
  static constexpr bool drops_late = false;

  explicit FullPeepholes(const CellSpec& spec = {}) : Base(spec) {}

  vec late(vec* z, State s) const {
    for (int gate : {I, F}) z[gate] = sigmoid(z[gate]);
    z[G] = candidate(z[G]);
    return z[F] * s.c + z[I] * z[G];
  }

  void forward(vec* z, State& s, int u) const {
    if constexpr (before) {
      Base::forward(z, s, u);
    } else {
      s.c = z[F] * s.c + z[I] * z[G];
      z[O] = sigmoid(z[O] + z[Q]);
      s.h = z[O] * output(s.c);
    }
  }

  void backward(vec* z, State s, State& d, int u) const {
    Base::backward(z, s, d, u);
    if constexpr (!before) z[Q] = z[O];
  }

  // What reaches c' through P.
  vec late_backward(const vec* z, State s, vec d_late, vec* dz, State& d) const {
    const vec i = z[I], f = z[F], g = z[G];
    dz[I] += d_late * g * sigmoid_slope(i);
    dz[F] += d_late * s.c * sigmoid_slope(f);
    dz[G] += d_late * i * candidate.slope(g);
    d.c += d_late * f;
    return f * s.c + i * g;
  }
};

// A level of a depth-gated stack above the first: an LSTM that lets the memory below in, by a gate that U h does not
// reach: d = sigma(W x + q c + l below + b);  c' = f c + i g + d below.
struct UpperLevel : Lstm<LstmForm::full, false> {
  using Base = Lstm<LstmForm::full, false>;
  static constexpr const char* name = "upper_level";
  static constexpr int D = 4, slots = 5, x_end = 5, gates = 5;
  static constexpr bool reads_below = true;
  static constexpr const char* vectors = "ql";
  enum Weight { q, l };

  std::array<Vector, 2> own;

  explicit UpperLevel(const CellSpec& spec = {}) : Base(spec) {}

  void forward(vec* z, State& s, int u) const {
    for (int gate : {I, F, O}) z[gate] = sigmoid(z[gate]);
    z[G] = candidate(z[G]);
    z[D] = sigmoid(own[l].see(own[q].see(z[D], s.c, u), s.below, u));
    s.c = z[F] * s.c + z[I] * z[G] + z[D] * s.below;
    s.h = z[O] * output(s.c);
  }

  void backward(vec* z, State s, State& d, int u) const {
    const vec i = z[I], f = z[F], g = z[G], o = z[O], gate = z[D];
    const vec squashed = output(f * s.c + i * g + gate * s.below), d_c = d.c + d.h * o * output.slope(squashed);
    z[I] = d_c * g * sigmoid_slope(i);
    z[F] = d_c * s.c * sigmoid_slope(f);
    z[G] = d_c * i * candidate.slope(g);
    z[O] = d.h * squashed * sigmoid_slope(o);
    z[D] = d_c * s.below * sigmoid_slope(gate);
    d.c = own[q].back(d_c * f, z[D], s.c, u);
    d.below = own[l].back(d_c * gate, z[D], s.below, u);
    d.h = vec{};
  }
};

// i, f, o = sigma(W x + U c + b), g = phi(W x + b);  c' = f c + i g;  h' = phi_h(o c')
struct PeepholeOnly : InOrder<4> {
  static constexpr const char* name = "peephole_only";
  static constexpr int h_begin = 1;  // g i f o
  static constexpr int memories = 1;
  static constexpr int heard_state(int) { return 1; }
  static constexpr int x_gate(int slot) { return slot == 0 ? 2 : slot < 3 ? slot - 1 : slot; }  // the kernel: i f g o
  static constexpr int h_gate(int slot) { return slot - 1; }

  Squash phi, output;

  explicit PeepholeOnly(const CellSpec& spec = {}) : phi{spec.activation}, output{spec.output_activation} {}

  void forward(vec* z, State& s, int) const {
    const vec g = z[0] = phi(z[0]), i = z[1] = sigmoid(z[1]), f = z[2] = sigmoid(z[2]), o = z[3] = sigmoid(z[3]);
    s.c = f * s.c + i * g;
    s.h = output(o * s.c);
  }

  void backward(vec* z, State s, State& d, int) const {
    const vec g = z[0], i = z[1], f = z[2], o = z[3];
    const vec c = f * s.c + i * g, d_shown = d.h * output.slope(output(o * c)), d_c = d.c + d_shown * o;
    z[0] = d_c * i * phi.slope(g);
    z[1] = d_c * g * sigmoid_slope(i);
    z[2] = d_c * s.c * sigmoid_slope(f);
    z[3] = d_shown * c * sigmoid_slope(o);
    d.c = d_c * f;
    d.h = vec{};
  }
};

// f = sigma(s), i = 1 - sigma(s - beta) = sigma(beta - s) with s = W x + U h + b;  g = phi(...);  h' = f h + i g.
// The tape has s, from which f and i follow; neither gives the other without loss where it is close to 0 or 1.
struct Janet : InOrder<2> {
  static constexpr const char* name = "janet";

  Squash phi;
  float beta;

  explicit Janet(const CellSpec& spec = {}) : phi{spec.activation}, beta(spec.constant) {}

  void forward(vec* z, State& s, int) const {
    const vec f = sigmoid(z[0]), i = sigmoid(beta - z[0]), g = z[1] = phi(z[1]);
    s.h = f * s.h + i * g;
  }

  void backward(vec* z, State s, State& d, int) const {
    const vec f = sigmoid(z[0]), i = sigmoid(beta - z[0]), g = z[1];
    z[0] = d.h * (s.h * sigmoid_slope(f) - g * sigmoid_slope(i));
    z[1] = d.h * i * phi.slope(g);
    d.h = d.h * f;
  }
};

// u = sigma(W x + b);  n = phi(...);  h' = (1 - u) h + u n
struct MinGru : InOrder<2, false> {
  static constexpr const char* name = "min_gru";

  Squash phi;

  explicit MinGru(const CellSpec& spec = {}) : phi{spec.activation} {}

  void forward(vec* z, State& s, int) const {
    const vec u = z[0] = sigmoid(z[0]), n = z[1] = phi(z[1]);
    s.h = (1.f - u) * s.h + u * n;
  }

  void backward(vec* z, State s, State& d, int) const {
    const vec u = z[0], n = z[1];
    z[0] = d.h * (n - s.h) * sigmoid_slope(u);
    z[1] = d.h * u * phi.slope(n);
    d.h = d.h * (1.f - u);
  }
};

// k_i, k_f = W x + b;  f = sigma(s(-k_i) - s(-k_f)) with the softplus s, i = 1 - f;  g = phi(...);  h' = f h + i g.
// So f : i = 1 + e^-k_i : 1 + e^-k_f. The tape has k_i and k_f: f does not say how far each of the two gates is open.
struct MinLstm : InOrder<3, false> {
  static constexpr const char* name = "min_lstm";

  Squash phi;

  explicit MinLstm(const CellSpec& spec = {}) : phi{spec.activation} {}

  struct Shares {
    vec f, i, of_i, of_f;  // and the parts e^-k_i of f and e^-k_f of i
  };

  // Both sides times e^m with m = min(0, k_i, k_f), so that nothing overflows and their sum is at least one.
  static Shares shares(vec k_i, vec k_f) {
    const vec least = k_i < k_f ? k_i : k_f, m = least < fill(0.f) ? least : fill(0.f);
    const vec one = exp(m), e_i = exp(m - k_i), e_f = exp(m - k_f), scale = 1.f / (one + e_i + one + e_f);
    return {(one + e_i) * scale, (one + e_f) * scale, e_i * scale, e_f * scale};
  }

  void forward(vec* z, State& s, int) const {
    const Shares to = shares(z[0], z[1]);
    const vec g = z[2] = phi(z[2]);
    s.h = to.f * s.h + to.i * g;
  }

  // df/dk_i = -f i sigma(-k_i), where f sigma(-k_i) is of_i, and df/dk_f = f i sigma(-k_f), where i sigma(-k_f) is
  // of_f.
  void backward(vec* z, State s, State& d, int) const {
    const Shares to = shares(z[0], z[1]);
    const vec g = z[2], d_f = d.h * (s.h - g);
    z[0] = -d_f * to.i * to.of_i;
    z[1] = d_f * to.f * to.of_f;
    z[2] = d.h * to.i * phi.slope(g);
    d.h = d.h * to.f;
  }
};

// log i = W x + U h + b, log f likewise or log sigma of it, o = sigma(...), g = phi(...);  m' = max(log f + m, log i);
// i = e^(log i - m'), f = e^(log f + m - m');  c' = f c + i g;  n' = f n + i;  h' = o c' / n'.
// The tape has the pre-activations of i and f.
template <bool exponential>
struct Slstm : InOrder<4> {
  static constexpr const char* name = exponential ? "slstm_exponential" : "slstm";
  static constexpr int memories = 3;

  Squash phi;

  explicit Slstm(const CellSpec& spec = {}) : phi{spec.activation} {}

  static vec log_forget(vec a) {
    if constexpr (exponential) return a;
    else return (a < fill(0.f) ? a : fill(0.f)) - log_1p(exp(-abs(a)));
  }

  struct Gates {
    vec i, f, m;
    decltype(vec{} < vec{}) keeps;  // where m' = log f + m
  };

  static Gates gates_of(const vec* z, vec m) {
    const vec log_i = z[0], log_f = log_forget(z[1]) + m;
    const auto keeps = log_f >= log_i;
    const vec new_m = keeps ? log_f : log_i;
    return {exp(log_i - new_m), exp(log_f - new_m), new_m, keeps};
  }

  void forward(vec* z, State& s, int) const {
    const Gates to = gates_of(z, s.m);
    const vec g = z[2] = phi(z[2]), o = z[3] = sigmoid(z[3]);
    s.c = to.f * s.c + to.i * g;
    s.n = to.f * s.n + to.i;
    s.m = to.m;
    s.h = o * s.c / s.n;
  }

  // The gradient of m', d.m - d_i - d_f, goes to the larger of its two arguments.
  void backward(vec* z, State s, State& d, int) const {
    const Gates to = gates_of(z, s.m);
    const vec g = z[2], o = z[3];
    const vec n = to.f * s.n + to.i, ratio = (to.f * s.c + to.i * g) / n, d_ratio = d.h * o / n;
    const vec d_c = d.c + d_ratio, d_n = d.n - d_ratio * ratio;
    const vec d_i = (d_c * g + d_n) * to.i, d_f = (d_c * s.c + d_n * s.n) * to.f;
    const vec d_log_f = to.keeps ? d.m - d_i : d_f;
    z[0] = to.keeps ? d_i : d.m - d_f;
    z[1] = exponential ? d_log_f : d_log_f * sigmoid(-z[1]);
    z[2] = d_c * to.i * phi.slope(g);
    z[3] = d.h * ratio * sigmoid_slope(o);
    d.c = d_c * to.f;
    d.n = d_n * to.f;
    d.m = d_log_f;
    d.h = vec{};
  }
};

// h' = k h + (1 - k) n, where the update gate u says how much is kept, k = u, or written, k = 1 - u.
struct Update {
  bool writes = false;

  vec kept(vec u) const { return writes ? 1.f - u : u; }
  vec slope(vec u) const { return writes ? -sigmoid_slope(u) : sigmoid_slope(u); }
};

// u, r = sigma(...);  n = phi(W x + b + r * q) with q = U h + b_U
struct GruResetAfter : InOrder<3> {
  static constexpr const char* name = "gru_reset_after";
  static constexpr int slots = 4, x_end = 3, h_begin = 1, h_end = 4, late_end = 4;  // n u r q
  static constexpr int bias_rows = 2;
  static constexpr int x_gate(int slot) { return (slot + 2) % 3; }  // the kernels hold u r n
  static constexpr int h_gate(int slot) { return slot - 1; }

  Squash phi;
  Update update;

  explicit GruResetAfter(const CellSpec& spec = {}) : phi{spec.activation}, update{spec.update_writes} {}

  void forward(vec* z, State& s, int) const {
    vec &n = z[0], &u = z[1], &r = z[2], &q = z[3];
    u = sigmoid(u);
    r = sigmoid(r);
    n = phi(n + r * q);
    const vec k = update.kept(u);
    s.h = k * s.h + (1.f - k) * n;
  }

  void backward(vec* z, State s, State& d, int) const {
    const vec n = z[0], u = z[1], r = z[2], q = z[3];
    const vec k = update.kept(u), dz_n = d.h * (1.f - k) * phi.slope(n);
    z[0] = dz_n;
    z[1] = d.h * (s.h - n) * update.slope(u);
    z[2] = dz_n * q * sigmoid_slope(r);
    z[3] = dz_n * r;
    d.h = d.h * k;
  }
};

// u, r = sigma(...);  n = phi(W x + U (r * h) + b).  With one_gate u and r are the same: slots u n, else u r n.
template <bool one_gate>
struct GruResetBefore : InOrder<one_gate ? 2 : 3> {
  static constexpr const char* name = one_gate ? "minimal_gated" : "gru_reset_before";
  static constexpr int R = one_gate ? 0 : 1, N = R + 1;
  static constexpr int h_end = N;

  Squash phi;
  Update update;

  explicit GruResetBefore(const CellSpec& spec = {}) : phi{spec.activation}, update{one_gate || spec.update_writes} {}

  // The first half of forward(): the gates that the second product waits for. Returns what U is multiplied by.
  vec late(vec* z, State s) const {
    for (int gate = 0; gate <= R; gate++) z[gate] = sigmoid(z[gate]);
    return z[R] * s.h;
  }

  void forward(vec* z, State& s, int) const {
    const vec k = update.kept(z[0]), n = z[N] = phi(z[N]);
    s.h = k * s.h + (1.f - k) * n;
  }

  // Leaves in r's slot what reaches r apart from r * h; late_backward() adds the rest.
  void backward(vec* z, State s, State& d, int) const {
    const vec u = z[0], n = z[N], k = update.kept(u);
    z[R] = vec{};
    z[0] = d.h * (s.h - n) * update.slope(u);
    z[N] = d.h * (1.f - k) * phi.slope(n);
    d.h = d.h * k;
  }

  // z: what forward() left;  d_late: the gradient of late();  adds what it sends to the pre-activations and the old
  // state. Returns late().
  vec late_backward(const vec* z, State s, vec d_late, vec* dz, State& d) const {
    dz[R] += d_late * s.h * sigmoid_slope(z[R]);
    d.h += d_late * z[R];
    return z[R] * s.h;
  }
};

// h' = phi(LN(W x + U h))
struct LayerNormSimple : Simple {
  static constexpr const char* name = "layer_norm_simple";
  static constexpr const char* vectors = "n";
  static constexpr std::array<Group, 1> normalized{Group{0, 1}};

  float epsilon;
  std::array<Vector, 1> own;

  explicit LayerNormSimple(const CellSpec& spec = {}) : Simple(spec), epsilon(spec.constant) {}

  void backward(vec* z, State s, State& d, int u) const {
    z[0] = phi(z[0]);
    Simple::backward(z, s, d, u);
  }
};

// A GRU that resets after the product, of u and r from LN(W x) + LN(U h), n from LN(W x) and q from LN(U h). Of each
// product u and r are normalised together, the third by itself.
struct LayerNormGru : InOrder<3> {
  static constexpr const char* name = "layer_norm_gru";
  static constexpr int slots = 6, h_begin = 3, h_end = 6, late_end = 6;  // u r n of W x, u r q of U h
  static constexpr int bias_rows = 2;
  static constexpr int h_gate(int slot) { return slot - 3; }
  static constexpr const char* vectors = "urnURQ";
  static constexpr std::array<Group, 4> normalized{Group{0, 2}, Group{2, 3}, Group{3, 5}, Group{5, 6}};

  GruResetAfter gru;
  float epsilon;
  std::array<Vector, 6> own;

  explicit LayerNormGru(const CellSpec& spec = {}) : gru(spec), epsilon(spec.constant) {}

  void forward(vec* z, State& s, int u) const {
    vec of_gru[] = {z[2], z[0] + z[3], z[1] + z[4], z[5]};
    gru.forward(of_gru, s, u);
  }

  void backward(vec* z, State s, State& d, int u) const {
    vec of_gru[] = {z[2], z[0] + z[3], z[1] + z[4], z[5]};
    State after = s;
    gru.forward(of_gru, after, u);
    gru.backward(of_gru, s, d, u);
    z[2] = of_gru[0];
    z[0] = z[3] = of_gru[1];
    z[1] = z[4] = of_gru[2];
    z[5] = of_gru[3];
  }
};

// i, f, o = sigma(...), g = phi(...) of LN(W x) + LN(U h) + b;  c' = f c + i g;  h' = o phi(LN(c')), where LN has a gain
// and a shift. `carries_normalized`: the next step gets LN(c') as its c.
// LN(c') needs all units of c': forward() leaves o in the place of h', and show() makes h' of it. On the way back
// show_backward() comes first.
template <bool carries_normalized>
struct LayerNormLstm : InOrder<4> {
  static constexpr const char* name = carries_normalized ? "layer_norm_lstm_normalized" : "layer_norm_lstm";
  static constexpr int slots = 8, h_begin = 4, h_end = 8, late_end = 8;  // i f g o of W x, i f g o of U h
  static constexpr int h_gate(int slot) { return slot - 4; }
  static constexpr int I = 0, F = 1, G = 2, O = 3;
  static constexpr int memories = 1;
  static constexpr const char* vectors = "ifgoIFGOsb";  // the gains of the slots, gain and shift of the memory
  static constexpr std::array<Group, 2> normalized{Group{0, 4}, Group{4, 8}};
  static constexpr bool normalizes_memory = true;
  enum Memory { gain = slots, shift };

  Squash phi;
  float epsilon;
  std::array<Vector, 10> own;

  explicit LayerNormLstm(const CellSpec& spec = {}) : phi{spec.activation}, epsilon(spec.constant) {}

  // Makes gates of the pre-activations; returns c'.
  vec remember(vec* z, State s) const {
    for (int gate = I; gate <= O; gate++) z[gate] += z[h_begin + gate];
    for (int gate : {I, F, O}) z[gate] = sigmoid(z[gate]);
    z[G] = phi(z[G]);
    return z[F] * s.c + z[I] * z[G];
  }

  void forward(vec* z, State& s, int) const {
    s.c = remember(z, s);
    s.h = z[O];
  }

  vec seen(vec normalized_c, int u) const { return own[shift].see(own[gain].scale(normalized_c, u), fill(1.f), u); }

  void show(vec normalized_c, State& s, int u) const {
    const vec c = seen(normalized_c, u);
    s.h *= phi(c);
    if (carries_normalized) s.c = c;
  }

  // z: gates in, o replaced by the gradient of its pre-activation;  d: of the new state in, what reaches c' past LN out.
  // Returns the gradient of the normalised c'.
  vec show_backward(vec* z, vec normalized_c, State& d, int u) const {
    const vec o = z[O], squashed = phi(seen(normalized_c, u));
    z[O] = d.h * squashed * sigmoid_slope(o);
    vec d_seen = d.h * o * phi.slope(squashed);
    if (carries_normalized) {
      d_seen += d.c;
      d.c = vec{};
    }
    own[shift].back(vec{}, d_seen, fill(1.f), u);
    d.h = vec{};
    return own[gain].scale_back(d_seen, normalized_c, u);
  }

  // z: as show_backward() left it;  d: the gradient of c' in.
  void backward(vec* z, State s, State& d, int) const {
    const vec i = z[I], f = z[F], g = z[G];
    z[I] = d.c * g * sigmoid_slope(i);
    z[F] = d.c * s.c * sigmoid_slope(f);
    z[G] = d.c * i * phi.slope(g);
    for (int gate = I; gate <= O; gate++) z[h_begin + gate] = z[gate];
    d.c = d.c * f;
  }
};

// Every cell. Its place is its CellSpec::kind.
template <class... Cells>
struct Table {
  static constexpr std::array<const char*, sizeof...(Cells)> names{Cells::name...};

  // Calls `use` with the cell that a spec describes.
  template <class Use>
  static void with_cell(const CellSpec& spec, Use use) {
    int place = 0;
    (void)std::initializer_list<int>{(place++ == spec.kind ? use(Cells(spec)), 0 : 0)...};
  }
};

using AllCells = Table<Simple, IndependentlyRecurrent, Lstm<LstmForm::full, false>, Lstm<LstmForm::full, true>,
                       Lstm<LstmForm::no_input_gate, false>, Lstm<LstmForm::no_input_gate, true>,
                       Lstm<LstmForm::no_forget_gate, false>, Lstm<LstmForm::no_forget_gate, true>,
                       Lstm<LstmForm::no_output_gate, false>, Lstm<LstmForm::no_output_gate, true>,
                       Lstm<LstmForm::coupled, false>, Lstm<LstmForm::coupled, true>, PeepholeOnly, GruResetAfter,
                       GruResetBefore<false>, GruResetBefore<true>, Janet, MinGru, MinLstm, Slstm<false>, Slstm<true>,
                       LayerNormSimple, LayerNormGru, LayerNormLstm<false>, LayerNormLstm<true>, Clockwork,
                       Lstm<LstmForm::full, true, true>, FullPeepholes<false>, FullPeepholes<true>, UpperLevel>;

}  // namespace gates
