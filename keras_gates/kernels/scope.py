"""Where the kernels may stand: not under XLA, not beside a GPU, not in what is being exported."""

import sys

import keras

_EXPORTERS = ("tensorflow.python.saved_model", "tensorflow.lite")


def allows_kernels(training):
    """Whether the code being run, or the function being traced, may contain the kernels.

    Args:
        training: whether it is a training step. Inference in a graph could be meant for export, so there
            only Keras' own `evaluate` and `predict` functions, which Keras never exports, may have them.
    """
    import tensorflow as tf

    if any(device.device_type != "CPU" for device in tf.config.get_visible_devices()):
        return False
    if tf.executing_eagerly():
        return True
    graph = tf.compat.v1.get_default_graph()
    if not graph.building_function or _under_xla(graph):
        return False
    tracer = _tracer()
    return tracer == "keras" or (tracer is None and bool(training))


def _under_xla(graph):
    """Whether a graph, or one it is nested in, is traced for `jit_compile=True`.

    TensorFlow marks it by a control flow context; XLA has no kernel for operations of our own.
    """
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def _tracer():
    """Who asked for the trace that is going on: "export", "keras" (fit, evaluate, predict) or None.

    A trace happens inside the call that asks for it, so the innermost caller that is either of these
    is the one. Keras' modules are found by its public classes.
    """
    trainers = {base.__module__ for base in keras.Model.__mro__ if base.__name__.endswith("Trainer")}
    exporters = (*_EXPORTERS, keras.export.ExportArchive.__module__.rpartition(".")[0])
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(exporters):
            return "export"
        if module in trainers:
            return "keras"
        frame = frame.f_back
    return None
