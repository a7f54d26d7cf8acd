// The cells: what each does with its pre-activations, forwards and backwards, for one vector of units.
//
// A cell's pre-activations and gates lie side by side in `slots` of one row of `units` floats each.
//   input slots   [0, x_end)            receive W x + b          x_gate: the kernel's gate of a slot
//   state slots   [h_begin, h_end)      receive U h + b          h_gate: the recurrent kernel's gate of a slot
//   reset slots   [h_end, reset_end)    receive U (r * h)        where a gate acts before the product
// forward()   z: pre-activations in, gates out;          s: the state, old in, new out.
// backward()  z: gates in, gradients of the pre-activations out;  s: the old state;
//             d: the gradient of the new state in, that of the old state out, apart from what reaches it
//             through the products.
// sigma' = sigma (1 - sigma) and tanh' = 1 - tanh^2: the gates are all a backward pass needs.
#pragma once

#include "vector.h"

namespace gates {

struct State {
  vec h, c;
};

inline vec sigmoid_slope(vec y) { return y * (1.f - y); }
inline vec tanh_slope(vec y) { return 1.f - y * y; }

// A gate that sees the memory: a + p * c. `gradient` adds up over rows and steps.
struct Peephole {
  const float* weight = nullptr;
  float* gradient = nullptr;

  vec see(vec a, vec memory, int u) const { return weight ? a + load(weight + u) * memory : a; }

  void add_gradient_to(float* sum) { gradient = sum; }

  // Adds what the gradient dz of the pre-activation sends through the peephole to the memory's gradient.
  vec back(vec d_memory, vec dz, vec memory, int u) const {
    if (!weight) return d_memory;
    add_to(gradient + u, dz * memory);
    return d_memory + load(weight + u) * dz;
  }
};

struct NoPeephole {
  static void add_gradient_to(float*) {}
  static vec see(vec a, vec, int) { return a; }
  static vec back(vec d_memory, vec, vec, int) { return d_memory; }
};

// h' = tanh(W x + U h + b)
struct Simple {
  static constexpr int slots = 1, x_end = 1, h_begin = 0, h_end = 1, reset_end = 1;
  static constexpr int gates = 1, bias_rows = 1;
  static constexpr bool has_memory = false;
  static constexpr int x_gate(int slot) { return slot; }
  static constexpr int h_gate(int slot) { return slot; }

  void forward(vec* z, State& s, int) const { s.h = z[0] = tanh(z[0]); }

  void backward(vec* z, State, State& d, int) const {
    z[0] = d.h * tanh_slope(z[0]);
    d.h = vec{};
  }
};

// i, f, o = sigma(...), g = tanh(...);  c' = f c + i g;  h' = o tanh(c').  With peepholes i and f see c, o sees c'
// or, with `previous`, c.
template <class Peep>
struct Lstm {
  static constexpr int slots = 4, x_end = 4, h_begin = 0, h_end = 4, reset_end = 4;
  static constexpr int gates = 4, bias_rows = 1;
  static constexpr bool has_memory = true;
  static constexpr int x_gate(int slot) { return slot; }
  static constexpr int h_gate(int slot) { return slot; }

  Peep p_i, p_f, p_o;
  bool previous = false;

  void add_peephole_gradients_to(float* const* sums) {
    p_i.add_gradient_to(sums[0]), p_f.add_gradient_to(sums[1]), p_o.add_gradient_to(sums[2]);
  }

  void forward(vec* z, State& s, int u) const {
    vec &i = z[0], &f = z[1], &g = z[2], &o = z[3];
    const vec c = s.c;
    i = sigmoid(p_i.see(i, c, u));
    f = sigmoid(p_f.see(f, c, u));
    g = tanh(g);
    s.c = f * c + i * g;
    o = sigmoid(p_o.see(o, previous ? c : s.c, u));
    s.h = o * tanh(s.c);
  }

  void backward(vec* z, State s, State& d, int u) const {
    const vec i = z[0], f = z[1], g = z[2], o = z[3];
    const vec c = f * s.c + i * g, squashed = tanh(c);
    const vec dz_o = d.h * squashed * sigmoid_slope(o);
    vec d_c = d.c + d.h * o * tanh_slope(squashed);
    if (!previous) d_c = p_o.back(d_c, dz_o, c, u);
    const vec dz_i = d_c * g * sigmoid_slope(i);
    const vec dz_f = d_c * s.c * sigmoid_slope(f);
    z[2] = d_c * i * tanh_slope(g);
    d.c = p_f.back(p_i.back(d_c * f, dz_i, s.c, u), dz_f, s.c, u);
    if (previous) d.c = p_o.back(d.c, dz_o, s.c, u);
    z[0] = dz_i, z[1] = dz_f, z[3] = dz_o;
    d.h = vec{};
  }
};

// As Lstm with i = 1 - f:  c' = f c + (1 - f) g = g + f (c - g)
template <class Peep>
struct Coupled {
  static constexpr int slots = 3, x_end = 3, h_begin = 0, h_end = 3, reset_end = 3;
  static constexpr int gates = 3, bias_rows = 1;
  static constexpr bool has_memory = true;
  static constexpr int x_gate(int slot) { return slot; }
  static constexpr int h_gate(int slot) { return slot; }

