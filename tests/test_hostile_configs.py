"""Configs from damaged and hostile files: one sentence that names the argument, and nothing is run."""

import json
import sys

import keras
import pytest

import keras_gates

RAN = []
WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class",
           "ctypes.dlopen", "socket.connect", "shutil.rmtree", "os.remove")  # fmt: skip


def hear(event, _):
    if event in WATCHED:
        RAN.append(event)


sys.addaudithook(hear)  # for good: a hook cannot be taken back


def serialized(name, config, module, registered=None):
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def nested(depth, value=3):
    for _ in range(depth):
        value = [value]
    return value


def nested_objects(depth):
    value = 3
    for _ in range(depth):
        value = serialized("Constant", {"value": value}, "keras.initializers")
    return value


def wrapped(depth):
    cell = keras.saving.serialize_keras_object(keras_gates.LSTMCell(2))
    for _ in range(depth):
        cell = serialized("ResidualCell", {"cell": cell}, "keras_gates", "keras_gates>ResidualCell")
    return cell


MARSHALLED = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=\n", None, None]}}
A_CELL = keras.saving.serialize_keras_object(keras_gates.LSTMCell(2))
A_LAYER = keras.saving.serialize_keras_object(keras.layers.Dense(2))

CODE = {
    "a function of os": serialized("function", "system", "os", "system"),
    "a class of subprocess": serialized("Popen", {"args": "exit", "shell": True}, "subprocess"),
    "eval": serialized("function", "eval", "builtins", "eval"),
    "a lambda": MARSHALLED,
    "a Lambda layer": serialized("Lambda", {"function": MARSHALLED}, "keras.layers"),
    "a dotted module": serialized("system", {}, "keras.os"),
    "a type of another module": {**serialized("__typespec__", [1], "os", "x"), "spec_name": "x"},
}
JUNK = {
    "an unknown class": serialized("Nope", {}, "nowhere"),
    "a class without a name": serialized(None, None, None),
    "a class whose name is a number": serialized(3, 3, None),
    "a tensor of an unknown dtype": {"class_name": "__tensor__", "config": {"value": [1], "dtype": "no"}},
    "half a tensor": {"class_name": "__keras_tensor__", "config": {}},
    "half a slice": {"class_name": "__slice__", "config": {}},
    "bytes of a number": {"class_name": "__bytes__", "config": {"value": 3}},
    "a name that is a list": {**serialized("x", {}, []), "registered_name": []},
    "lists, 300 deep": nested(300),
    "lists, 100,000 deep": nested(100_000),
    "objects, 400 deep": nested_objects(400),
}

UNITS = {
    "a string": "8",
    "a fraction": 2.5,
    "infinite": float("inf"),
    "not a number": float("nan"),
    "true": True,
    "none": None,
    "negative": -3,
    "zero": 0,
    "a list": [4],
    "a dict": {"units": 4},
    "more than memory": 2**31,
    "beyond 64 bits": 10**30,
}

LSTM, RNN = keras_gates.LSTMCell, keras_gates.RNN

# class, argument, and what is given for it
HOSTILE = {
    **{f"units, {what}": (LSTM, "units", value) for what, value in UNITS.items()},
    **{f"activation, {what}": (LSTM, "activation", value) for what, value in {**CODE, **JUNK}.items()},
    **{f"cell, {what}": (RNN, "cell", value) for what, value in {**CODE, **JUNK}.items()},
    **{f"dtype, {what}": (LSTM, "dtype", value) for what, value in CODE.items()},
    "a flag that is a word": (LSTM, "use_bias", "False"),
    "a flag that is a list": (LSTM, "learn_initial_state", []),
    "a flag of the layer that is a word": (keras_gates.LSTM, "return_sequences", "yes"),
    "an activation that is a layer's name": (LSTM, "activation", "Dense"),
    "an initializer that is a number": (LSTM, "kernel_initializer", 3),
    "a regularizer that is a list": (LSTM, "bias_regularizer", [1]),
    "a constraint that is a word": (LSTM, "recurrent_constraint", "none at all"),
    "a dtype that is a number": (LSTM, "dtype", 3),
    "a dtype that is no policy": (LSTM, "dtype", {}),
    "a name that is a path": (LSTM, "name", "../../etc/passwd"),
    "a name that is a number": (LSTM, "name", 3),
    "dropout, a word": (LSTM, "dropout", "half"),
    "dropout, not a number": (LSTM, "dropout", float("nan")),
    "dropout, more than all": (LSTM, "recurrent_dropout", 1e308),
    "seed, a word": (LSTM, "seed", "x"),
    "seed, beyond 64 bits": (LSTM, "seed", 10**30),
    "seed, true": (LSTM, "seed", True),
    "an argument of nobody's": (LSTM, "unknown", 3),
    "an argument of the class itself": (LSTM, "self", 3),
    "an argument of another cell": (keras_gates.SimpleRNNCell, "recurrent_activation", "tanh"),
    "peepholes, a number": (keras_gates.PeepholeLSTMCell, "peepholes", 3),
    "peepholes, gates that are not there": (keras_gates.PeepholeLSTM, "peepholes", ["x"]),
    "epsilon, a word": (keras_gates.LayerNormLSTMCell, "epsilon", "small"),
    "epsilon, infinite": (keras_gates.LayerNormLSTM, "epsilon", float("inf")),
    "periods, a number": (keras_gates.ClockworkCell, "periods", 3),
    "periods, falling": (keras_gates.ClockworkCell, "periods", [4, 2]),
    "periods that never repeat": (keras_gates.ClockworkCell, "periods", [2**23 - 1, 2**23]),
    "depth, beyond memory": (keras_gates.DepthGatedLSTMCell, "depth", 10**9),
    "zoneout, a list": (keras_gates.ZoneoutCell, "zoneout", [0.1]),
    "zoneout of no state": (keras_gates.ZoneoutCell, "zoneout", {"x": 0.1}),
    "a wrapper around a layer": (keras_gates.ResidualCell, "cell", A_LAYER),
    "a wrapper around a number": (keras_gates.ResidualCell, "cell", 3),
    "wrappers, 200 deep": (keras_gates.ResidualCell, "cell", wrapped(200)),
    "a stack of numbers": (RNN, "cell", [1, 2]),
    "a layer for a cell": (RNN, "cell", A_LAYER),
    "a cell with a bad argument": (RNN, "cell", {**A_CELL, "config": {"units": "8"}}),
    "a cell whose config is a list": (RNN, "cell", {**A_CELL, "config": [1]}),
}

