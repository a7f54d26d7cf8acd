"""The kernels under `mixed_bfloat16`: dtypes of the plain path, errors no larger, never in what is saved."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("these are the kernels of TensorFlow", allow_module_level=True)

import test_kernels  # noqa: E402
from kernel_problems import CELLS, random_layer  # noqa: E402
from test_kernel_grid import FULL, errors, in_double_precision  # noqa: E402
from test_kernels import answers, fitted, holds_kernels, needs_kernels  # noqa: E402

import keras_gates  # noqa: E402
from keras_gates.kernels import core, selftest  # noqa: E402

calls = test_kernels.calls  # a fixture

POLICY = "mixed_bfloat16"
# Batch, time, features, units, mask, backwards. An odd depth of a product leaves a pair that is not full.
PROBLEM = (33, 9, 31, 40, "holes", False)
# One of each kind of state, weight and product; the self-test of a fresh build tries every kernel.
SOME = [
    "simple", "indrnn tanh", "peephole previous", "gru", "gru before", "slstm", "layer-norm-lstm",
    "clockwork", "full peepholes", "depth-gated",
]  # fmt: skip


def multiplies_bfloat16():
    with open("/proc/cpuinfo") as info:
        return "avx512_bf16" in info.read().split()


def layer_and_question(make, problem):
    return random_layer(make, problem, arguments={"dtype": POLICY}, dtype=POLICY)


@needs_kernels
@pytest.mark.parametrize("name", [name for name in CELLS if name != "indrnn"] if FULL else SOME)
def test_no_less_exact_than_the_plain_path(name, calls):
    """In the root of the mean square: the largest of many errors is a matter of luck.

    IndRNN with relu is left out: near the kink either path may be on the wrong side.
    """
    layer, question = layer_and_question(CELLS[name], PROBLEM)
    exact = in_double_precision(name, layer.trainable_variables, question, backwards=False)
    plain, fused = (answers(layer, *question, when) for when in ("never", "always"))
    assert calls == [True]
    for of, value in plain.items():
        assert fused[of].dtype == value.dtype, of
    for of, want in exact.items():
        error, allowed = (np.sqrt(np.mean((given[of] - want) ** 2)) for given in (fused, plain))
        assert error <= allowed, f"{of} is off by {error:.1e}, plainly by {allowed:.1e}"


@needs_kernels
def test_products_are_of_bfloat16_where_the_processor_has_them():
    """The self-test's errors, of the core alone, where everything else is float32."""
    run = core.library().run_arrays
    single, narrow = (selftest.errors(run, selftest.FEW, dtype).values() for dtype in ("float32", "bfloat16"))
    if multiplies_bfloat16():
        assert min(narrow) > 1e-3 > max(single)
    else:
        assert list(narrow) == list(single)


def assert_near(got, want):
    """Two answers of bfloat16, whose numbers are rounded by up to 0.2 % over and over."""
    got, want = ({k: a.astype("float32") for k, a in answer.items()} for answer in (got, want))
    for name, error in errors(got, want).items():
        assert error < 0.03, f"{name} is off by {error:.1e} of its largest value"


@needs_kernels
def test_fit_and_predict_go_the_same_way(calls):
    def make(x):
        return keras_gates.GRU(4, dtype=POLICY, dropout=0.2, recurrent_dropout=0.2)(x)

    found = [fitted(make, "float32", when) for when in ("always", "never")]
    assert set(calls) == {True, False}
    assert_near(*found)


@needs_kernels
def test_wrapped_cells_go_the_same_way(calls):
    def make(units, **arguments):
        cell = keras_gates.ZoneoutCell(keras_gates.LSTMCell(units, **arguments))
        return keras_gates.ResidualCell(cell, project=True)

    layer, question = layer_and_question(make, (3, 5, 4, 6, "holes", False))
    found = [answers(layer, *question, when, training=False) for when in ("always", "never")]
    assert calls == [False]
    assert_near(*found)


@needs_kernels
@pytest.mark.parametrize(
    "make",
    [
        lambda: keras_gates.RNN(keras_gates.LSTMCell(4, dtype="float32"), dtype=POLICY),
        lambda: keras_gates.RNN(keras_gates.LSTMCell(4, dtype=POLICY), dtype="float32"),
        lambda: keras_gates.RNN(
            keras_gates.ResidualCell(keras_gates.LSTMCell(4, dtype="float32"), dtype=POLICY), dtype=POLICY
        ),
    ],
    ids=["cell", "layer", "wrapper"],
)
def test_where_only_some_are_of_mixed_precision_the_plain_path_serves(make, calls):
    make()(np.ones((2, 3, 4), "float32"), training=True)
    assert not calls


@needs_kernels
def test_what_is_exported_holds_no_kernels(tmp_path, calls):
    model = keras.Sequential([keras.Input((5, 3)), keras_gates.LSTM(4, dtype=POLICY)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    model.fit(x, np.zeros((4, 4)), verbose=0)
    assert calls == [True]
    model.export(tmp_path / "saved", verbose=False)
    assert not holds_kernels(tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved"))
    assert_near({"y": served.serve(x).numpy()}, {"y": model.predict(x, verbose=0)})
