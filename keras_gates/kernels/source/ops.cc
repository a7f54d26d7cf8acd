// The kernels as TensorFlow operations, through TensorFlow's stable C interface.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "job.h"
#include "memory.h"
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"
#include "threads.h"

namespace gates {
namespace {

// Inputs of both operations. An optional one is absent when it has no elements.
enum Input { X, MASK, KERNEL, RECURRENT_KERNEL, BIAS, VECTORS, H, C, RECURRENT_MASK, GUARD, COMMON };
const char* const input_names[COMMON] = {"x",       "mask", "kernel", "recurrent_kernel", "bias",
                                         "vectors", "h",    "c",      "recurrent_mask",   "guard"};
// Forward gives these, and backward takes them again, but `last` to `c`.
enum Output { OUTPUTS, LAST, H_OUT, C_OUT, GATES, MEMORY };

struct Fail {
  TF_Code code;
  std::string message;
};

template <class... Args>
[[noreturn]] void fail(TF_Code code, const char* format, Args... args) {
  char text[400];
  std::snprintf(text, sizeof text, format, args...);
  throw Fail{code, text};
}

// A TF_Status that throws what it holds.
class Status {
 public:
  Status() : status_(TF_NewStatus()) {}
  ~Status() { TF_DeleteStatus(status_); }
  Status(const Status&) = delete;
  TF_Status* get() { return status_; }
  void check() {
    if (TF_GetCode(status_) != TF_OK) throw Fail{TF_GetCode(status_), TF_Message(status_)};
  }

 private:
  TF_Status* status_;
};

class Tensor {
 public:
  explicit Tensor(TF_Tensor* tensor) : tensor_(tensor, TF_DeleteTensor) {}
  TF_Tensor* get() const { return tensor_.get(); }
  int rank() const { return TF_NumDims(tensor_.get()); }
  int64_t dim(int axis) const { return TF_Dim(tensor_.get(), axis); }
  bool empty() const { return TF_TensorElementCount(tensor_.get()) == 0; }
  template <class T>
  T* data() const {
    return static_cast<T*>(TF_TensorData(tensor_.get()));
  }
  template <class T>
  T* data_or_null() const {
    return empty() ? nullptr : data<T>();
  }
  std::string shape() const {
    std::string text = "(";
    for (int axis = 0; axis < rank(); axis++) text += (axis ? ", " : "") + std::to_string(dim(axis));
    return text + ")";
  }

