// The C interface of the kernels. Every framework's door calls it: the library behind it knows no framework.
//
// A call names its pass, its options and its tensors, in the order of the lists below. It checks all of them, and
// returns a status; a status other than `keras_gates_ok` comes with a sentence in `message`.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define KERAS_GATES_ABI_VERSION 6  // goes up with every change to what stands here
#define KERAS_GATES_EXPORT extern "C" __attribute__((visibility("default")))

enum KerasGatesStatus { keras_gates_ok, keras_gates_invalid, keras_gates_no_memory, keras_gates_failed };

// What both passes take, and what each gives or takes besides. An optional tensor is absent when it has no elements.
enum KerasGatesInput {
  KG_X,
  KG_MASK,
  KG_KERNEL,
  KG_RECURRENT_KERNEL,
  KG_BIAS,
  KG_VECTORS,
  KG_H,
  KG_C,
  KG_RECURRENT_MASK,
  KG_KEEP,
  KG_INPUTS
};
enum KerasGatesOutput { KG_OUTPUTS, KG_LAST, KG_H_OUT, KG_C_OUT, KG_GATES, KG_MEMORY, KG_OUTPUT_COUNT };
// The backward pass takes the inputs, then these.
enum KerasGatesBackwardInput {
  KG_OUTPUTS_IN = KG_INPUTS,
  KG_GATES_IN,
  KG_MEMORY_IN,
  KG_D_OUTPUTS,
  KG_D_LAST,
  KG_D_H_OUT,
  KG_D_C_OUT,
  KG_BACKWARD_INPUTS
};
// It gives the gradients of these, each of the shape of what it is the gradient of.
enum KerasGatesGradient {
  KG_D_X,
  KG_D_KERNEL,
  KG_D_RECURRENT_KERNEL,
  KG_D_BIAS,
  KG_D_VECTORS,
  KG_D_H,
  KG_D_C,
  KG_GRADIENTS
};

// Dense and row-major; of float32, but the mask, which is of booleans of one byte. Where a cell reads the memory of a
// level below, that stands in `x` behind the features.
struct KerasGatesTensor {
  void* data;
  int64_t rank;
  int64_t dims[3];
};

// Functions of an OpenMP runtime that has GCC's interface.
struct KerasGatesOpenMP {
  void (*parallel)(void (*work)(void*), void* data, unsigned threads, unsigned flags);  // GOMP_parallel
  int (*thread)(void);                                                                  // omp_get_thread_num
  int (*threads)(void);                                                                 // omp_get_num_threads
};

struct KerasGatesOptions {
  int32_t cell;               // its place among the names that keras_gates_cell_name gives
  int32_t activation;         // 0 tanh, 1 linear, 2 relu
  int32_t output_activation;  // the same
  int32_t update_writes;      // this and the next two: see CellSpec
  int32_t output_previous;
  float constant;
  char vector_names[16];  // the cell's weight vectors, a letter each, in the order of the rows of `vectors`
  int32_t go_backwards;
  int32_t zero_output_for_mask;  // a masked step's output is zero, not the previous output
  int32_t show_initial_state;    // what a masked step before the first other one shows: the initial state, not zero
  int32_t shows_memory;          // an output is h and the first memory, side by side: `outputs` is twice as wide
  int32_t threads;               // 0: as many as the process may run at once
  int32_t bfloat16_products;     // with sums of floats; of floats where the processor does not multiply bfloat16
  // The runtime on whose threads the call runs; null for threads of the library's own. Those of a framework's runtime
  // keep their cores busy for milliseconds when they are idle, and other threads have to share the cores with them.
  const struct KerasGatesOpenMP* openmp;
};

// The sizes of a cell's states and of the tape: `gates` is (time, batch, gate_columns), `memory` is
// (time, batch, memory_columns), both without steps if there will be no backward pass.
struct KerasGatesLayout {
  int64_t memories;  // states besides h, side by side in c
  int64_t gate_columns, memory_columns;
};

KERAS_GATES_EXPORT int32_t keras_gates_abi_version(void);

// The name of a cell, null after the last.
KERAS_GATES_EXPORT const char* keras_gates_cell_name(int32_t cell);

KERAS_GATES_EXPORT KerasGatesLayout keras_gates_layout(int32_t cell, int64_t units);

// `inputs` are KG_INPUTS tensors, `outputs` KG_OUTPUT_COUNT.
KERAS_GATES_EXPORT int32_t keras_gates_forward(const KerasGatesOptions* options, const KerasGatesTensor* inputs,
                                               const KerasGatesTensor* outputs, char* message, size_t message_size);

// `inputs` are KG_BACKWARD_INPUTS tensors, `gradients` KG_GRADIENTS.
KERAS_GATES_EXPORT int32_t keras_gates_backward(const KerasGatesOptions* options, const KerasGatesTensor* inputs,
                                                const KerasGatesTensor* gradients, char* message, size_t message_size);

// Memory for a tape that is found again by the next call; null where there is none. `size` is what was taken.
KERAS_GATES_EXPORT void* keras_gates_take(size_t bytes, size_t* size);
KERAS_GATES_EXPORT void keras_gates_return(void* data, size_t size);

// The cells that a library was compiled with. Its functions count cells from zero.
struct KerasGatesCells {
  const char* (*name)(int32_t cell);
  KerasGatesLayout (*layout)(int32_t cell, int64_t units);
  int32_t (*forward)(const KerasGatesOptions* options, const KerasGatesTensor* inputs, const KerasGatesTensor* outputs,
                     char* message, size_t message_size);
  int32_t (*backward)(const KerasGatesOptions* options, const KerasGatesTensor* inputs,
                      const KerasGatesTensor* gradients, char* message, size_t message_size);
};

KERAS_GATES_EXPORT const KerasGatesCells* keras_gates_cells(void);

// From now on the functions above serve these cells too, of another library with this interface: their places come
// after those of the cells that this one was compiled with. To be called once, before the first pass.
KERAS_GATES_EXPORT void keras_gates_add_cells(const KerasGatesCells* cells);
