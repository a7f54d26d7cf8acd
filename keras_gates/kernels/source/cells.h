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

#include "job.h"
#include "vector.h"

namespace gates {

struct State {
  vec h, c;
};

inline vec sigmoid_slope(vec y) { return y * (1.f - y); }

// A gate that sees one state of its own unit, mostly the memory: a + p * c. `gradient` adds up over rows and steps.
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

// phi, the squashing of candidates and memories. Its slope hangs on its value alone.
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

// Slots in the order of the kernels. Every gate hears the input, and the state unless `recurs` is false.
template <int n, bool recurs = true>
struct InOrder {
  static constexpr int slots = n, x_end = n, h_begin = recurs ? 0 : n, h_end = n, reset_end = n;
  static constexpr int gates = n, bias_rows = 1;
  static constexpr bool has_memory = false, hears_memory = false;  // U c instead of U h
  static constexpr const char* peepholes = "";  // the gates that may have one, as Sequences counts them
  static constexpr int x_gate(int slot) { return slot; }
  static constexpr int h_gate(int slot) { return slot; }

  static void add_peephole_gradients_to(float* const*) {}
};

// h' = phi(W x + U h + b)
struct Simple : InOrder<1> {
  Squash phi;

  void forward(vec* z, State& s, int) const { s.h = z[0] = phi(z[0]); }

  void backward(vec* z, State, State& d, int) const {
    z[0] = d.h * phi.slope(z[0]);
    d.h = vec{};
  }
};

// h' = phi(W x + p * h + b)
struct IndependentlyRecurrent : InOrder<1, false> {
  static constexpr const char* peepholes = "n";

  Squash phi;
  Peephole p;

  void add_peephole_gradients_to(float* const* sums) { p.add_gradient_to(sums[0]); }

  void forward(vec* z, State& s, int u) const { s.h = z[0] = phi(p.see(z[0], s.h, u)); }

  void backward(vec* z, State s, State& d, int u) const {
    z[0] = d.h * phi.slope(z[0]);
    d.h = p.back(vec{}, z[0], s.h, u);
  }
};

// A gate that is missing is 1; coupled is i = 1 - f.
enum class LstmForm { full, no_input_gate, no_forget_gate, no_output_gate, coupled };

constexpr bool has_i(LstmForm form) { return form != LstmForm::no_input_gate && form != LstmForm::coupled; }
constexpr bool has_f(LstmForm form) { return form != LstmForm::no_forget_gate; }
constexpr bool has_o(LstmForm form) { return form != LstmForm::no_output_gate; }

// i, f, o = sigma(...), g = phi(...);  c' = f c + i g;  h' = o phi(c').  With peepholes i and f see c, o sees c'
// or, with `previous`, c.
template <LstmForm form, class Peep>
struct Lstm : InOrder<1 + has_i(form) + has_f(form) + has_o(form)> {
  static constexpr int I = 0, F = has_i(form), G = F + has_f(form), O = G + 1;
  static constexpr bool has_memory = true;
  static constexpr const char* peepholes = "ifo";

  Squash candidate, output;
  Peep p_i, p_f, p_o;  // that of a missing gate stays empty
  bool previous = false;

  void add_peephole_gradients_to(float* const* sums) {
    p_i.add_gradient_to(sums[0]), p_f.add_gradient_to(sums[1]), p_o.add_gradient_to(sums[2]);
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
    if constexpr (has_i(form)) z[I] = sigmoid(p_i.see(z[I], c, u));
    if constexpr (has_f(form)) z[F] = sigmoid(p_f.see(z[F], c, u));
    z[G] = candidate(z[G]);
    s.c = forget_gate(z) * c + input_gate(z) * z[G];
    if constexpr (has_o(form)) z[O] = sigmoid(p_o.see(z[O], previous ? c : s.c, u));
    s.h = output_gate(z) * output(s.c);
  }

