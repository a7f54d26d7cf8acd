"""Concatenation of features, step by step."""

from keras import layers, ops

from keras_gates._arguments import Configured
from keras_gates.cells.base import register


@register()
class JoinSteps(Configured, layers.Layer):
    """Concatenates the features of sequences at every step; a vector is repeated at every step.

        encoded = JoinSteps()([heard, context])    # context (batch, size) at every step of heard

    The output has the mask of the first input. (`keras.layers.Concatenate` does not take vectors together
    with sequences, and masks a step only if all of its inputs mask it.)

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: a list. The first is a sequence, shape `(batch, time, features)`; each of the others is a
            sequence of the same steps, or one vector for all steps, shape `(batch, features)`.

    Returns:
        Shape `(batch, time, sum of all features)`.

    Raises:
        ValueError: the inputs are not a list, the first is not a sequence, or another is neither a sequence
            nor a vector.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        ranks = [len(shape) if isinstance(shape, (list, tuple)) else 0 for shape in input_shape]
        if ranks[:1] != [3] or not set(ranks) <= {2, 3}:
            raise ValueError(
                f"{type(self).__name__} expects a list of a sequence, (batch, time, features), then further "
                f"sequences or vectors, (batch, features); got inputs of shape {input_shape}."
            )

    def call(self, inputs):
        steps = ops.zeros_like(inputs[0][..., :1])
        return ops.concatenate([x if len(x.shape) == 3 else x[:, None] + steps for x in inputs], axis=-1)

    def compute_output_shape(self, input_shape):
        sizes = [shape[-1] for shape in input_shape]
        return (*input_shape[0][:-1], None if None in sizes else sum(sizes))

    def compute_mask(self, inputs, mask=None):
        return mask[0] if mask else None
