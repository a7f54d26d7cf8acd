"""What the two passes take and give, in the order of the C interface (`source/api.h`)."""

INPUTS = ("x", "mask", "kernel", "recurrent_kernel", "bias", "vectors", "h", "c", "recurrent_mask", "keep")
OUTPUTS = ("outputs", "last", "h_out", "c_out", "gates", "memory")

# The backward pass takes the inputs, what it needs from the forward pass, and gradients of the results.
FROM_FORWARD = ("outputs", "gates", "memory")
D_OUTPUTS = ("d_outputs", "d_last", "d_h_out", "d_c_out")
BACKWARD_INPUTS = (*INPUTS, *FROM_FORWARD, *D_OUTPUTS)

# It gives the gradients of these.
DIFFERENTIATED = ("x", "kernel", "recurrent_kernel", "bias", "vectors", "h", "c")