 private:
  std::unique_ptr<TF_Tensor, void (*)(TF_Tensor*)> tensor_;
};

using Dims = std::vector<int64_t>;

std::string text_of(const Dims& dims) {
  std::string text = "(";
  for (size_t axis = 0; axis < dims.size(); axis++) text += (axis ? ", " : "") + std::to_string(dims[axis]);
  return text + ")";
}

Tensor input(TF_OpKernelContext* context, int index) {
  Status status;
  TF_Tensor* tensor = nullptr;
  TF_GetInput(context, index, &tensor, status.get());
  status.check();
  return Tensor(tensor);
}

Tensor allocate(TF_OpKernelContext* context, int index, const Dims& dims) {
  size_t bytes = sizeof(float);
  for (int64_t dim : dims) bytes *= size_t(dim);
  Status status;
  Tensor tensor(TF_AllocateOutput(context, index, TF_FLOAT, dims.data(), int(dims.size()), bytes, status.get()));
  status.check();
  return tensor;
}

void return_tape(void* data, size_t, void* size) {
  return_block({static_cast<char*>(data), reinterpret_cast<size_t>(size)});
}

// The tape lives from a forward pass to its backward pass. Its memory is ours, to be found again by the next step.
Tensor allocate_tape(TF_OpKernelContext* context, int index, const Dims& dims) {
  size_t bytes = sizeof(float);
  for (int64_t dim : dims) bytes *= size_t(dim);
  if (bytes < (size_t(1) << 20)) return allocate(context, index, dims);
  const Block block = take_block(bytes);
  Tensor tensor(TF_NewTensor(TF_FLOAT, dims.data(), int(dims.size()), block.data, bytes, return_tape,
                             reinterpret_cast<void*>(block.size)));
  Status status;
  TF_SetOutput(context, index, tensor.get(), status.get());
  status.check();
  return tensor;
}

void expect_shape(const char* name, const Tensor& tensor, const Dims& dims) {
  bool same = tensor.rank() == int(dims.size());
  for (int axis = 0; same && axis < tensor.rank(); axis++) same = tensor.dim(axis) == dims[axis];
  if (!same)
    fail(TF_INVALID_ARGUMENT, "`%s` must have the shape %s; got %s.", name, text_of(dims).c_str(),
         tensor.shape().c_str());
}

void expect_rank(const char* name, const Tensor& tensor, int rank) {
  if (tensor.rank() != rank)
    fail(TF_INVALID_ARGUMENT, "`%s` must have rank %d; got shape %s.", name, rank, tensor.shape().c_str());
}

// What an operation is told once.
struct Attributes {
  CellSpec cell;
  Layout layout;
  std::string vectors;  // the cell's weight vectors, a letter each, in the order of the rows of the input `vectors`
  bool keep_tape, return_sequences, go_backwards, zero_output_for_mask;
  int threads;
};

std::string text_attribute(TF_OpKernelConstruction* construction, const char* name) {
  char text[32] = {};
  Status status;
  TF_OpKernelConstruction_GetAttrString(construction, name, text, sizeof text - 1, status.get());
  status.check();
  return text;
}

// The attribute's place among its possible values. The operation's definition admits no other.
template <class Choices>
int choice_attribute(TF_OpKernelConstruction* construction, const char* name, const Choices& choices) {
  const auto first = std::begin(choices), last = std::end(choices);
  return int(std::find(first, last, text_attribute(construction, name)) - first);
}

bool flag_attribute(TF_OpKernelConstruction* construction, const char* name) {
  TF_Bool flag = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrBool(construction, name, &flag, status.get());
  status.check();
  return flag;
}

Attributes read_attributes(TF_OpKernelConstruction* construction) {
  Attributes a;
  const auto names = cell_names();
  a.cell.kind = choice_attribute(construction, "cell", names);
  a.cell.activation = Activation(choice_attribute(construction, "activation", activation_names));
  a.cell.output_activation = Activation(choice_attribute(construction, "output_activation", activation_names));
  a.cell.update_writes = flag_attribute(construction, "update_writes");
  a.cell.output_previous = flag_attribute(construction, "output_previous");
  Status status;
  TF_OpKernelConstruction_GetAttrFloat(construction, "beta", &a.cell.beta, status.get());
  status.check();
  a.keep_tape = flag_attribute(construction, "keep_tape");
  a.return_sequences = flag_attribute(construction, "return_sequences");
  a.go_backwards = flag_attribute(construction, "go_backwards");
  a.zero_output_for_mask = flag_attribute(construction, "zero_output_for_mask");
  int32_t threads = 0;
  TF_OpKernelConstruction_GetAttrInt32(construction, "threads", &threads, status.get());
  status.check();
  a.threads = threads > 0 ? threads : available_threads();
  a.layout = layout_of(a.cell);
  a.vectors = text_attribute(construction, "vector_names");
  for (char name : a.vectors)
    if (!std::strchr(a.layout.vectors, name))
      fail(TF_INVALID_ARGUMENT, "`vector_names` of cell %s must be some of '%s'; got %s.", names[a.cell.kind],
           a.layout.vectors, a.vectors.c_str());
  return a;
}

// The inputs that both operations share, checked, and alive as long as this is.
class Inputs {
 public:
  Inputs(TF_OpKernelContext* context, const Attributes& attributes) {
    tensors_.reserve(GUARD);
    for (int i = 0; i < GUARD; i++) tensors_.push_back(input(context, i));
    expect_rank("x", tensors_[X], 3);
    expect_rank("h", tensors_[H], 2);
    const int64_t batch = tensors_[X].dim(0), time = tensors_[X].dim(1), features = tensors_[X].dim(2);
    const Layout& layout = attributes.layout;
    const int64_t units = tensors_[H].dim(1), gates = layout.gates;
    const int64_t most = std::numeric_limits<int32_t>::max() / 8;
    if (time < 1 || features < 1 || units < 1)
      fail(TF_INVALID_ARGUMENT,
           "`x` must have at least one step and one feature, and the cell one unit; got x %s and %s units.",
           tensors_[X].shape().c_str(), std::to_string(units).c_str());
    if (batch > most || time > most || features > most || units * layout.slots > most)
      fail(TF_INVALID_ARGUMENT, "`x` of shape %s with %s units is larger than the kernels can count.",
           tensors_[X].shape().c_str(), std::to_string(units).c_str());
    expect(KERNEL, {features, gates * units});
    if (layout.recurrent_gates) expect(RECURRENT_KERNEL, {units, layout.recurrent_gates * units});
    expect(BIAS, layout.bias_rows == 2 ? Dims{2, gates * units} : Dims{gates * units});
    expect(H, {batch, units});
    if (layout.memories) expect(C, {batch, layout.memories * units});
    if (!attributes.vectors.empty()) expect(VECTORS, {int64_t(attributes.vectors.size()), units});
    if (!tensors_[MASK].empty()) expect(MASK, {batch, time});
    if (!tensors_[RECURRENT_MASK].empty()) expect(RECURRENT_MASK, {batch, units});

    sequences.batch = int(batch), sequences.time = int(time);
    sequences.features = int(features), sequences.units = int(units);
    sequences.x = tensors_[X].data<float>();
    sequences.mask = tensors_[MASK].data_or_null<bool>();
    sequences.h = tensors_[H].data<float>();
    sequences.c = tensors_[C].data<float>();
    sequences.kernel = tensors_[KERNEL].data<float>();
    sequences.recurrent_kernel = tensors_[RECURRENT_KERNEL].data<float>();
    sequences.bias = tensors_[BIAS].data<float>();
    sequences.recurrent_mask = tensors_[RECURRENT_MASK].data_or_null<float>();
    for (size_t row = 0; row < attributes.vectors.size(); row++)
      sequences.vectors[place_of_vector(attributes, row)] = tensors_[VECTORS].data<float>() + row * units;
    sequences.go_backwards = attributes.go_backwards;
    sequences.zero_output_for_mask = attributes.zero_output_for_mask;
    sequences.threads = attributes.threads;
  }

