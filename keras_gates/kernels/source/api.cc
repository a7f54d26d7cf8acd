#include "api.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <new>
#include <string>

#include "job.h"
#include "memory.h"
#include "threads.h"
#include "vector.h"

namespace gates {
namespace {

using Tensor = KerasGatesTensor;
using Dims = std::initializer_list<int64_t>;

struct Invalid {
  std::string message;
};

std::string text_of(const int64_t* dims, size_t rank) {
  std::string text = "(";
  for (size_t axis = 0; axis < rank; axis++) text += (axis ? ", " : "") + std::to_string(dims[axis]);
  return text + ")";
}

// No tensor has more axes than three: of one that has, the first ones are looked at.
int axes(const Tensor& tensor) { return int(std::min<int64_t>(3, tensor.rank)); }

std::string text_of(const Tensor& tensor) { return text_of(tensor.dims, axes(tensor)); }

bool empty(const Tensor& tensor) {
  for (int axis = 0; axis < axes(tensor); axis++)
    if (!tensor.dims[axis]) return true;
  return false;
}

size_t bytes_of(const Tensor& tensor) {
  size_t bytes = sizeof(float);
  for (int axis = 0; axis < axes(tensor); axis++) bytes *= size_t(tensor.dims[axis]);
  return bytes;
}

template <class T>
T* data(const Tensor& tensor) {
  return empty(tensor) ? nullptr : static_cast<T*>(tensor.data);
}

void expect_rank(const char* name, const Tensor& tensor, int rank) {
  if (tensor.rank != rank)
    throw Invalid{"`" + std::string(name) + "` must have rank " + std::to_string(rank) + "; got " +
                  std::to_string(tensor.rank) + "."};
}

void expect(const char* name, const Tensor& tensor, Dims dims) {
  if (tensor.rank != int64_t(dims.size()) || !std::equal(dims.begin(), dims.end(), tensor.dims))
    throw Invalid{"`" + std::string(name) + "` must have the shape " + text_of(dims.begin(), dims.size()) + "; got " +
                  text_of(tensor) + "."};
}

const char* cell_name(int32_t cell) {
  const auto names = cell_names();
  return cell >= 0 && size_t(cell) < names.size() ? names[cell] : nullptr;
}

CellSpec cell_of(const KerasGatesOptions& options) {
  const int activations = int(std::size(activation_names));
  const auto known = [&](int32_t activation) { return activation >= 0 && activation < activations; };
  if (!cell_name(options.cell)) throw Invalid{"there is no cell " + std::to_string(options.cell) + "."};
  if (!known(options.activation) || !known(options.output_activation)) throw Invalid{"there is no such activation."};
  CellSpec cell;
  cell.kind = options.cell;
  cell.activation = Activation(options.activation);
  cell.output_activation = Activation(options.output_activation);
  cell.update_writes = options.update_writes;
  cell.output_previous = options.output_previous;
  cell.constant = options.constant;
  return cell;
}

// What a call is about, checked.
struct Call {
  CellSpec cell;
  Layout layout;
  Sequences in;
  int vectors = 0;           // rows of `vectors`
  int places[most_vectors];  // where the cell expects each of them

  Call(const KerasGatesOptions& options, const Tensor* t) : cell(cell_of(options)), layout(layout_of(cell)) {
    expect_rank("x", t[KG_X], 3);
    expect_rank("h", t[KG_H], 2);
    check_sizes(t[KG_X], t[KG_H].dims[1]);
    place_vectors(options);
    check_shapes(t);
    in.x = data<float>(t[KG_X]);
    in.mask = data<bool>(t[KG_MASK]);
    in.h = data<float>(t[KG_H]);
    in.c = data<float>(t[KG_C]);
    in.kernel = data<float>(t[KG_KERNEL]);
    in.recurrent_kernel = data<float>(t[KG_RECURRENT_KERNEL]);
    in.bias = data<float>(t[KG_BIAS]);
    in.recurrent_mask = data<float>(t[KG_RECURRENT_MASK]);
    in.keep = data<float>(t[KG_KEEP]);
    for (int row = 0; row < vectors; row++) in.vectors[places[row]] = data<float>(t[KG_VECTORS]) + row * in.units;
    in.go_backwards = options.go_backwards;
    in.zero_output_for_mask = options.zero_output_for_mask;
    in.show_initial_state = options.show_initial_state;
    in.shows_memory = options.shows_memory;
    if (in.shows_memory && !layout.memories)
      throw Invalid{"`shows_memory` must be false for cell " + std::string(cell_names()[cell.kind]) +
                    ", which has no memory."};
    in.bfloat16_products = options.bfloat16_products && has_bfloat16;
    in.threads = options.threads > 0 ? options.threads : available_threads();
    in.openmp = options.openmp;
  }

