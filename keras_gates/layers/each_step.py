"""A layer that is applied to every step of a sequence."""

from typing import Any

from keras import KerasTensor, layers, ops

from keras_gates.cells.base import register


@register()
class EachStep(layers.Wrapper):
    """Applies a layer, or a whole model, to every step of a sequence, all steps at once.

        features = EachStep(encoder)(frames)    # frames (batch, time, height, width, 3)

    Unlike `keras.layers.TimeDistributed`, which runs the layer once for each step, it runs the layer once on
    `batch · time` examples: batch normalisation and convolutions take them as one batch. Axes that are free
    in the input, such as the height and width of pictures, stay free.

    Args:
        layer: a `keras.Layer` with one input and one output, `(batch, …)`; its output must have the same
            shape for every step.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: shape `(batch, time, …)`.

    Returns:
        Shape `(batch, time, …)`. The mask of the input is passed on, not to the layer.

    Raises:
        ValueError: the input has no time axis.
    """

    def __init__(self, layer: layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 2:
            raise ValueError(
                f"{type(self).__name__} expects a sequence, (batch, time, …); "
                f"got an input of shape {input_shape}."
            )
        super().build(self._shape_of_a_step(input_shape))

    def call(self, inputs):
        shape = ops.shape(inputs)
        batch = ops.reshape(inputs, (shape[0] * shape[1], *shape[2:]))
        outputs = self.layer(batch)
        return ops.reshape(outputs, (*shape[:2], *ops.shape(outputs)[1:]))

    def compute_output_spec(self, inputs):
        step = self.layer.compute_output_spec(
            KerasTensor(self._shape_of_a_step(inputs.shape), dtype=inputs.dtype)
        )
        return KerasTensor((*inputs.shape[:2], *step.shape[1:]), dtype=step.dtype)

    def compute_output_shape(self, input_shape):
        step = self.layer.compute_output_shape(self._shape_of_a_step(input_shape))
        return (*input_shape[:2], *step[1:])

    @staticmethod
    def _shape_of_a_step(input_shape):
        return (None, *input_shape[2:])
