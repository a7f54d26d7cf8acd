"""Models that leave the lab: a SavedModel that serves where neither Keras nor this package is installed.

TensorFlow is imported by the functions that need it, so that `import keras_gates` works without it.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile

import keras


def export(model, path):
    """Write a model as a SavedModel for inference.

    The folder answers in any process that has TensorFlow:

        served = tensorflow.saved_model.load(path)
        served.signatures["serving_default"](inputs=x)["outputs"]

    It is written beside `path` and renamed when it is whole: what stands at `path` is complete or absent.

    Args:
        model: a built Keras model whose inputs are declared (functional, or `Sequential` from
            `keras.Input`). What it declares as `None`, batch and time as a rule, stays open. A model that
            begins with `TextVectorization` takes raw strings.
        path: the folder to write. It must not exist.

    The signature `serving_default` takes a single input as `inputs`, several by their names in the model;
    a single output is `outputs`, several have their names in the model.

    Raises:
        FileExistsError: something stands at `path` already.
        OSError: the folder cannot be written (read-only, disk full); nothing is left at `path`.
        TypeError: `model` is no Keras model.
        ValueError: the model declares no inputs, keeps states between calls (`stateful=True`), or Keras runs
            on another backend than TensorFlow.
    """
    _check_exportable(model)
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    path = _check_free(path)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", _serve_function(model), input_signature=_input_signature(model))
    with written_whole(path) as folder:
        archive.write_out(folder, verbose=False)


def load(path):
    """Read a SavedModel back as a callable.

    Args:
        path: a folder that `export` wrote; any SavedModel with a `serving_default` signature will do.

    Returns:
        A function from inputs (NumPy arrays, lists or tensors of any dtype that converts without loss of
        meaning) to output tensors; see `keras_gates.served.ServedModel`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        ValueError: the SavedModel there is damaged, or has no `serving_default` signature.
    """
    from keras_gates.served import ServedModel

    return ServedModel(path)


def _check_exportable(model):
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


def _check_free(path):
    path = pathlib.Path(path)
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already: give a path where nothing stands.")
    return path


def _input_signature(model):
    import tensorflow as tf

    names = ["inputs"] if len(model.inputs) == 1 else [x.name for x in model.inputs]
    return [tf.TensorSpec(x.shape, x.dtype, name=name) for x, name in zip(model.inputs, names, strict=True)]


def _serve_function(model):
    def serve(*inputs):
        outputs = model(keras.tree.pack_sequence_as(model.input, inputs), training=False)
        return _named(outputs, model.output_names)

    return serve


def _named(outputs, names):
    """A dict of the outputs: of a single one as `outputs`, of several by their names."""
    if isinstance(outputs, dict):
        return dict(outputs)
    outputs = keras.tree.flatten(outputs)
    return dict(zip(["outputs"] if len(outputs) == 1 else names, outputs, strict=True))


@contextlib.contextmanager
def written_whole(path):
    """A new folder beside `path` to write in, which becomes `path` at the end, or disappears.

    Raises:
        OSError: it could not be written: one sentence that gives `path` and the reason.
    """
    import tensorflow as tf

    folder = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.chmod(folder, 0o755)
        yield folder
        os.rename(folder, path)
    except (OSError, tf.errors.OpError) as error:
        raise OSError(f"The model could not be written to {path}: {_reason(error)}.") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _reason(error):
    """Why a file could not be written; TensorFlow puts it behind a path and before its operation."""
    message = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return message.rpartition("; ")[2].partition(" [Op:")[0]
