"""Export to a SavedModel, which runs where neither Keras nor this package is installed.

TensorFlow is imported by the functions that need it, so that `import keras_gates` works without it.
"""

import json
from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import keras

from keras_gates._arguments import check_choice
from keras_gates._files import check_free, write_digests, written_whole
from keras_gates._version import __version__
from keras_gates.opened import NotStepwiseError, Opened, UnreadableModelError
from keras_gates.opened.places import walk
from keras_gates.serving.endpoints import step, trace, whole
from keras_gates.serving.endpoints.write import endpoints as write_endpoints
from keras_gates.serving.endpoints.write import hand_to_export
from keras_gates.serving.readme import readme

if TYPE_CHECKING:
    from keras_gates.serving.loaded import ServedModel

# What the user requests by name, and the function that makes the endpoints which belong to it.
ENDPOINTS = {"serve": whole.endpoints, "step": step.endpoints, "trace": trace.endpoints}


def export(
    model: keras.Model,
    path: str | PathLike[str],
    endpoints: Iterable[Literal["serve", "step", "trace"]] | None = None,
    metadata: dict[str, Any] | None = None,
    write: dict[str, Any] | None = None,
) -> None:
    """Write a model as a SavedModel for inference.

    The folder can be used in any process that has TensorFlow; its README.txt says how, with all names:

        served = tensorflow.saved_model.load(path)
        served.signatures["serving_default"](inputs=x)["outputs"]

    It is written next to `path` and renamed when it is complete: `path` is complete or absent.

    Args:
        model: a built Keras model whose inputs are declared (functional, or `Sequential` from
            `keras.Input`). Axes that it declares as `None`, usually batch and time, stay free. A model that
            begins with `TextVectorization` takes raw strings.
        path: the folder to write. It must not exist.
        endpoints: some of

            - `"serve"`: whole sequences to outputs, also as `serving_default`. It is always written.
            - `"step"`: one step of input and the states of all recurrent layers to outputs and new states,
              with `initial_state(batch_size)`; for a text model, steps are tokens, from `tokenize`.
            - `"trace"`: whole sequences to outputs and every gate and state of every recurrent layer.

            By default all that the model supports: one that reads future steps does not support `"step"`.
        metadata: further information for whoever loads the model, such as
            `{"classes": ["negative", "positive"]}`: a dict that JSON can hold.
        write: for a model that writes: a dict of those arguments of `keras_gates.write` that say how, such as
            `{"over": "said", "start": 1, "stop": 2, "how": keras_gates.Beam(5)}`: some of `over`, `start`,
            `stop`, `how`, `output`, `head` and `vocabulary`. The folder has the endpoint

            - `"write"`: the other inputs of the model, a prompt and a length to what is written, for
              `Sampling` with a temperature and a seed, and with the text where there is a vocabulary;

            and, but for a beam search, `"write_begin"` and `"write_on"`, which write piece by piece.

    A single input is called `inputs`, several have their names in the model; a single output is `outputs`,
    several have their names in the model.

    Raises:
        FileExistsError: `path` exists already.
        OSError: the folder cannot be written (read-only, disk full); nothing is left at `path`.
        TypeError: `model` is not a Keras model, or JSON cannot hold `metadata`.
        ValueError: an endpoint is unknown, or requested but unavailable for this model (the message names
            the layer at fault); the model declares no inputs, or keeps states between calls
            (`stateful=True`); Keras runs on a backend other than TensorFlow.
    """
    check_exportable(model)
    wanted = _check_endpoints(endpoints)
    path = check_free(path)
    opened = Opened(model)
    about = _about(opened, metadata)
    made: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in wanted:
        try:
            made |= ENDPOINTS[name](opened)
        except (NotStepwiseError, UnreadableModelError) as error:
            if endpoints is not None:
                raise
            absent[name] = str(error)
    resources = [opened.functional]
    if write is not None:
        hand, first = hand_to_export(model, write)
        made |= write_endpoints(hand, first)
        about["write"] = {"how": type(hand.writer.how).__name__, "starts": first is not None}
        if hand.tokenizer is not None:
            hand.tokenizer(["a text"])  # an archive takes what was called before
            resources.append(hand.tokenizer)
    archive, described = _archived(resources, made)
    about.update(endpoints=described, absent=absent)
    with written_whole(path, "model") as folder:
        _write_graph(archive, folder)
        (folder / "metadata.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        write_digests(folder)  # before README.txt: `load` does not read it, and notes may be added to it
        (folder / "README.txt").write_text(readme(about), encoding="utf-8")


def load(path: str | PathLike[str]) -> "ServedModel":
    """Read a SavedModel back as a callable.

    The digests that `export` lists in `SHA256SUMS` are checked, which takes about 0.1 s for each 100 MB.
    Files that were added later, such as `assets.extra`, are ignored; a SavedModel without that list loads
    unchecked. To load a model whose files were changed on purpose, remove the list.

    Args:
        path: a folder that `export` wrote; any SavedModel with a `serving_default` signature will do.

    Returns:
        A `keras_gates.serving.loaded.ServedModel`: called with inputs (NumPy arrays, lists or tensors of
        any dtype that converts without loss of meaning) it returns output tensors; `.trace(inputs)` returns
        every gate and state as well; `.stream()` takes sequences in pieces and keeps the state; `.write(…)`
        and `.write_stream(…)` let a model write that was exported with `write`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        ValueError: the SavedModel there is damaged (the message names the file if it is known), or has no
            `serving_default` signature.
    """
    from keras_gates.serving.loaded import ServedModel

    return ServedModel(path)


def check_exportable(model):
    """Raise a TypeError or ValueError that says why a model cannot be exported, if it cannot."""
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
    for _, layer in walk(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"The layer {layer.name!r} has stateful=True: all callers of the exported model would share "
                f"its states. Rebuild the model with stateful=False, which has the same weights."
            )


def _check_endpoints(endpoints):
    if endpoints is None:
        return ENDPOINTS
    names = (endpoints,) if isinstance(endpoints, str) else tuple(endpoints)
    for name in names:
        check_choice("endpoints", name, ENDPOINTS)
    return tuple(name for name in ENDPOINTS if name == "serve" or name in names)


def _archived(resources, endpoints):
    """An archive of endpoints that use some layers, and the description of each for `metadata.json`."""
    import tensorflow as tf

    archive, described = keras.export.ExportArchive(), {}
    for layer in resources:
        archive.track(layer)
    for name, endpoint in endpoints.items():
        inputs = {key: tf.TensorSpec(like.shape, like.dtype, key) for key, like in endpoint.inputs.items()}
        added = archive.add_endpoint(name, endpoint.function, input_signature=list(inputs.values()))
        outputs = added.get_concrete_function().structured_outputs
        described[name] = {"inputs": _described(inputs), "outputs": _described(outputs)}
    return archive, described


def _described(tensors):
    return {name: {"dtype": like.dtype.name, "shape": list(like.shape)} for name, like in tensors.items()}


def _about(opened, metadata):
    """The content of `metadata.json`: a dict that JSON can hold; the user's own entries come last."""
    import tensorflow as tf

    model = opened.functional
    about = {
        "name": model.name,
        "keras_gates": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "parameters": model.count_params(),
        "cells": {place: type(layer.cell).__name__ for place, layer in opened.recurrent.items()},
    }
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
        # TensorFlow puts the reason after the path and before the name of its operation
        raise OSError(str(error).splitlines()[0].rpartition("; ")[2].partition(" [Op:")[0]) from error