  int64_t tape_columns(int rows) const { return int64_t(rows) * padded_units(in.units); }
  int64_t shown() const { return (1 + in.shows_memory) * int64_t(in.units); }

 private:
  void check_sizes(const Tensor& x, int64_t units) {
    const int64_t batch = x.dims[0], time = x.dims[1], features = x.dims[2] - (layout.reads_below ? units : 0);
    const int64_t most = std::numeric_limits<int32_t>::max() / 8;
    if (time < 1 || features < 1 || units < 1)
      throw Invalid{"`x` must have at least one step and one feature" +
                    std::string(layout.reads_below ? " beside the memory below" : "") +
                    ", and the cell one unit; got x " + text_of(x) + " and " + std::to_string(units) + " units."};
    if (batch > most || time > most || features > most || units > most / layout.tape_slots)
      throw Invalid{"`x` of shape " + text_of(x) + " with " + std::to_string(units) +
                    " units is larger than the kernels can count."};
    in.batch = int(batch), in.time = int(time), in.features = int(features), in.units = int(units);
  }

  void place_vectors(const KerasGatesOptions& options) {
    const std::string names(options.vector_names, strnlen(options.vector_names, sizeof options.vector_names));
    for (char name : names) {
      const char* place = std::strchr(layout.vectors, name);
      if (!place || vectors == most_vectors)
        throw Invalid{"`vector_names` of cell " + std::string(cell_names()[cell.kind]) + " must be some of '" +
                      layout.vectors + "'; got " + names + "."};
      places[vectors++] = int(place - layout.vectors);
    }
  }

