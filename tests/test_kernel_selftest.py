"""The self-test of new kernels: it covers every kernel, runs in any scope and notices what is wrong."""

import contextlib
import re

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("these are the kernels of TensorFlow", allow_module_level=True)

from test_kernels import needs_kernels  # noqa: E402

from keras_gates.kernels import build, core, on_tensorflow, selftest, signature  # noqa: E402
from keras_gates.kernels.cells import DEFAULTS, EXAMPLES, describe  # noqa: E402

INPUTS = ("x", "kernel", "recurrent_kernel", "bias", "vectors", "h", "c", "recurrent_mask", "keep")
OPTIONS = {
    **{name: value for name, value in DEFAULTS.items() if name != "cell"}, "mask": False,
    "keep_tape": True, "return_sequences": True, "go_backwards": False, "zero_output_for_mask": False,
    "bfloat16_products": False, "threads": 1,
}  # fmt: skip


@needs_kernels
def test_every_kernel_is_tested():
    """The operation itself lists the cells that it knows when asked for one that it does not."""
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        on_tensorflow.library().keras_gates_forward(
            **dict.fromkeys(INPUTS, 0.0), **OPTIONS, guard=on_tensorflow.guard(), cell="unknown"
        )
    listed = re.search(r'allowed values: ((, )?"\w+")+', str(refused.value))[0]
    every = set(re.findall(r'"(\w+)"', listed))
    assert {describe(example(4, dtype="float32"))["cell"] for example in EXAMPLES} == every
    assert every == set(core.library().cells)


def by_tensorflow(way, attributes, inputs):
    return on_tensorflow.run_arrays(on_tensorflow.library(), way, attributes, inputs)


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
    selftest._problem.cache_clear()
    with scope():
        selftest.check(by_tensorflow)


@needs_kernels
@pytest.mark.parametrize("input_name", ["d_last", "gates", "d_h_out"])
def test_the_self_test_notices_a_wrong_gradient(input_name):
    def broken(way, attributes, inputs):
        wrong = {input_name: inputs[input_name] + np.float32(0.01)} if way == "backward" else {}
        return by_tensorflow(way, attributes, {**inputs, **wrong})

    with pytest.raises(build.BuildError, match="self-test"):
        selftest.check(broken)


@needs_kernels
def test_the_self_test_notices_a_wrong_value():
    def broken(way, attributes, inputs):
        wrong = {"bias": inputs["bias"] + np.float32(0.01)} if way == "forward" else {}
        return by_tensorflow(way, attributes, {**inputs, **wrong})

    with pytest.raises(build.BuildError, match="self-test"):
        selftest.check(broken)


@needs_kernels
def test_a_library_of_another_interface_is_not_loaded(monkeypatch):
    monkeypatch.setattr(core, "ABI_VERSION", core.ABI_VERSION + 1)
    with pytest.raises(OSError, match=f"version {core.ABI_VERSION - 1}, not {core.ABI_VERSION}"):
        core.Core(build.cache_folder() / build.file_name(build.CORE))


@needs_kernels
def test_the_c_interface_refuses_what_does_not_fit():
    attributes, inputs, *_ = selftest._problem(EXAMPLES[0])
    for name, shape in {
        "x": (5, 19),
        "kernel": (19, 20),
        "h": (4, 21),
        "mask": (5, 2),
        "bias": (20,),
    }.items():
        wrong = {**inputs, name: np.zeros(shape, inputs[name].dtype)}
        with pytest.raises(ValueError, match=f"keras_gates: `{name}` must"):
            run_forward_as(attributes, wrong, like=inputs)


def run_forward_as(attributes, inputs, like):
    """The forward pass, with results of the shapes that go with other inputs."""
    library = core.library()
    shapes = library.output_shapes(attributes, *like["x"].shape[:2], like["h"].shape[1])
    given = [inputs[name] for name in signature.INPUTS]
    wanted = [np.empty(shape, "float32") for shape in shapes.values()]
    addressed = ([(a.ctypes.data, a.shape) for a in arrays] for arrays in (given, wanted))
    library.run("forward", library.options(attributes), *addressed)
