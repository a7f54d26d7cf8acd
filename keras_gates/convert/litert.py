"""Models as LiteRT (TensorFlow Lite) files."""

import contextlib
import tempfile

from keras_gates._arguments import check_choice, check_size
from keras_gates._files import check_free, written_whole
from keras_gates.layers.stepping import attributes, plain_loops
from keras_gates.opened import Opened
from keras_gates.opened.whole import run
from keras_gates.serving.endpoints import Endpoint
from keras_gates.serving.endpoints.step import step
from keras_gates.serving.saved_model import check_exportable


def to_litert(model, path, endpoint="serve", time=None, batch_size=1):
    """Write a model as a LiteRT (TensorFlow Lite) file with built-in operations only.

    Args:
        model: as `keras_gates.export` takes it.
        path: the file to write. It must not exist.
        endpoint: `"serve"`, whole sequences of a fixed length, whose loops are unrolled (LiteRT has no
            built-in operation for them); or `"step"`, one step and the states before it to outputs and new
            states, which needs no loop.
        time: the number of steps of a sequence, for `"serve"`.
        batch_size: the number of sequences, which is fixed too.

    The signature is `serving_default`, its inputs and outputs are named as in the SavedModel of
    `keras_gates.export`, except that a text model takes `tokens`.

    Raises:
        FileExistsError, OSError, TypeError, ValueError: as `keras_gates.export`; `time` is missing.
    """
    import tensorflow as tf

    check_exportable(model)
    path = check_free(path)
    opened = Opened(model)
    if check_choice("endpoint", endpoint, ("serve", "step")) == "step":
        function, inputs = step(opened)
    else:
        if time is None:
            raise ValueError("LiteRT takes whole sequences of a fixed length only: give `time`.")
        check_size("time", time)
        function, inputs = _unrolled(opened)
    check_size("batch_size", batch_size)
    specs = [
        tf.TensorSpec(_fixed(like.shape, batch_size, time), like.dtype, name) for name, like in inputs.items()
    ]
    module = tf.Module()
    module.function = tf.function(function, autograph=False)
    concrete = module.function.get_concrete_function(*specs)
    module.kept = list(concrete.graph.variables)
    # only from a SavedModel does the converter keep the names of inputs and outputs
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=concrete)
        try:
            converted = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"LiteRT has no operation for a part of {model.name!r}: {reason}") from error
    with written_whole(path, "model") as partial:
        partial.write_bytes(converted)


def _fixed(shape, batch_size, time):
    free = [batch_size, time, *[None] * len(shape)]
    return [known if size is None else size for size, known in zip(shape, free, strict=False)]


def _unrolled(opened):
    """From whole sequences, of tokens for a text model, the outputs, without a loop."""
    opened.check_recurrent()
    layers = opened.recurrent.values()

    def serve(*tensors):
        with contextlib.ExitStack() as stack:
            stack.enter_context(plain_loops(layers))
            for layer in layers:
                stack.enter_context(attributes(layer, unroll=True, use_cudnn=False))
            return run(opened.whole.model, tensors)

    return Endpoint(serve, opened.whole.inputs)