  void check_shapes(const Tensor* t) const {
    const int64_t batch = in.batch, units = in.units, columns = layout.gates * units;
    expect("kernel", t[KG_KERNEL], {in.features, columns});
    if (layout.recurrent_gates)
      expect("recurrent_kernel", t[KG_RECURRENT_KERNEL], {layout.heard * units, layout.recurrent_gates * units});
    layout.bias_rows == 2 ? expect("bias", t[KG_BIAS], {2, columns}) : expect("bias", t[KG_BIAS], {columns});
    expect("h", t[KG_H], {batch, units});
    if (layout.memories) expect("c", t[KG_C], {batch, layout.memories * units});
    if (vectors) expect("vectors", t[KG_VECTORS], {vectors, units});
    if (!empty(t[KG_MASK])) expect("mask", t[KG_MASK], {batch, in.time});
    if (!empty(t[KG_RECURRENT_MASK])) expect("recurrent_mask", t[KG_RECURRENT_MASK], {batch, units});
    if (!empty(t[KG_KEEP])) expect("keep", t[KG_KEEP], {batch, in.time, (1 + layout.memories) * units});
  }
};

void forward(const KerasGatesOptions& options, const Tensor* inputs, const Tensor* t) {
  const Call call(options, inputs);
  const int64_t batch = call.in.batch, time = call.in.time, units = call.in.units;
  const bool tape = t[KG_GATES].dims[0] > 0;
  if (tape || !empty(t[KG_OUTPUTS])) expect("outputs", t[KG_OUTPUTS], {batch, time, call.shown()});
  expect("last", t[KG_LAST], {batch, units});
  expect("h_out", t[KG_H_OUT], {batch, units});
  expect("c_out", t[KG_C_OUT], {batch, call.layout.memories * units});
  if (tape) {
    expect("gates", t[KG_GATES], {time, batch, call.tape_columns(call.layout.tape_slots)});
    expect("memory", t[KG_MEMORY], {time, batch, call.tape_columns(call.layout.memories)});
  }
  // Frameworks hand out fresh memory for these, whose pages take long to come one by one.
  for (int large : {KG_OUTPUTS, KG_GATES, KG_MEMORY}) prefer_large_pages(t[large].data, bytes_of(t[large]));
  Results results;
  results.outputs = data<float>(t[KG_OUTPUTS]);
  results.last = data<float>(t[KG_LAST]);
  results.h = data<float>(t[KG_H_OUT]);
  results.c = data<float>(t[KG_C_OUT]);
  results.gates = data<float>(t[KG_GATES]);
  results.memory = data<float>(t[KG_MEMORY]);
  run_forward(call.cell, call.in, results);
}

void backward(const KerasGatesOptions& options, const Tensor* inputs, const Tensor* gradients) {
  const Call call(options, inputs);
  const int64_t batch = call.in.batch, time = call.in.time, units = call.in.units;
  expect("outputs", inputs[KG_OUTPUTS_IN], {batch, time, call.shown()});
  expect("gates", inputs[KG_GATES_IN], {time, batch, call.tape_columns(call.layout.tape_slots)});
  expect("memory", inputs[KG_MEMORY_IN], {time, batch, call.tape_columns(call.layout.memories)});
  if (!empty(inputs[KG_D_OUTPUTS])) expect("d_outputs", inputs[KG_D_OUTPUTS], {batch, time, call.shown()});
  expect("d_last", inputs[KG_D_LAST], {batch, units});
  expect("d_h", inputs[KG_D_H_OUT], {batch, units});
  if (call.layout.memories) expect("d_c", inputs[KG_D_C_OUT], {batch, call.layout.memories * units});

  Results results;
  results.outputs = data<float>(inputs[KG_OUTPUTS_IN]);
  results.gates = data<float>(inputs[KG_GATES_IN]);
  results.memory = data<float>(inputs[KG_MEMORY_IN]);
  Gradients g;
  g.outputs = data<float>(inputs[KG_D_OUTPUTS]);
  g.last = data<float>(inputs[KG_D_LAST]);
  g.h = data<float>(inputs[KG_D_H_OUT]);
  g.c = data<float>(inputs[KG_D_C_OUT]);
  g.d_x = data<float>(gradients[KG_D_X]);
  g.d_h = data<float>(gradients[KG_D_H]);
  g.d_c = data<float>(gradients[KG_D_C]);
  g.d_kernel = data<float>(gradients[KG_D_KERNEL]);
  g.d_recurrent_kernel = data<float>(gradients[KG_D_RECURRENT_KERNEL]);
  g.d_bias = data<float>(gradients[KG_D_BIAS]);
  for (int row = 0; row < call.vectors; row++)
    g.d_vectors[call.places[row]] = data<float>(gradients[KG_D_VECTORS]) + row * units;
  run_backward(call.cell, call.in, results, g);
}

// C++ errors must not cross the interface: they become a status and a sentence.
template <class Run>
int32_t status_of(Run run, char* message, size_t size) {
  const auto report = [&](KerasGatesStatus status, const char* text) {
    std::snprintf(message, size, "keras_gates: %s", text);
    return status;
  };
  try {
    run();
  } catch (const Invalid& error) {
    return report(keras_gates_invalid, error.message.c_str());
  } catch (const std::bad_alloc&) {
    return report(keras_gates_no_memory, "not enough memory for the kernel's workspace.");
  } catch (const std::exception& error) {
    return report(keras_gates_failed, error.what());
  }
  return keras_gates_ok;
}

KerasGatesLayout layout(int32_t cell, int64_t units) {
  CellSpec spec;
  spec.kind = cell;
  const Layout found = layout_of(spec);
  const int64_t padded = padded_units(int(units));
  return {found.memories, found.tape_slots * padded, found.memories * padded};
}

int32_t try_forward(const KerasGatesOptions* options, const Tensor* inputs, const Tensor* outputs, char* message,
                    size_t message_size) {
  return status_of([&] { forward(*options, inputs, outputs); }, message, message_size);
}

int32_t try_backward(const KerasGatesOptions* options, const Tensor* inputs, const Tensor* gradients, char* message,
                     size_t message_size) {
  return status_of([&] { backward(*options, inputs, gradients); }, message, message_size);
}

const KerasGatesCells own_cells{cell_name, layout, try_forward, try_backward};
const KerasGatesCells* added_cells = nullptr;

// The library that a cell is of; `cell` becomes its place there.
const KerasGatesCells& library_of(int32_t& cell) {
  const int32_t own = int32_t(cell_names().size());
  if (!added_cells || cell < own) return own_cells;
  cell -= own;
  return *added_cells;
}

}  // namespace
}  // namespace gates

int32_t keras_gates_abi_version(void) { return KERAS_GATES_ABI_VERSION; }

const char* keras_gates_cell_name(int32_t cell) { return gates::library_of(cell).name(cell); }

KerasGatesLayout keras_gates_layout(int32_t cell, int64_t units) { return gates::library_of(cell).layout(cell, units); }

int32_t keras_gates_forward(const KerasGatesOptions* options, const KerasGatesTensor* inputs,
                            const KerasGatesTensor* outputs, char* message, size_t message_size) {
  KerasGatesOptions there = *options;
  return gates::library_of(there.cell).forward(&there, inputs, outputs, message, message_size);
}

int32_t keras_gates_backward(const KerasGatesOptions* options, const KerasGatesTensor* inputs,
                             const KerasGatesTensor* gradients, char* message, size_t message_size) {
  KerasGatesOptions there = *options;
  return gates::library_of(there.cell).backward(&there, inputs, gradients, message, message_size);
}

const KerasGatesCells* keras_gates_cells(void) { return &gates::own_cells; }

void keras_gates_add_cells(const KerasGatesCells* cells) { gates::added_cells = cells; }

void* keras_gates_take(size_t bytes, size_t* size) {
  try {
    const gates::Block block = gates::take_block(bytes);
    *size = block.size;
    return block.data;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void keras_gates_return(void* data, size_t size) { gates::return_block({static_cast<char*>(data), size}); }