  static int place_of_vector(const Attributes& attributes, size_t row) {
    const char* possible = attributes.layout.vectors;
    return int(std::strchr(possible, attributes.vectors[row]) - possible);
  }

  Sequences sequences;

 private:
  void expect(int index, const Dims& dims) const { expect_shape(input_names[index], tensors_[index], dims); }

  std::vector<Tensor> tensors_;
};

void forward(const Attributes& attributes, TF_OpKernelContext* context) {
  const Inputs inputs(context, attributes);
  const Sequences& in = inputs.sequences;
  const Layout& cell = attributes.layout;
  const int64_t padded = padded_units(in.units);
  const bool tape = attributes.keep_tape, all = tape || attributes.return_sequences;
  const Tensor outputs = allocate(context, OUTPUTS, {in.batch, all ? in.time : 0, in.units});
  const Tensor last = allocate(context, LAST, {in.batch, in.units});
  const Tensor h = allocate(context, H_OUT, {in.batch, in.units});
  const Tensor c = allocate(context, C_OUT, {in.batch, cell.memories * in.units});
  const Tensor gates = allocate_tape(context, GATES, {tape ? in.time : 0, in.batch, cell.slots * padded});
  const Tensor memory = allocate_tape(context, MEMORY, {tape ? in.time : 0, in.batch, cell.memories * padded});
  Results results;
  results.outputs = outputs.data_or_null<float>();
  results.last = last.data<float>();
  results.h = h.data<float>();
  results.c = c.data<float>();
  results.gates = gates.data_or_null<float>();
  results.memory = memory.data_or_null<float>();
  run_forward(attributes.cell, in, results);
}

void backward(const Attributes& attributes, TF_OpKernelContext* context) {
  const Inputs inputs(context, attributes);
  const Sequences& in = inputs.sequences;
  const Layout& cell = attributes.layout;
  const int64_t batch = in.batch, time = in.time, units = in.units, gates = cell.gates, padded = padded_units(in.units);
  enum { OUTPUTS_IN = COMMON, GATES_IN, MEMORY_IN, D_OUTPUTS, D_LAST, D_H, D_C };
  const Tensor outputs = input(context, OUTPUTS_IN), tape = input(context, GATES_IN),
               memory = input(context, MEMORY_IN);
  const Tensor d_outputs = input(context, D_OUTPUTS), d_last = input(context, D_LAST);
  const Tensor d_h_out = input(context, D_H), d_c_out = input(context, D_C);
  expect_shape("outputs", outputs, {batch, time, units});
  expect_shape("gates", tape, {time, batch, cell.slots * padded});
  expect_shape("memory", memory, {time, batch, cell.memories * padded});
  if (!d_outputs.empty()) expect_shape("d_outputs", d_outputs, {batch, time, units});
  expect_shape("d_last", d_last, {batch, units});
  expect_shape("d_h", d_h_out, {batch, units});
  if (cell.memories) expect_shape("d_c", d_c_out, {batch, cell.memories * units});

  const Tensor d_x = allocate(context, 0, {batch, time, in.features});
  const Tensor d_kernel = allocate(context, 1, {in.features, gates * units});
  const Tensor d_recurrent =
      allocate(context, 2, cell.recurrent_gates ? Dims{units, cell.recurrent_gates * units} : Dims{0});
  const Tensor d_bias = allocate(context, 3, cell.bias_rows == 2 ? Dims{2, gates * units} : Dims{gates * units});
  const Tensor d_vectors = allocate(context, 4, {int64_t(attributes.vectors.size()), units});
  const Tensor d_h = allocate(context, 5, {batch, units});
  const Tensor d_c = allocate(context, 6, cell.memories ? Dims{batch, cell.memories * units} : Dims{0});

  Results results;
  results.outputs = outputs.data<float>();
  results.gates = tape.data<float>();
  results.memory = memory.data<float>();
  Gradients g;
  g.outputs = d_outputs.data_or_null<float>();
  g.last = d_last.data<float>();
  g.h = d_h_out.data<float>();
  g.c = d_c_out.data<float>();
  g.d_x = d_x.data<float>();
  g.d_h = d_h.data<float>();
  g.d_c = d_c.data<float>();
  g.d_kernel = d_kernel.data<float>();
  g.d_recurrent_kernel = d_recurrent.data<float>();
  g.d_bias = d_bias.data<float>();
  for (size_t row = 0; row < attributes.vectors.size(); row++)
    g.d_vectors[Inputs::place_of_vector(attributes, row)] = d_vectors.data<float>() + row * units;
  run_backward(attributes.cell, in, results, g);
}

// C++ errors must not cross TensorFlow's C interface: they become its status.
template <class Try, class Report>
void translate(Try attempt, Report report) {
  TF_Status* status = TF_NewStatus();
  try {
    attempt();
  } catch (const Fail& error) {
    TF_SetStatus(status, error.code, ("keras_gates: " + error.message).c_str());
  } catch (const std::bad_alloc&) {
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "keras_gates: not enough memory for the kernel's workspace.");
  } catch (const std::exception& error) {
    TF_SetStatus(status, TF_INTERNAL, error.what());
  }
  if (TF_GetCode(status) != TF_OK) report(status);
  TF_DeleteStatus(status);
}

void* create(TF_OpKernelConstruction* construction) {
  Attributes* attributes = nullptr;
  translate([&] { attributes = new Attributes(read_attributes(construction)); },
            [&](TF_Status* status) { TF_OpKernelConstruction_Failure(construction, status); });
  return attributes;
}

template <void (*run)(const Attributes&, TF_OpKernelContext*)>
void compute(void* attributes, TF_OpKernelContext* context) {
  translate([&] { run(*static_cast<const Attributes*>(attributes), context); },
            [&](TF_Status* status) { TF_OpKernelContext_Failure(context, status); });
}

void destroy(void* attributes) { delete static_cast<Attributes*>(attributes); }

// Shapes that are known before anything runs.
class Shapes {
 public:
  explicit Shapes(TF_ShapeInferenceContext* context) : context_(context) {
    Status status;
    TF_ShapeInferenceContextSetUnknownShape(context, status.get());
    status.check();
  }

