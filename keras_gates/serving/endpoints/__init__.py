"""The endpoints of an exported model: functions of tensors, to be traced into a TensorFlow graph.

`whole` maps whole sequences to outputs, `trace` returns every gate and state as well, `step` takes one step
and the states before it. Each function runs the model's own layers in inference, with the loops of its
recurrent layers replaced; so what is exported is the model and not a copy of it.
"""

from typing import NamedTuple


class Endpoint(NamedTuple):
    """A function to be traced.

    Attributes:
        function: takes tensors in the order of `inputs`, and returns a dict of tensors by name.
        inputs: by name, for each input an object that has its `shape` and `dtype`.
    """

    function: object
    inputs: dict
