"""trace: every gate and memory of every recurrent layer, as named arrays."""

import functools
from typing import Any

import keras
import numpy as np

from keras_gates.introspect.recording import recording, reporting_cells
from keras_gates.opened import Opened


def trace(model: keras.layers.Layer, inputs: Any, mask: Any = None) -> dict[str, dict[str, np.ndarray]]:
    """What every recurrent layer computed at every step, gates and states by name.

    The model runs once, in inference mode, and each recurrent layer keeps what it computes. This includes
    layers inside functional, sequential and subclassed models, `Bidirectional` and other wrappers. Gates are
    reported for all cells of `keras_gates`, and for Keras' own `LSTM`, `GRU` and `SimpleRNN`, whose weights
    are run by the cells of this package; for any other cell there are only the states.

    The pass is compiled on the first call and reused for the same model; the last four are kept.

    Args:
        model: a Keras model or layer. If it is stateful, its states are left as they were.
        inputs: as the model takes them: an array or tensor, `(batch, time, …)`, or a list or dict of them.
        mask: which steps count, `(batch, time)`, as the model's own `mask` argument.

    Returns:
        `{layer: {name: array}}`, each array of shape `(batch, time, units)`, in the order of the *input* also
        where the layer runs backwards. A layer is named by its place in the model: `lstm`,
        `bidirectional/forward`, `encoder/gru`; a level of `StackedRNNCells` by its index, `rnn/0`; a second
        call of a layer is `lstm#2`. Names are those of the cell's gates, then of its states; `output` where
        this is not the first state. Masked steps are NaN.

    Raises:
        TypeError: `model` is not a Keras model or layer.
        ValueError: nothing in it is recurrent.
    """
    return run_pass(_tracer(opened_on(model, inputs)), inputs, mask)


def opened_on(model, inputs):
    """An `Opened` of the model, which is built on the inputs if it is not built yet.

    Raises:
        TypeError, ValueError: as in `trace`.
    """
    if isinstance(model, keras.Layer) and not model.built:
        model(inputs)
    opened = Opened(model)
    opened.check_recurrent()
    return opened


def run_pass(compiled, inputs, mask, **arguments):
    """Run a `Pass` and return its arrays batch first, with NaN at masked steps."""
    arguments["inputs"] = inputs
    arguments = keras.tree.map_structure(_as_array, arguments)
    if mask is not None:
        arguments["mask"] = np.asarray(mask, bool)
    return {
        place: {name: _batch_first(values, level.get("mask")) for name, values in level["named"].items()}
        for place, level in compiled.predict_on_batch(arguments).items()
    }


def _batch_first(values, mask):
    if mask is not None:
        values = np.where(mask.reshape(mask.shape + (1,) * (values.ndim - 2)), values, np.nan)
    return values.swapaxes(0, 1)


def _as_array(values):
    return values if hasattr(values, "dtype") else np.asarray(values)


@functools.lru_cache(maxsize=4)
def _tracer(opened):
    return Tracer(opened)


class Pass(keras.Model):
    """Runs a model and returns what its recurrent layers compute, compiled by Keras' `predict`."""

    def __init__(self, opened):
        # Whether to cast its inputs is up to the wrapped model.
        super().__init__(autocast=False)
        self.model = opened.model
        self.recurrent = {place: (layer, reporting_cells(layer)) for place, layer in opened.recurrent.items()}
        # XLA takes long to compile a loop and rounds differently; for JAX it is the only compiler.
        self.jit_compile = keras.backend.backend() == "jax"
        self.built = True

    def run(self, inputs, mask=None):
        """The model's outputs. No variable is changed, so a stateful layer stays where it was."""
        keyword = {} if mask is None else {"mask": mask}
        held = [(variable, variable.value) for variable in self.model.variables]
        with keras.StatelessScope(state_mapping=held):
            return self.model(inputs, training=False, **keyword)


class Tracer(Pass):
    def call(self, arguments):
        with recording(self.recurrent) as records:
            self.run(**arguments)
        return with_masks({place: (record, record.everything()) for place, record in records.items()})


def with_masks(told):
    """By place of the cell, its named tensors and the mask of its layer, as a `Pass` returns them.

    Args:
        told: by place of the layer, its `Record`, and the named tensors of its cells by their places.
    """
    return {
        place: {"named": named, **({} if record.mask is None else {"mask": record.mask})}
        for record, cells in told.values()
        for place, named in cells.items()
    }