  struct Shape {
    Shape() : handle(TF_NewShapeHandle(), TF_DeleteShapeHandle) {}
    std::unique_ptr<TF_ShapeHandle, void (*)(TF_ShapeHandle*)> handle;
  };

  Shape input(int index, int rank) const {
    Shape any, ranked;
    Status status;
    TF_ShapeInferenceContextGetInput(context_, index, any.handle.get(), status.get());
    status.check();
    TF_ShapeInferenceContextWithRank(context_, any.handle.get(), rank, ranked.handle.get(), status.get());
    status.check();
    return ranked;
  }

  Shape any(int index) const {
    Shape shape;
    Status status;
    TF_ShapeInferenceContextGetInput(context_, index, shape.handle.get(), status.get());
    status.check();
    return shape;
  }

  Shape part(const Shape& shape, int begin, int end) const {
    Shape result;
    Status status;
    TF_ShapeInferenceContextSubshape(context_, shape.handle.get(), begin, end, result.handle.get(), status.get());
    status.check();
    return result;
  }

  Shape join(const Shape& first, const Shape& second) const {
    Shape result;
    Status status;
    TF_ShapeInferenceContextConcatenateShapes(context_, first.handle.get(), second.handle.get(), result.handle.get(),
                                              status.get());
    status.check();
    return result;
  }

