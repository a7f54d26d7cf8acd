"""The endpoint `serve`: whole sequences to outputs."""

from keras_gates.layers.stepping import plain_loops
from keras_gates.opened.whole import run
from keras_gates.serving.endpoints import Endpoint


def endpoints(opened):
    """`serve`: the model as it is, including its tokenizer if it takes text."""

    def serve(*inputs):
        with plain_loops(opened.recurrent.values()):
            return run(opened.functional, inputs)

    return {"serve": Endpoint(serve, opened.inputs)}
