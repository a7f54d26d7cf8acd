"""The endpoint `trace`: whole sequences to outputs and to every gate and state."""

import contextlib

from keras import ops

from keras_gates.introspect.recording import recording, reporting_cells
from keras_gates.layers.stepping import identifier, where_step, without_dropout
from keras_gates.opened.whole import run
from keras_gates.serving.endpoints import Endpoint


def endpoints(opened):
    """`trace`: the outputs and every gate and state, `(batch, time, …)`, NaN where a step is masked.

    Raises:
        UnreadableModelError: nothing in the model is recurrent.
    """
    opened.check_recurrent()
    layers = {place: (layer, reporting_cells(layer)) for place, layer in opened.recurrent.items()}

    def trace(*inputs):
        with contextlib.ExitStack() as stack:
            for layer in opened.recurrent.values():
                stack.enter_context(without_dropout(layer))
            records = stack.enter_context(recording(layers))
            outputs = run(opened.functional, inputs)
        for record in records.values():
            for place, named in record.everything().items():
                for quantity, values in named.items():
                    outputs[identifier(place, quantity)] = _batch_first(values, record.mask)
        return outputs

    return {"trace": Endpoint(trace, opened.inputs)}


def _batch_first(values, mask):
    if mask is not None:
        values = where_step(mask, values, ops.full_like(values, float("nan")))
    return ops.swapaxes(values, 0, 1)