  void set(int output, const Shape& shape) const {
    Status status;
    TF_ShapeInferenceContextSetOutput(context_, output, shape.handle.get(), status.get());
    status.check();
  }

 private:
  TF_ShapeInferenceContext* context_;
};

// The number of steps in `outputs`, the memories and the tape's shapes depend on attributes: those stay unknown.
void forward_shapes(TF_ShapeInferenceContext* context, TF_Status* status) {
  try {
    const Shapes shapes(context);
    const auto batch = shapes.part(shapes.input(X, 3), 0, 1);
    const auto state = shapes.join(batch, shapes.part(shapes.input(H, 2), 1, 2));
    shapes.input(KERNEL, 2);
    shapes.set(LAST, state);
    shapes.set(H_OUT, state);
  } catch (const Fail& error) {
    TF_SetStatus(status, error.code, error.message.c_str());
  }
}

void backward_shapes(TF_ShapeInferenceContext* context, TF_Status* status) {
  try {
    const Shapes shapes(context);
    const int like[] = {X, KERNEL, RECURRENT_KERNEL, BIAS, VECTORS, H, C};
    for (int output = 0; output < 7; output++) shapes.set(output, shapes.any(like[output]));
  } catch (const Fail& error) {
    TF_SetStatus(status, error.code, error.message.c_str());
  }
}

// The type of an attribute that is one of some words.
template <class Choices>
std::string one_of(const Choices& choices) {
  std::string type;
  for (const char* choice : choices) type += (type.empty() ? "{'" : "', '") + std::string(choice);
  return type + "'}";
}

void define(const char* name, std::initializer_list<const char*> inputs, std::initializer_list<const char*> outputs,
            void (*shapes)(TF_ShapeInferenceContext*, TF_Status*)) {
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (int i = 0; i < COMMON; i++) {
    const char* type = i == MASK ? ": bool" : i == GUARD ? ": variant" : ": float";
    TF_OpDefinitionBuilderAddInput(op, (std::string(input_names[i]) + type).c_str());
  }
  for (const char* spec : inputs) TF_OpDefinitionBuilderAddInput(op, spec);
  for (const char* spec : outputs) TF_OpDefinitionBuilderAddOutput(op, spec);
  TF_OpDefinitionBuilderAddAttr(op, ("cell: " + one_of(cell_names())).c_str());
  TF_OpDefinitionBuilderAddAttr(op, ("activation: " + one_of(activation_names)).c_str());
  TF_OpDefinitionBuilderAddAttr(op, ("output_activation: " + one_of(activation_names)).c_str());
  for (const char* spec :
       {"vector_names: string", "update_writes: bool", "output_previous: bool", "beta: float", "keep_tape: bool",
        "return_sequences: bool", "go_backwards: bool", "zero_output_for_mask: bool", "threads: int"})
    TF_OpDefinitionBuilderAddAttr(op, spec);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, shapes);
  Status status;
  TF_RegisterOpDefinition(op, status.get());
  status.check();
}

void implement(const char* name, void (*run)(void*, TF_OpKernelContext*)) {
  Status status;
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", create, run, destroy), status.get());
  status.check();
}

__attribute__((constructor)) void register_operations() {
  try {
    define("KerasGates>Forward", {},
           {"outputs: float", "last: float", "h_out: float", "c_out: float", "gates: float", "memory: float"},
           forward_shapes);
    define("KerasGates>Backward",
           {"outputs: float", "gates: float", "memory: float", "d_outputs: float", "d_last: float", "d_h_out: float",
            "d_c_out: float"},
           {"d_x: float", "d_kernel: float", "d_recurrent_kernel: float", "d_bias: float", "d_vectors: float",
            "d_h: float", "d_c: float"},
           backward_shapes);
    implement("KerasGates>Forward", compute<forward>);
    implement("KerasGates>Backward", compute<backward>);
  } catch (const Fail& error) {
    std::fprintf(stderr, "keras_gates: %s\n", error.message.c_str());
  }
}

}  // namespace
}  // namespace gates
