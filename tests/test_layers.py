"""The layers by name: one mechanism, so one table."""

import inspect
import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates import _stub, cell_classes, layer_of
from keras_gates._arguments import arguments_of
from keras_gates.layers.by_name import arguments_of_rnn

LAYERS = {
    name: getattr(keras_gates, cell.__name__.removesuffix("Cell"))
    for name, cell in cell_classes().items()
    if hasattr(keras_gates, cell.__name__.removesuffix("Cell"))
}
x = np.random.default_rng(1).normal(size=(2, 5, 3)).astype("float32")


@pytest.mark.parametrize("name", LAYERS)
def test_is_rnn_of_its_cell(name):
    layer = LAYERS[name](4, return_sequences=True, return_state=True, seed=1)
    plain = keras.layers.RNN(cell_classes()[name](4), return_sequences=True, return_state=True)
    layer.build(x.shape)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    with keras_gates.use_kernels("never"):  # equal to the last bit: in the same operations
        for ours, theirs in zip(layer(x), plain(x), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", LAYERS)
def test_config_is_flat_and_complete(name):
    layer = LAYERS[name](
        4, return_sequences=True, dropout=0.2, activation="relu", dtype="float64", name="one"
    )
    config = layer.get_config()
    assert "cell" not in config
    assert (
        config["units"] == 4
        and config["dropout"] == 0.2
        and config["return_sequences"]
        and config["name"] == "one"
    )
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert again.cell.compute_dtype == again.compute_dtype == "float64"


@pytest.mark.parametrize("name", LAYERS)
def test_help_shows_the_arguments_of_cell_and_rnn(name):
    shown = inspect.signature(LAYERS[name]).parameters
    assert {*arguments_of(cell_classes()[name]), "return_sequences", "stateful"} <= set(shown)
    for unused in cell_classes()[name].without:
        assert unused not in shown
        with pytest.raises(TypeError, match=unused):
            LAYERS[name](4, **{unused: True})


@pytest.mark.parametrize("name", LAYERS)
def test_bidirectional_makes_two_of_itself(name):
    both = keras.layers.Bidirectional(LAYERS[name](4, kernel_regularizer=keras.regularizers.L2(0.1)))
    assert type(both.forward_layer) is type(both.backward_layer) is LAYERS[name]
    assert both.backward_layer.go_backwards and both(x).shape == (2, 8)
    kernels = [w for w in both.trainable_weights if w.name == "kernel"]
    assert len(both.losses) == len(kernels) >= 2


@pytest.mark.parametrize("name", LAYERS)
def test_arguments_of_the_cell_are_attributes_of_the_layer(name):
    layer = LAYERS[name](4, dropout=0.25)
    assert layer.units == 4 and layer.dropout == 0.25
    for argument in arguments_of(cell_classes()[name]):
        assert getattr(layer, argument) is getattr(layer.cell, argument)


@pytest.mark.parametrize(
    "name, argument, value",
    [
        (name, argument, value)
        for name in LAYERS
        for argument, value in (
            ("dropout", 0.5),
            ("recurrent_dropout", np.float32(0.5)),
            ("activation", "softsign"),
            ("recurrent_activation", "hard_sigmoid"),
        )
        if argument in arguments_of(cell_classes()[name])
    ],
)
def test_activations_and_dropout_that_are_set_hold_for_the_next_call(name, argument, value):
    changed, made = LAYERS[name](4, seed=1), LAYERS[name](4, seed=1, **{argument: value})
    changed.build(x.shape)
    made.build(x.shape)
    made.set_weights(changed.get_weights())
    before = np.array(changed(x, training=True))
    setattr(changed, argument, value)
    np.testing.assert_allclose(changed(x, training=True), made(x, training=True), atol=1e-6)
    assert np.abs(np.array(changed(x, training=True)) - before).max() > 1e-3
    assert changed.get_config()[argument] == made.get_config()[argument]


@pytest.mark.parametrize("name, value", [("units", 8), ("use_bias", False), ("kernel_initializer", "ones")])
def test_what_the_layer_is_built_by_cannot_be_set(name, value):
    layer = keras_gates.LSTM(4)
    with pytest.raises(AttributeError, match=f"`{name}` of LSTM is fixed .* got {value!r}"):
        setattr(layer, name, value)


def test_a_rate_that_is_set_is_checked():
    with pytest.raises(ValueError, match="`dropout` must be a number"):
        keras_gates.LSTM(4).dropout = 1.5


@pytest.mark.parametrize("make", [keras_gates.LSTM, keras_gates.LSTMCell])
def test_units_alone_are_given_by_position(make):
    name = make.__name__
    for given, said in (((), "nothing"), ((4, "relu"), "4, 'relu'")):
        with pytest.raises(TypeError, match=f"^{name} takes `units` first .* got {said}"):
            make(*given)
    with pytest.raises(TypeError, match=f"^{name} takes `units` first .* got 4"):
        make(4, units=4)
    assert make(units=np.int64(4)).units == 4


def test_what_says_how_keras_computes_is_accepted_unless_it_asks_for_what_is_not_there():
    assert keras_gates.GRU(4, implementation=1, use_cudnn="auto")(x).shape == (2, 4)
    assert keras_gates.GRUCell(4, implementation=1).units == 4
    with pytest.raises(ValueError, match=r"`use_cudnn=True` is not available: GRU .* docs/migration\.md"):
        keras_gates.GRU(4, use_cudnn=True)


class Scaled:
    """An initializer that does not say how it is made, and cannot be made without arguments."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, self.scale, dtype=dtype)


class ScaledOfKeras(Scaled, keras.initializers.Initializer):
    """The same, derived from Keras' base."""


@pytest.mark.parametrize("initializer", [Scaled(3.0), ScaledOfKeras(3.0)], ids=["plain", "of Keras"])
@pytest.mark.parametrize("name", LAYERS)
def test_an_initializer_of_a_user_is_called_as_it_is(name, initializer):
    kinds = [kind for kind in arguments_of(cell_classes()[name]) if kind.endswith("_initializer")]
    layer = LAYERS[name](4, **dict.fromkeys(kinds, initializer), **no_forget_bias(name))
    layer.build(x.shape)
    own = ("state_beta", "depth_own", "depth_below")  # these always start at zero
    for weight in layer.trainable_weights:
        expected = 0.0 if weight.name in own else 3.0
        np.testing.assert_array_equal(weight, np.full(weight.shape, expected), err_msg=weight.path)


def no_forget_bias(name):
    possible = "unit_forget_bias" in arguments_of(cell_classes()[name])
    return {"unit_forget_bias": False} if possible else {}


def test_the_stub_for_editors_is_current():
    assert _stub.PATH.read_text() == _stub.stub(), "run python -m keras_gates._stub"


def test_public_functions_and_classes_are_annotated():
    for name in keras_gates.__all__:
        value = getattr(keras_gates, name)
        if not callable(value) or (
            isinstance(value, type) and value.__init__.__module__.startswith("keras.")
        ):
            continue
        parameters = (
            {"return": inspect.signature(value).return_annotation} if inspect.isroutine(value) else {}
        )
        parameters |= {
            argument: parameter.annotation
            for argument, parameter in inspect.signature(value).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
            and not (isinstance(value, type) and argument in arguments_of_rnn())  # of Keras
        }
        missing = [argument for argument, given in parameters.items() if given is inspect.Parameter.empty]
        assert not missing, f"{name} does not say the type of {', '.join(missing)}"


MISUSED = {
    "keras_gates.PeepholeLSTM(4, peephole='dense')": "Literal['diagonal', 'full']",
    "keras_gates.LSTM('4')": 'expected "int"',
    "keras_gates.GRUCell(4, update=True)": "Literal['keep', 'write']",
    "keras_gates.LSTM(4, dropout='no')": 'expected "float"',
    "keras_gates.LSTM(4, 'relu')": "Too many positional arguments",
}
USED = "keras_gates.PeepholeLSTM(4, peepholes=['i'], kernel_initializer=keras.initializers.Ones(), seed=None)"


def test_a_type_checker_finds_wrong_arguments(tmp_path):
    pytest.importorskip("mypy")
    code = tmp_path / "code.py"
    code.write_text("\n".join(["import keras", "import keras_gates", USED, *MISUSED]))
    # in the root, so that it finds in its cache what it read when it checked the package
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=pathlib.Path(keras_gates.__file__).parents[1],
    )
    found = [line for line in done.stdout.splitlines() if "code.py" in line and "error" in line]
    assert len(found) == len(MISUSED), done.stdout + done.stderr
    for line, (number, said) in zip(found, enumerate(MISUSED.values(), 4), strict=True):
        assert f"code.py:{number}:" in line and said in line, line


def test_layer_of_serves_a_cell_from_elsewhere():
    class HalfCell(keras_gates.SimpleRNNCell):
        """A simple cell that moves half-way."""

        def __init__(self, units, *, share=0.5, **kwargs):
            super().__init__(units, **kwargs)
            self.share = share

        def step(self, x, states, recur):
            (h,), gates = super().step(x, states, recur)
            return (self.share * h + (1 - self.share) * states[0],), gates

    half = layer_of(HalfCell)
    assert half.__name__ == "Half" and "share" in inspect.signature(half).parameters
    layer = half(4, share=0.25)
    assert layer(x).shape == (2, 4)
    assert half.from_config(layer.get_config()).cell.share == 0.25


def test_layer_classes_can_be_pickled():
    assert pickle.loads(pickle.dumps(keras_gates.PeepholeLSTM)) is keras_gates.PeepholeLSTM
