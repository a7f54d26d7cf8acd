// The kernels as TensorFlow operations, through TensorFlow's stable C interface.
#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "../api.h"
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace gates {
namespace {

// The operations take the tensors of the C interface in its order, and a guard after those that both have.
const char* const input_names[KG_INPUTS + 1] = {
    "x", "mask", "kernel", "recurrent_kernel", "bias", "vectors", "h", "c", "recurrent_mask", "keep", "guard"};

struct Fail {
  TF_Code code;
  std::string message;
};

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

using Dims = std::vector<int64_t>;

class Tensor {
 public:
  explicit Tensor(TF_Tensor* tensor) : tensor_(tensor, TF_DeleteTensor) {}
  TF_Tensor* get() const { return tensor_.get(); }
  int rank() const { return TF_NumDims(tensor_.get()); }
  int64_t dim(int axis) const { return rank() > axis ? TF_Dim(tensor_.get(), axis) : 0; }

  Dims dims() const {
    Dims dims;
    for (int axis = 0; axis < rank(); axis++) dims.push_back(dim(axis));
    return dims;
  }

  // As the C interface takes it, which expects no tensor of a higher rank and looks at its rank first.
  KerasGatesTensor plain() const {
    KerasGatesTensor tensor{TF_TensorData(tensor_.get()), rank(), {}};
    for (int axis = 0; axis < std::min(3, rank()); axis++) tensor.dims[axis] = dim(axis);
    return tensor;
  }

 private:
  std::unique_ptr<TF_Tensor, void (*)(TF_Tensor*)> tensor_;
};

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

void return_tape(void* data, size_t, void* size) { keras_gates_return(data, reinterpret_cast<size_t>(size)); }

// The tape lives from a forward pass to its backward pass. Its memory is ours, to be found again by the next step.
Tensor allocate_tape(TF_OpKernelContext* context, int index, const Dims& dims) {
  size_t bytes = sizeof(float), size = 0;
  for (int64_t dim : dims) bytes *= size_t(dim);
  if (bytes < (size_t(1) << 20)) return allocate(context, index, dims);
  void* const data = keras_gates_take(bytes, &size);
  if (!data) throw Fail{TF_RESOURCE_EXHAUSTED, "keras_gates: not enough memory for the tape."};
  Tensor tensor(
      TF_NewTensor(TF_FLOAT, dims.data(), int(dims.size()), data, bytes, return_tape, reinterpret_cast<void*>(size)));
  Status status;
  TF_SetOutput(context, index, tensor.get(), status.get());
  status.check();
  return tensor;
}

// What an operation is told once.
struct Attributes {
  KerasGatesOptions options;
  bool keep_tape, return_sequences;
};

std::string text_attribute(TF_OpKernelConstruction* construction, const char* name) {
  char text[32] = {};
  Status status;
  TF_OpKernelConstruction_GetAttrString(construction, name, text, sizeof text - 1, status.get());
  status.check();
  return text;
}

// The attribute's place among its possible values. The operation's definition admits no other.
int choice_attribute(TF_OpKernelConstruction* construction, const char* name, const std::vector<std::string>& choices) {
  return int(std::find(choices.begin(), choices.end(), text_attribute(construction, name)) - choices.begin());
}

bool flag_attribute(TF_OpKernelConstruction* construction, const char* name) {
  TF_Bool flag = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrBool(construction, name, &flag, status.get());
  status.check();
  return flag;
}

std::vector<std::string> cell_names() {
  std::vector<std::string> names;
  while (const char* name = keras_gates_cell_name(int32_t(names.size()))) names.push_back(name);
  return names;
}

std::vector<std::string> activation_names() { return {"tanh", "linear", "relu"}; }

Attributes read_attributes(TF_OpKernelConstruction* construction) {
  Attributes a{};
  KerasGatesOptions& o = a.options;
  o.cell = choice_attribute(construction, "cell", cell_names());
  o.activation = choice_attribute(construction, "activation", activation_names());
  o.output_activation = choice_attribute(construction, "output_activation", activation_names());
  o.update_writes = flag_attribute(construction, "update_writes");
  o.output_previous = flag_attribute(construction, "output_previous");
  o.go_backwards = flag_attribute(construction, "go_backwards");
  o.zero_output_for_mask = flag_attribute(construction, "zero_output_for_mask");
  o.shows_memory = flag_attribute(construction, "shows_memory");
  o.bfloat16_products = flag_attribute(construction, "bfloat16_products");
  text_attribute(construction, "vector_names").copy(o.vector_names, sizeof o.vector_names);
  Status status;
  TF_OpKernelConstruction_GetAttrFloat(construction, "constant", &o.constant, status.get());
  status.check();
  TF_OpKernelConstruction_GetAttrInt32(construction, "threads", &o.threads, status.get());
  status.check();
  a.keep_tape = flag_attribute(construction, "keep_tape");
  a.return_sequences = flag_attribute(construction, "return_sequences");
  return a;
}

using Run = decltype(keras_gates_forward);

void call(Run* run, const KerasGatesOptions& options, const std::vector<Tensor>& inputs,
          const std::vector<Tensor>& outputs) {
  const auto plain = [](const std::vector<Tensor>& tensors) {
    std::vector<KerasGatesTensor> all;
    for (const Tensor& tensor : tensors) all.push_back(tensor.plain());
    return all;
  };
  char message[400];
  const int32_t status = run(&options, plain(inputs).data(), plain(outputs).data(), message, sizeof message);
  const TF_Code codes[] = {TF_OK, TF_INVALID_ARGUMENT, TF_RESOURCE_EXHAUSTED, TF_INTERNAL};
  if (status != keras_gates_ok) throw Fail{codes[status], message};
}

// The operation's inputs but the guard.
std::vector<Tensor> inputs_of(TF_OpKernelContext* context, int count) {
  std::vector<Tensor> inputs;
  for (int index = 0; index < count; index++) inputs.push_back(input(context, index + (index >= KG_INPUTS)));
  return inputs;
}

void forward(const Attributes& attributes, TF_OpKernelContext* context) {
  const std::vector<Tensor> inputs = inputs_of(context, KG_INPUTS);
  const int64_t batch = inputs[KG_X].dim(0), time = inputs[KG_X].dim(1), units = inputs[KG_H].dim(1);
  const KerasGatesLayout layout = keras_gates_layout(attributes.options.cell, units);
  const int64_t on_tape = attributes.keep_tape ? time : 0, shown = attributes.return_sequences ? time : on_tape;
  std::vector<Tensor> outputs;
  outputs.push_back(allocate(context, KG_OUTPUTS, {batch, shown, units * (1 + attributes.options.shows_memory)}));
  outputs.push_back(allocate(context, KG_LAST, {batch, units}));
  outputs.push_back(allocate(context, KG_H_OUT, {batch, units}));
  outputs.push_back(allocate(context, KG_C_OUT, {batch, layout.memories * units}));
  outputs.push_back(allocate_tape(context, KG_GATES, {on_tape, batch, layout.gate_columns}));
  outputs.push_back(allocate_tape(context, KG_MEMORY, {on_tape, batch, layout.memory_columns}));
  call(keras_gates_forward, attributes.options, inputs, outputs);
}

// The inputs of which there are gradients, in the order of these.
const int differentiated[KG_GRADIENTS] = {KG_X, KG_KERNEL, KG_RECURRENT_KERNEL, KG_BIAS, KG_VECTORS, KG_H, KG_C};

void backward(const Attributes& attributes, TF_OpKernelContext* context) {
  const std::vector<Tensor> inputs = inputs_of(context, KG_BACKWARD_INPUTS);
  std::vector<Tensor> gradients;
  for (int k = 0; k < KG_GRADIENTS; k++) gradients.push_back(allocate(context, k, inputs[differentiated[k]].dims()));
  call(keras_gates_backward, attributes.options, inputs, gradients);
}

// C++ errors must not cross TensorFlow's C interface: they become its status.
template <class Try, class Report>
void translate(Try attempt, Report report) {
  TF_Status* status = TF_NewStatus();
  try {
    attempt();
  } catch (const Fail& error) {
    TF_SetStatus(status, error.code, error.message.c_str());
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
    const auto batch = shapes.part(shapes.input(KG_X, 3), 0, 1);
    const auto state = shapes.join(batch, shapes.part(shapes.input(KG_H, 2), 1, 2));
    shapes.input(KG_KERNEL, 2);
    shapes.set(KG_LAST, state);
    shapes.set(KG_H_OUT, state);
  } catch (const Fail& error) {
    TF_SetStatus(status, error.code, error.message.c_str());
  }
}

void backward_shapes(TF_ShapeInferenceContext* context, TF_Status* status) {
  try {
    const Shapes shapes(context);
    for (int k = 0; k < KG_GRADIENTS; k++) shapes.set(k, shapes.any(differentiated[k]));
  } catch (const Fail& error) {
    TF_SetStatus(status, error.code, error.message.c_str());
  }
}

// The type of an attribute that is one of some words.
std::string one_of(const std::vector<std::string>& choices) {
  std::string type;
  for (const std::string& choice : choices) type += (type.empty() ? "{'" : "', '") + choice;
  return type + "'}";
}

void define(const char* name, std::initializer_list<const char*> inputs, std::initializer_list<const char*> outputs,
            void (*shapes)(TF_ShapeInferenceContext*, TF_Status*)) {
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  for (int i = 0; i <= KG_INPUTS; i++) {
    const char* type = i == KG_MASK ? ": bool" : i == KG_INPUTS ? ": variant" : ": float";
    TF_OpDefinitionBuilderAddInput(op, (std::string(input_names[i]) + type).c_str());
  }
  for (const char* spec : inputs) TF_OpDefinitionBuilderAddInput(op, spec);
  for (const char* spec : outputs) TF_OpDefinitionBuilderAddOutput(op, spec);
  TF_OpDefinitionBuilderAddAttr(op, ("cell: " + one_of(cell_names())).c_str());
  TF_OpDefinitionBuilderAddAttr(op, ("activation: " + one_of(activation_names())).c_str());
  TF_OpDefinitionBuilderAddAttr(op, ("output_activation: " + one_of(activation_names())).c_str());
  for (const char* spec :
       {"vector_names: string", "update_writes: bool", "output_previous: bool", "constant: float", "shows_memory: bool",
        "keep_tape: bool", "return_sequences: bool", "go_backwards: bool", "zero_output_for_mask: bool",
        "bfloat16_products: bool", "threads: int"})
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
