// One call: a batch of sequences through a cell, and back.
#pragma once

#include <cstdint>
#include <vector>

struct KerasGatesOpenMP;

namespace gates {

// The most weight vectors that any cell has.
constexpr int most_vectors = 10;

// Every tensor is dense and row-major, of float32. Optional ones are null where absent.
struct Sequences {
  int batch = 0, time = 0, features = 0, units = 0;
  const float* x = nullptr;                 // (batch, time, features), of cells that read the memory below
                                            // (batch, time, features + units)
  const bool* mask = nullptr;               // (batch, time), optional: a masked step changes no state
  const float* h = nullptr;                 // (batch, units): the states before the first step
  const float* c = nullptr;                 // (batch, memories * units), of cells with memories
  const float* kernel = nullptr;            // (features, gates * units)
  const float* recurrent_kernel = nullptr;  // (heard * units, recurrent gates * units)
  const float* bias = nullptr;              // (gates * units), or (2, gates * units) where U h has its own
  const float* vectors[most_vectors] = {};  // (units), optional: in the order of the cell's `vectors`
  const float* recurrent_mask = nullptr;    // (batch, units), optional: multiplies h on its way into U h
  const float* keep = nullptr;              // (batch, time, states * units), optional: zoneout, the share of each
                                            // old state that a step keeps
  bool go_backwards = false;                // from the last step to the first; outputs in that order
  bool zero_output_for_mask = false;        // a masked step's output is zero, not the previous output
  bool show_initial_state = false;          // before the first step that is not masked; else zero
  bool shows_memory = false;                // an output is h and the first memory, side by side; else h alone
  bool bfloat16_products = false;           // with sums of floats; all else is of floats
  int threads = 1;
  const KerasGatesOpenMP* openmp = nullptr;  // on whose threads the call runs; null for our own
};

// What the forward pass gives. The tape is what the backward pass needs, absent where there will be none.
struct Results {
  float* outputs = nullptr;  // (batch, time, units), or 2 * units with `shows_memory`, in the order of processing;
                             // optional without a tape
  float* last = nullptr;     // (batch, units): the output of the last step processed
  float* h = nullptr;        // (batch, units): the states after it
  float* c = nullptr;
  float* gates = nullptr;   // tape: (time, batch, tape slots * padded units)
  float* memory = nullptr;  // tape: (time, batch, memories * padded units), the memories before each step
};

struct Gradients {
  // in: optional ones null
  const float* outputs = nullptr;  // optional
  const float* last = nullptr;
  const float* h = nullptr;
  const float* c = nullptr;
  // out, shaped as what they are gradients of
  float* d_x = nullptr;
  float* d_h = nullptr;
  float* d_c = nullptr;
  float* d_kernel = nullptr;
  float* d_recurrent_kernel = nullptr;
  float* d_bias = nullptr;
  float* d_vectors[most_vectors] = {};  // as far as there are vectors
};

enum class Activation { tanh, linear, relu };
constexpr const char* activation_names[] = {"tanh", "linear", "relu"};

// The names of all cells with kernels.
std::vector<const char*> cell_names();

// A cell, with what can be chosen about it.
struct CellSpec {
  int kind = 0;                                     // the place of its name in cell_names()
  Activation activation = Activation::tanh;         // of the candidate
  Activation output_activation = Activation::tanh;  // of the memory on its way out, where there is one
  bool update_writes = false;    // GRUs: the update gate says how much is written, not how much is kept
  bool output_previous = false;  // LSTMs: the output gate's peephole sees the memory before the step
  float constant = 0;            // janet's beta, the epsilon of layer normalisation, the cycle of a clockwork
};

// The sizes that go with a cell, in rows of `units`.
struct Layout {
  int gates, recurrent_gates;  // side by side in the kernel and in the recurrent kernel
  int heard;                   // states side by side that the recurrent kernel is multiplied by
  int bias_rows;               // of `gates` each
  int tape_slots;              // of a step on the tape
  int memories;                // states besides h
  bool reads_below;            // beside its inputs stands the memory of a level below
  const char* vectors;         // the weight vectors that it may have, a letter each, as Sequences counts them
};

Layout layout_of(const CellSpec& cell);

// The units of a row on the tape, padded to whole vectors.
int padded_units(int units);

// Both throw std::bad_alloc before they have written anything.
void run_forward(const CellSpec& cell, const Sequences& in, const Results& out);
// `out` as run_forward left it, with a tape.
void run_backward(const CellSpec& cell, const Sequences& in, const Results& out, const Gradients& gradients);

}  // namespace gates