  Peep p_i, p_f, p_o;  // there is no gate i; its peephole stays empty
  bool previous = false;

  void add_peephole_gradients_to(float* const* sums) {
    p_i.add_gradient_to(sums[0]), p_f.add_gradient_to(sums[1]), p_o.add_gradient_to(sums[2]);
  }

  void forward(vec* z, State& s, int u) const {
    vec &f = z[0], &g = z[1], &o = z[2];
    const vec c = s.c;
    f = sigmoid(p_f.see(f, c, u));
    g = tanh(g);
    s.c = f * c + (1.f - f) * g;
    o = sigmoid(p_o.see(o, previous ? c : s.c, u));
    s.h = o * tanh(s.c);
  }

  void backward(vec* z, State s, State& d, int u) const {
    const vec f = z[0], g = z[1], o = z[2];
    const vec c = f * s.c + (1.f - f) * g, squashed = tanh(c);
    const vec dz_o = d.h * squashed * sigmoid_slope(o);
    vec d_c = d.c + d.h * o * tanh_slope(squashed);
    if (!previous) d_c = p_o.back(d_c, dz_o, c, u);
    const vec dz_f = d_c * (s.c - g) * sigmoid_slope(f);
    z[1] = d_c * (1.f - f) * tanh_slope(g);
    d.c = p_f.back(d_c * f, dz_f, s.c, u);
    if (previous) d.c = p_o.back(d.c, dz_o, s.c, u);
    z[0] = dz_f, z[2] = dz_o;
    d.h = vec{};
  }
};

// h' = k h + (1 - k) n, where the update gate u says how much is kept, k = u, or written, k = 1 - u.
struct Update {
  bool writes = false;

  vec kept(vec u) const { return writes ? 1.f - u : u; }
  vec slope(vec u) const { return writes ? -sigmoid_slope(u) : sigmoid_slope(u); }
};

// u, r = sigma(...);  n = tanh(W x + b + r * q) with q = U h + b_U
struct GruResetAfter {
  static constexpr int slots = 4, x_end = 3, h_begin = 1, h_end = 4, reset_end = 4;  // n u r q
  static constexpr int gates = 3, bias_rows = 2;
  static constexpr bool has_memory = false;
  static constexpr int x_gate(int slot) { return (slot + 2) % 3; }  // the kernels hold u r n
  static constexpr int h_gate(int slot) { return slot - 1; }

  Update update;

  void forward(vec* z, State& s, int) const {
    vec &n = z[0], &u = z[1], &r = z[2], &q = z[3];
    u = sigmoid(u);
    r = sigmoid(r);
    n = tanh(n + r * q);
    const vec k = update.kept(u);
    s.h = k * s.h + (1.f - k) * n;
  }

  void backward(vec* z, State s, State& d, int) const {
    const vec n = z[0], u = z[1], r = z[2], q = z[3];
    const vec k = update.kept(u), dz_n = d.h * (1.f - k) * tanh_slope(n);
    z[0] = dz_n;
    z[1] = d.h * (s.h - n) * update.slope(u);
    z[2] = dz_n * q * sigmoid_slope(r);
    z[3] = dz_n * r;
    d.h = d.h * k;
  }
};

// u, r = sigma(...);  n = tanh(W x + U (r * h) + b)
struct GruResetBefore {
  static constexpr int slots = 3, x_end = 3, h_begin = 0, h_end = 2, reset_end = 3;  // u r n
  static constexpr int gates = 3, bias_rows = 1;
  static constexpr bool has_memory = false;
  static constexpr int x_gate(int slot) { return slot; }
  static constexpr int h_gate(int slot) { return slot; }
  static constexpr int reset_slot = 1;

  Update update;

  // The first half: the gates that the second product waits for. Returns r * h.
  vec reset(vec* z, vec h) const {
    z[0] = sigmoid(z[0]);
    z[1] = sigmoid(z[1]);
    return z[1] * h;
  }

  void forward(vec* z, State& s, int) const {
    const vec k = update.kept(z[0]), n = z[2] = tanh(z[2]);
    s.h = k * s.h + (1.f - k) * n;
  }

  // Leaves r in its slot for reset_backward, which knows the gradient of r * h.
  void backward(vec* z, State s, State& d, int) const {
    const vec u = z[0], n = z[2], k = update.kept(u);
    z[0] = d.h * (s.h - n) * update.slope(u);
    z[2] = d.h * (1.f - k) * tanh_slope(n);
    d.h = d.h * k;
  }

  // r in, the gradient of its pre-activation out; returns what reaches h.
  static vec reset_backward(vec& r, vec h, vec d_product) {
    const vec d_h = d_product * r;
    r = d_product * h * sigmoid_slope(r);
    return d_h;
  }
};

}  // namespace gates
