"""The self-test of new kernels: it covers every kernel, runs in any scope and notices what is wrong."""

import contextlib
import re
import types

import keras
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("kernels serve TensorFlow only", allow_module_level=True)

from test_kernels import needs_kernels  # noqa: E402

from keras_gates.kernels import operation  # noqa: E402
from keras_gates.kernels.cells import DEFAULTS, EXAMPLES, describe  # noqa: E402

INPUTS = ("x", "kernel", "recurrent_kernel", "bias", "vectors", "h", "c", "recurrent_mask")
OPTIONS = {
    **{name: value for name, value in DEFAULTS.items() if name != "cell"}, "mask": False,
    "keep_tape": True, "return_sequences": True, "go_backwards": False, "zero_output_for_mask": False,
    "threads": 1,
}  # fmt: skip


@needs_kernels
def test_every_kernel_is_tested():
    """The operation itself lists the cells that it knows when asked for one that it does not."""
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        operation.library().keras_gates_forward(
            **dict.fromkeys(INPUTS, 0.0), **OPTIONS, guard=operation.guard(), cell="unknown"
        )
    listed = re.search(r'allowed values: ((, )?"\w+")+', str(refused.value))[0]
    every = set(re.findall(r'"(\w+)"', listed))
    assert {describe(example(2, dtype="float32"))["cell"] for example in EXAMPLES} == every


@contextlib.contextmanager
def traced():
    with tf.Graph().as_default(), tf.init_scope():
        yield


@contextlib.contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    yield
    keras.config.set_dtype_policy(before)


@needs_kernels
@pytest.mark.parametrize(
    "scope",
    [traced, tf.Graph().as_default, keras.StatelessScope, lambda: policy("mixed_float16")],
    ids=["lifted out of a graph", "graph", "stateless", "mixed precision"],
)
def test_the_self_test_passes_in_any_scope(scope):
    from keras_gates.kernels import selftest

    library, guard = operation.library(), operation.guard()
    with scope():
        selftest.check(library, guard)


@needs_kernels
@pytest.mark.parametrize("input_name", ["d_last", "gates", "d_h_out"])
def test_the_self_test_notices_a_wrong_gradient(input_name):
    from keras_gates.kernels import build, selftest

    library = operation.library()
    broken = types.SimpleNamespace(
        keras_gates_forward=library.keras_gates_forward,
        keras_gates_backward=lambda **a: library.keras_gates_backward(
            **{**a, input_name: a[input_name] + 0.01}
        ),
    )
    with pytest.raises(build.BuildError, match="self-test"):
        selftest.check(broken, operation.guard())


@needs_kernels
def test_the_self_test_notices_a_wrong_value():
    from keras_gates.kernels import build, selftest

    library = operation.library()
    broken = types.SimpleNamespace(
        keras_gates_forward=lambda **a: library.keras_gates_forward(**{**a, "bias": a["bias"] + 0.01}),
        keras_gates_backward=library.keras_gates_backward,
    )
    with pytest.raises(build.BuildError, match="self-test"):
        selftest.check(broken, operation.guard())