  void backward(vec* z, State s, State& d, int u) const {
    const vec i = input_gate(z), f = forget_gate(z), g = z[G], o = output_gate(z);
    const vec c = f * s.c + i * g, squashed = output(c);
    const vec dz_o = d.h * squashed * sigmoid_slope(o);
    vec d_c = d.c + d.h * o * output.slope(squashed);
    if constexpr (has_o(form)) {
      if (!previous) d_c = p_o.back(d_c, dz_o, c, u);
      z[O] = dz_o;
    }
    z[G] = d_c * i * candidate.slope(g);
    d.c = d_c * f;
    if constexpr (has_i(form)) {
      z[I] = d_c * g * sigmoid_slope(i);
      d.c = p_i.back(d.c, z[I], s.c, u);
    }
    if constexpr (has_f(form)) {
      z[F] = d_c * (form == LstmForm::coupled ? s.c - g : s.c) * sigmoid_slope(f);
      d.c = p_f.back(d.c, z[F], s.c, u);
    }
    if (has_o(form) && previous) d.c = p_o.back(d.c, dz_o, s.c, u);
    d.h = vec{};
  }
};

// i, f, o = sigma(W x + U c + b), g = phi(W x + b);  c' = f c + i g;  h' = phi_h(o c')
struct PeepholeOnly : InOrder<4> {
  static constexpr int h_begin = 1;  // g i f o
  static constexpr bool has_memory = true, hears_memory = true;
  static constexpr int x_gate(int slot) { return slot == 0 ? 2 : slot < 3 ? slot - 1 : slot; }  // the kernel: i f g o
  static constexpr int h_gate(int slot) { return slot - 1; }

  Squash phi, output;

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
  Squash phi;
  float beta = 0.f;

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
  Squash phi;

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

// i, f = sigma(W x + b);  g = phi(...);  h' = (f h + i g) / (f + i)
struct MinLstm : InOrder<3, false> {
  Squash phi;

  void forward(vec* z, State& s, int) const {
    const vec i = z[0] = sigmoid(z[0]), f = z[1] = sigmoid(z[1]), g = z[2] = phi(z[2]);
    s.h = (f * s.h + i * g) / (f + i);
  }

  // With the shares I = i / (f + i) and F = 1 - I:  dh'/di = F (g - h) / (f + i), dh'/df = -I (g - h) / (f + i).
  void backward(vec* z, State s, State& d, int) const {
    const vec i = z[0], f = z[1], g = z[2];
    const vec I = i / (f + i), F = f / (f + i), d_I = d.h * (g - s.h);
    z[0] = d_I * I * F * (1.f - i);
    z[1] = -d_I * I * F * (1.f - f);
    z[2] = d.h * I * phi.slope(g);
    d.h = d.h * F;
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
  static constexpr int slots = 4, x_end = 3, h_begin = 1, h_end = 4, reset_end = 4;  // n u r q
  static constexpr int bias_rows = 2;
  static constexpr int x_gate(int slot) { return (slot + 2) % 3; }  // the kernels hold u r n
  static constexpr int h_gate(int slot) { return slot - 1; }

  Squash phi;
  Update update;

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
  static constexpr int R = one_gate ? 0 : 1, N = R + 1;
  static constexpr int h_end = N, reset_slot = R;

  Squash phi;
  Update update;

  // The first half: the gates that the second product waits for. Returns r * h.
  vec reset(vec* z, vec h) const {
    for (int gate = 0; gate <= R; gate++) z[gate] = sigmoid(z[gate]);
    return z[R] * h;
  }

  void forward(vec* z, State& s, int) const {
    const vec k = update.kept(z[0]), n = z[N] = phi(z[N]);
    s.h = k * s.h + (1.f - k) * n;
  }

  // Leaves in r's slot what reaches r apart from r * h; reset_backward adds the rest.
  void backward(vec* z, State s, State& d, int) const {
    const vec u = z[0], n = z[N], k = update.kept(u);
    z[R] = vec{};
    z[0] = d.h * (s.h - n) * update.slope(u);
    z[N] = d.h * (1.f - k) * phi.slope(n);
    d.h = d.h * k;
  }

  // What the gradient of r * h sends through r is added to that of r's pre-activation, what reaches h returned.
  static vec reset_backward(vec r, vec h, vec d_product, vec& dz_r) {
    dz_r += d_product * h * sigmoid_slope(r);
    return d_product * r;
  }
};

}  // namespace gates
