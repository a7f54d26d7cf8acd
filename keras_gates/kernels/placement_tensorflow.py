"""Where the kernels may be used under TensorFlow: not under XLA, not beside a GPU, not in what is saved.

An eager call may always use them. A function that is traced may contain them if it is not traced in order to
be saved. TensorFlow traces every `tf.function` again when it saves it, within a save context; a function that
was traced before and is saved as it is, a `ConcreteFunction`, is marked as unsaveable.
"""

import tensorflow as tf
from tensorflow.python.saved_model import save_context

UNSAVEABLE = (
    "It holds the fused kernels of keras_gates, which no other process has. Call "
    'keras_gates.use_kernels("never") before the function is traced: then it takes the plain path and can '
    "be saved, exported and converted."
)


def allows_kernels(stays_here):
    """Whether the code being run, or the function being traced, may contain the kernels.

    Args:
        stays_here: whether a function is certainly not meant for export. If it may be, only the steps that
            Keras runs contain the kernels.
    """
    if any(device.device_type != "CPU" for device in tf.config.get_visible_devices()):
        return False
    if tf.executing_eagerly():
        return True
    graph = tf.compat.v1.get_default_graph()
    function = _function_of(graph)
    if function is None or save_context.in_save_context() or _under_xla(graph):
        return False
    return stays_here or _is_step_of_keras(function)


def forbid_saving():
    """Mark the function being traced, if there is one, and those around it: TensorFlow refuses to save them.

    TensorFlow itself passes the mark on to every function that calls this one.
    """
    if not tf.executing_eagerly():
        for graph in _graphs_around(tf.compat.v1.get_default_graph()):
            graph.mark_as_unsaveable(UNSAVEABLE)


def _graphs_around(graph):
    """A function's graph, then those of the functions in which it is being traced."""
    while isinstance(graph, tf.__internal__.FuncGraph):
        yield graph
        graph = graph.outer_graph


def _function_of(graph):
    """The graph of the function to which a graph belongs; bodies of loops and branches have graphs too."""
    return next((g for g in _graphs_around(graph) if type(g) is tf.__internal__.FuncGraph), None)


def _under_xla(graph):
    """Whether a graph, or one it is nested in, is traced for `jit_compile=True`.

    TensorFlow marks it by a control flow context; XLA cannot compile operations of our own.
    """
    for outer in _graphs_around(graph):
        context = outer._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
    return False


def _is_step_of_keras(function):
    """Whether the function being traced is the one in which Keras runs a step of fit, evaluate or predict.

    Keras runs its steps through `tf.distribute.Strategy.run`, also without a strategy; that enters a replica
    context in the graph at hand. A function called inside the step starts with the contexts of the graph
    around it and enters none: it is another function, and could be saved without the step.
    """
    around = function.outer_graph._distribution_strategy_stack
    return len(function._distribution_strategy_stack) > len(around)
