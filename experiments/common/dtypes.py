"""The dtype policy of a training, and the trained network in float32, in which it is saved."""

import contextlib

import keras

POLICIES = ("float32", "mixed_bfloat16")


def add_option(group):
    """Add the option that names the policy."""
    group.add_argument(
        "--dtype",
        choices=POLICIES,
        default="float32",
        help="Keras' dtype policy of the training; the trained model is tested and saved in float32",
    )


@contextlib.contextmanager
def policy(name):
    """Layers that are made inside have this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def in_float32(trained, build):
    """A trained network in float32, which any runtime computes; its weights are in float32 anyway.

    build: a function that makes the network anew.
    """
    if trained.dtype_policy.name == "float32":
        return trained
    with policy("float32"):
        network = build()
    network.set_weights(trained.get_weights())
    return network
