"""Models that leave the lab: a SavedModel that serves where neither Keras nor this package is installed.

TensorFlow is imported by the functions that need it, so that `import keras_gates` works without it.
"""

import contextlib
import json

import keras

from keras_gates._arguments import check_choice
from keras_gates._files import check_free, write_digests, written_whole
from keras_gates._version import __version__
from keras_gates.introspect.sweep import UnreadableModelError, recurrent_layers
from keras_gates.serving.endpoints import (
    NotStepwiseError,
    Stepper,
    as_functional,
    named_inputs,
    serve_function,
    step_function,
    tokenize_function,
    trace_function,
)
from keras_gates.serving.readme import readme

ENDPOINTS = ("serve", "step", "trace")


def export(model, path, endpoints=None, metadata=None):
    """Write a model as a SavedModel for inference.

    The folder answers in any process that has TensorFlow; the README.txt in it says how, name by name:

        served = tensorflow.saved_model.load(path)
        served.signatures["serving_default"](inputs=x)["outputs"]

    It is written beside `path` and renamed when it is whole: what stands at `path` is complete or absent.

    Args:
        model: a built Keras model whose inputs are declared (functional, or `Sequential` from
            `keras.Input`). What it declares as `None`, batch and time as a rule, stays open. A model that
            begins with `TextVectorization` takes raw strings.
        path: the folder to write. It must not exist.
        endpoints: some of

            - `"serve"`: whole sequences to outputs, also as `serving_default`. It is always written.
            - `"step"`: one step of input and the states of all recurrent layers to outputs and new states,
              with `initial_state(batch_size)`; for a model of text, steps are tokens, from `tokenize`.
            - `"trace"`: whole sequences to outputs and every gate and state of every recurrent layer.

            By default all that the model can have: a model that reads the future cannot have `"step"`.
        metadata: what else to tell who loads the model, such as `{"classes": ["negative", "positive"]}`:
            a dict that JSON can hold.

    A single input is called `inputs`, several have their names in the model; a single output is `outputs`,
    several have their names in the model.

    Raises:
        FileExistsError: something stands at `path` already.
        OSError: the folder cannot be written (read-only, disk full); nothing is left at `path`.
        TypeError: `model` is no Keras model, or JSON cannot hold `metadata`.
        ValueError: an endpoint is unknown, or asked for and not to be had (the sentence names the layer at
            fault); the model declares no inputs, or keeps states between calls (`stateful=True`); Keras runs
            on another backend than TensorFlow.
    """
    check_exportable(model)
    wanted = _check_endpoints(endpoints)
    path = check_free(path)
    model = as_functional(model)
    about = _about(model, metadata)
    doors = _Doors(model)
    for endpoint in wanted:
        try:
            getattr(doors, f"add_{endpoint}")()
        except (NotStepwiseError, UnreadableModelError) as error:
            if endpoints is not None:
                raise
            doors.absent[endpoint] = str(error)
    about.update(endpoints=doors.described, absent=doors.absent)
    with written_whole(path, "model") as folder:
        _write_graph(doors.archive, folder)
        (folder / "metadata.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        write_digests(folder)  # before README.txt: `load` does not read it, and notes may be added to it
        (folder / "README.txt").write_text(readme(about), encoding="utf-8")


def load(path):
    """Read a SavedModel back as a callable.

    Args:
        path: a folder that `export` wrote; any SavedModel with a `serving_default` signature will do.

    Returns:
        A `keras_gates.serving.loaded.ServedModel`: called with inputs (NumPy arrays, lists or tensors of
        any dtype that converts without loss of meaning) it gives output tensors; `.trace(inputs)` every
        gate and state; `.stream()` takes sequences bit by bit and keeps the state.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        ValueError: the SavedModel there is damaged, or has no `serving_default` signature.
    """
    from keras_gates.serving.loaded import ServedModel

    return ServedModel(path)


def check_exportable(model):
    """Raise a TypeError or ValueError that says why a model cannot leave Keras, if it cannot."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model; got {model!r} of type {type(model).__name__}.")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"A SavedModel holds TensorFlow's operations, but Keras runs on {keras.backend.backend()}: "
            f"save the model as .keras, and export it in a process with KERAS_BACKEND=tensorflow."
        )
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"The model {model.name!r} does not declare its inputs: wrap it as "
            f"keras.Model(inputs, model(inputs)) with inputs = keras.Input(…) before exporting it."
        )
    for layer in _layers_within(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"The layer {layer.name!r} has stateful=True: all who call the exported model would share "
                f"its states. Rebuild the model with stateful=False, which has the same weights."
            )


def _layers_within(layer):
    """The layer, and every layer inside it: of models, and of wrappers like `Bidirectional`."""
    yield layer
    inner = [getattr(layer, name, None) for name in ("layer", "forward_layer", "backward_layer")]
    for child in [*getattr(layer, "layers", []), *inner]:
        if isinstance(child, keras.Layer):
            yield from _layers_within(child)


def _check_endpoints(endpoints):
    if endpoints is None:
        return ENDPOINTS
    names = (endpoints,) if isinstance(endpoints, str) else tuple(endpoints)
    for name in names:
        check_choice("endpoints", name, ENDPOINTS)
    return tuple(name for name in ENDPOINTS if name == "serve" or name in names)


class _Doors:
    """The endpoints of a model, as they are added to an archive and described."""

    def __init__(self, model):
        self.model = model
        self.archive = keras.export.ExportArchive()
        self.archive.track(model)
        self.described = {}
        self.absent = {}

    def add_serve(self):
        try:
            layers = recurrent_layers(self.model)
        except UnreadableModelError:  # it can be served none the less
            layers = {}
        self._add("serve", serve_function(self.model, layers), named_inputs(self.model))

    def add_trace(self):
        function = trace_function(self.model, recurrent_layers(self.model))
        self._add("trace", function, named_inputs(self.model))

    def add_step(self):
        stepper = Stepper(self.model)
        self._add("step", step_function(stepper), {**stepper.inputs, **stepper.carried})
        self._add("initial_state", stepper.initial_states, {"batch_size": keras.InputSpec("int32", ())})
        if stepper.tokenizer:
            self._add("tokenize", tokenize_function(stepper), named_inputs(self.model))

    def _add(self, endpoint, function, inputs):
        import tensorflow as tf

        inputs = {name: tf.TensorSpec(like.shape, like.dtype, name) for name, like in inputs.items()}
        added = self.archive.add_endpoint(endpoint, function, input_signature=list(inputs.values()))
        outputs = added.get_concrete_function().structured_outputs
        self.described[endpoint] = {"inputs": _described(inputs), "outputs": _described(outputs)}


def _described(tensors):
    return {name: {"dtype": like.dtype.name, "shape": list(like.shape)} for name, like in tensors.items()}


def _about(model, metadata):
    """What `metadata.json` tells of a model: a dict that JSON can hold; the user's own comes last."""
    import tensorflow as tf

    about = {
        "name": model.name,
        "keras_gates": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "parameters": model.count_params(),
        "cells": {},
    }
    with contextlib.suppress(UnreadableModelError):
        layers = recurrent_layers(model)
        about["cells"] = {place: type(layer.cell).__name__ for place, layer in layers.items()}
    for layer in model.layers:
        if isinstance(layer, keras.layers.TextVectorization):
            about["vocabulary"] = layer.get_vocabulary()
            split = layer.get_config()["split"]
            about["split"] = split if isinstance(split, str) else None
    try:
        json.dumps(metadata)
        return {**about, **(metadata or {})}
    except TypeError as error:
        raise TypeError(f"`metadata` must be a dict that JSON can hold; got {metadata!r}.") from error


def _write_graph(archive, folder):
    """Write the SavedModel of an archive; an error of TensorFlow's file system becomes an OSError."""
    import tensorflow as tf

    try:
        archive.write_out(folder, verbose=False)
    except tf.errors.OpError as error:
        # TensorFlow puts the reason behind the path and before the name of its operation
        raise OSError(str(error).splitlines()[0].rpartition("; ")[2].partition(" [Op:")[0]) from error