SOUND = {
    keras_gates.PeepholeLSTM: {"units": 4},
    keras_gates.LSTM: {"units": 4},
    keras_gates.LayerNormLSTM: {"units": 4},
    RNN: {"cell": A_CELL},
    keras_gates.ResidualCell: {"cell": A_CELL},
    keras_gates.ZoneoutCell: {"cell": A_CELL},
}


def assert_refused(cls, config, argument):
    before = len(RAN)
    with pytest.raises((TypeError, ValueError)) as error:
        cls.from_config(config)
    message = str(error.value)
    assert argument in message and "\n" not in message and len(message) < 1000, message
    assert RAN[before:] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_one_sentence_names_the_argument(name):
    cls, argument, value = HOSTILE[name]
    assert_refused(cls, {**SOUND.get(cls, {"units": 4}), argument: value}, argument)


@pytest.mark.parametrize(
    "cls", [LSTM, keras_gates.LSTM, RNN, keras_gates.ResidualCell], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("config", [None, 3, "x", [], [["units", 4]]], ids=repr)
def test_a_config_that_is_no_dict(cls, config):
    assert_refused(cls, config, f"The config of {cls.__name__} must be a dict")


@pytest.mark.parametrize(
    ("cls", "argument"),
    [(LSTM, "units"), (keras_gates.LSTM, "units"), (RNN, "cell"), (keras_gates.ZoneoutCell, "cell")],
)
def test_an_argument_that_is_missing(cls, argument):
    assert_refused(cls, {}, argument)


def test_a_key_that_is_no_name():
    assert_refused(LSTM, {"units": 4, 3: 3}, "LSTMCell")


@pytest.mark.parametrize(
    "name", ["units, a string", "cell, a class of subprocess", "cell, objects, 400 deep"]
)
def test_what_is_wrong_inside_is_told_by_keras_own_loading(name):
    """The sentence comes through `keras.saving`, from inside a model, as it is."""
    cls, argument, value = HOSTILE[name]
    layer = keras.saving.serialize_keras_object(cls.from_config(SOUND.get(cls, {"units": 4})))
    layer["config"][argument] = value
    with pytest.raises(ValueError) as error:
        keras.saving.deserialize_keras_object(layer)
    assert f"`{argument}`" in str(error.value) and "\n" not in str(error.value)


def test_a_hostile_model_file_runs_nothing(tmp_path):
    """A .keras file whose cell is a call of the shell."""
    import zipfile

    model = keras.Sequential([keras.Input((None, 3)), RNN(LSTM(2))])
    model.save(tmp_path / "sound.keras")
    with zipfile.ZipFile(tmp_path / "sound.keras") as sound:
        content = {name: sound.read(name) for name in sound.namelist()}
    config = json.loads(content["config.json"])
    config["config"]["layers"][1]["config"]["cell"] = CODE["a class of subprocess"]
    with zipfile.ZipFile(tmp_path / "hostile.keras", "w") as hostile:
        for name, data in {**content, "config.json": json.dumps(config)}.items():
            hostile.writestr(name, data)
    before = len(RAN)
    with pytest.raises((TypeError, ValueError), match="`cell`"):
        keras.saving.load_model(tmp_path / "hostile.keras")
    assert "subprocess.Popen" not in RAN[before:] and "os.system" not in RAN[before:]


@pytest.mark.parametrize("depth", [1, 10])
def test_wrappers_in_wrappers_are_taken(depth):
    config = wrapped(depth)["config"]
    cell = keras_gates.ResidualCell.from_config(config)
    for _ in range(depth):
        cell = cell.cell
    assert type(cell) is LSTM


@pytest.mark.parametrize(
    "given",
    [{"use_bias": 1}, {"use_bias": None}, {"seed": 2**32 - 1}, {"dtype": "bfloat16"}, {"dtype": None}],
    ids=repr,
)
def test_what_a_constructor_takes_is_taken(given):
    LSTM.from_config({"units": 4, **given})
