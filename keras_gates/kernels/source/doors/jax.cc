// The kernels as typed handlers of XLA's foreign function interface, for jax.ffi.
#include <cstring>
#include <vector>

#include "../api.h"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;

KerasGatesTensor plain(const ffi::AnyBuffer& buffer) {
  const auto dims = buffer.dimensions();
  KerasGatesTensor tensor{buffer.untyped_data(), int64_t(dims.size()), {}};
  for (size_t axis = 0; axis < dims.size() && axis < 3; axis++) tensor.dims[axis] = dims[axis];
  return tensor;
}

using Run = decltype(keras_gates_forward);

// `options` are the bytes of KerasGatesOptions.
template <Run run, size_t inputs, size_t outputs>
ffi::Error call(ffi::RemainingArgs arguments, ffi::RemainingRets results, ffi::Span<const int32_t> options) {
  KerasGatesOptions chosen;
  if (arguments.size() != inputs || results.size() != outputs || options.size() * sizeof(int32_t) != sizeof chosen)
    return ffi::Error::InvalidArgument("keras_gates: the call does not fit this version of the kernels.");
  std::memcpy(&chosen, options.begin(), sizeof chosen);
  KerasGatesTensor given[inputs], wanted[outputs];
  for (size_t k = 0; k < inputs; k++) given[k] = plain(arguments.get<ffi::AnyBuffer>(k).value());
  for (size_t k = 0; k < outputs; k++) wanted[k] = plain(*results.get<ffi::AnyBuffer>(k).value());
  char message[400];
  const int32_t status = run(&chosen, given, wanted, message, sizeof message);
  const ffi::ErrorCode codes[] = {ffi::ErrorCode::kOk, ffi::ErrorCode::kInvalidArgument,
                                  ffi::ErrorCode::kResourceExhausted, ffi::ErrorCode::kInternal};
  return status == keras_gates_ok ? ffi::Error::Success() : ffi::Error(codes[status], message);
}

auto binding() { return ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attr<ffi::Span<const int32_t>>("options"); }

}  // namespace

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(keras_gates_jax_forward, (call<keras_gates_forward, KG_INPUTS, KG_OUTPUT_COUNT>),
                              binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(keras_gates_jax_backward, (call<keras_gates_backward, KG_BACKWARD_INPUTS, KG_GRADIENTS>),
                              binding());
#pragma GCC visibility pop
