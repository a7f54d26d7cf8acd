"""Looking inside: what is shown is what was computed, told by NumPy and by the layers' own outputs."""

import base64
import csv
import json
import re

import keras
import numpy as np
import pytest
from keras import layers
from laws import ROWS
from oracles import differentiate, run
from problem import BATCH, FEATURES, TIME, UNITS, mask_of

import keras_gates
from keras_gates import gradient_flow, introspect, trace

x = np.random.default_rng(5).normal(size=(BATCH, TIME, FEATURES)).astype("float32")
LAWFUL = [row for row in ROWS if row.every_law]


def weights_of(layer):
    return {weight.name: np.asarray(weight, "float64") for weight in layer.weights}


def randomize(model):
    """No bias stays zero, nor a peephole, which would hide what is wrong with it."""
    draw = np.random.default_rng(7)
    for weight in model.trainable_weights:
        weight.assign(draw.normal(0, 0.5, weight.shape))
    return model


def equations(oracle, weights, states=2, mask=None, go_backwards=False, inputs=x, units=UNITS):
    """A NumPy run with zeros at the start: every state and gate by name, in the order of the input."""
    names = ("h", "c")[:states]
    start = [np.zeros((len(inputs), units))] * states
    record = run(lambda now, before: oracle(now, before, weights), inputs, start, mask, go_backwards)
    named = {**record.gates, **dict(zip(names, record.states, strict=True))}
    return {name: values[:, ::-1] if go_backwards else values for name, values in named.items()}


def assert_shows(shown, expected, mask=None, tolerance=1e-6):
    """`shown` is `expected` at the steps that count, and NaN at the others."""
    assert set(shown) == set(expected)
    counts = np.ones(shown["h"].shape[:2], bool) if mask is None else mask
    for name, values in expected.items():
        assert np.isnan(shown[name][~counts]).all()
        np.testing.assert_allclose(shown[name][counts], values[counts], atol=tolerance, rtol=0, err_msg=name)


def compiled(inputs, outputs):
    """The part of a model that gives these outputs, compiled as the trace is, without XLA."""
    model = keras.Model(inputs, outputs)
    model.compile(jit_compile=False)
    return model


# ------------------------------------------------------------------------------------------------ trace


@pytest.mark.parametrize("row", LAWFUL, ids=str)
def test_trace_is_the_equations(row):
    problem = row.problem()
    inputs, mask = problem.arrays["x"], mask_of("holes")
    layer = row.layer(arguments={"dtype": "float64"}, dtype="float64", go_backwards=True)
    start = [np.asarray(state) for state in layer.cell.get_initial_state(BATCH)]
    record = run(
        lambda now, before: row.oracle(now, before, problem.weights), inputs, start, mask, go_backwards=True
    )
    named = {**record.gates, **dict(zip(row.states, record.states, strict=True))}
    (shown,) = trace(layer, inputs, mask).values()
    assert_shows(
        {name: shown[name] for name in named},
        {name: values[:, ::-1] for name, values in named.items()},
        mask,
        tolerance=1e-9,
    )


def numpy_oracle(name):
    return next(row.oracle for row in ROWS if row.name == name)


def test_two_bidirectional_layers_with_masks():
    inputs = layers.Input((None, FEATURES))
    a = layers.Bidirectional(keras_gates.PeepholeLSTM(UNITS, return_sequences=True), name="a")
    b = layers.Bidirectional(keras_gates.LSTM(UNITS, return_sequences=True), name="b")
    model = randomize(keras.Model(inputs, b(a(layers.Masking()(inputs)))))
    mask = mask_of("right")
    masked = np.where(mask[..., None], x, 0)
    shown = trace(model, masked)
    assert list(shown) == ["a/forward", "a/backward", "b/forward", "b/backward"]

    below = masked
    for place, layer, oracle in (("a", a, numpy_oracle("PeepholeLSTM(ifo)")), ("b", b, numpy_oracle("LSTM"))):
        sides = {
            "forward": equations(oracle, weights_of(layer.forward_layer), mask=mask, inputs=below),
            "backward": equations(
                oracle, weights_of(layer.backward_layer), mask=mask, inputs=below, go_backwards=True
            ),
        }
        for side, expected in sides.items():
            assert_shows(shown[f"{place}/{side}"], expected, mask)
        below = np.concatenate([sides["forward"]["h"], sides["backward"]["h"]], axis=-1)
        below = np.where(mask[..., None], below, 0)


@pytest.mark.parametrize(
    ("make", "oracle", "states"),
    [
        (layers.LSTM, "LSTM", 2),
        (layers.GRU, "GRU(reset after keep)", 1),
        (lambda units: layers.GRU(units, reset_after=False), "GRU(reset before keep)", 1),
        (layers.SimpleRNN, "SimpleRNN", 1),
    ],
    ids=["LSTM", "GRU", "GRU(reset before)", "SimpleRNN"],
)
@pytest.mark.parametrize("kind", ["none", "left"])
def test_layers_of_keras(make, oracle, states, kind):
    model = randomize(keras.Sequential([layers.Input((None, FEATURES)), make(UNITS), layers.Dense(1)]))
    mask = mask_of(kind)
    (shown,) = trace(model, x, mask).values()
    recurrent = model.layers[0]
    assert_shows(shown, equations(numpy_oracle(oracle), weights_of(recurrent), states, mask), mask)
    if mask is None:
        np.testing.assert_allclose(shown["h"][:, -1], recurrent(x), atol=1e-6)


def test_h_is_the_output_to_the_last_bit():
    inputs = layers.Input((TIME, FEATURES))
    both = layers.Bidirectional(
        layers.RNN(keras_gates.PeepholeLSTMCell(UNITS), return_sequences=True), name="both"
    )
    stack = layers.RNN([keras_gates.GRUCell(UNITS), keras_gates.CoupledLSTMCell(UNITS)], name="stack")
    model = randomize(keras.Model(inputs, layers.Dense(1)(stack(both(layers.Masking()(inputs))))))
    mask = mask_of("right")
    masked = np.where(mask[..., None], x, 0)
    shown = trace(model, masked)
    sides = np.concatenate([shown[f"both/{side}"]["h"] for side in ("forward", "backward")], axis=-1)
    np.testing.assert_array_equal(
        np.nan_to_num(sides), compiled(inputs, both.output).predict_on_batch(masked)
    )
    np.testing.assert_array_equal(
        shown["stack/1"]["h"][0, -1], compiled(inputs, stack.output).predict_on_batch(masked)[0]
    )


def test_what_comes_after_a_traced_layer_sees_its_output():
    """Whatever the layer gives out under a mask, repeated or zero, the layer above reads it."""
    inputs = layers.Input((TIME, FEATURES))
    below = keras_gates.LSTM(UNITS, return_sequences=True, go_backwards=True, name="below")
    above = keras_gates.SimpleRNN(UNITS, return_sequences=True, name="above")
    middle = below(layers.Masking()(inputs))
    middle = layers.Lambda(lambda values: values + 0)(middle)  # ends the mask
    model = randomize(keras.Model(inputs, above(middle)))
    masked = np.where(mask_of("holes")[..., None], x, 0)
    with keras_gates.use_kernels("never"):  # they round otherwise
        expected = compiled(inputs, model.output).predict_on_batch(masked)
    np.testing.assert_array_equal(np.nan_to_num(trace(model, masked)["above"]["h"]), expected)


def test_layers_are_found_in_models_wrappers_and_subclasses():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential(
                [keras_gates.GRU(2, return_sequences=True, name="gru")], name="inner"
            )
            self.shared = keras_gates.SimpleRNN(2, return_sequences=True, name="shared")

        def call(self, inputs):
            return self.shared(self.shared(self.inner(inputs)))

    model = Own()
    shown = trace(model, x)
    assert list(shown) == ["inner/gru", "shared", "shared#2"]
    np.testing.assert_allclose(shown["shared#2"]["h"], model(x), atol=1e-6)


def test_attention_shows_where_it_looked():
    layer = keras_gates.AttentionRNN(
        keras_gates.BahdanauCell(keras_gates.LSTMCell(UNITS)), return_sequences=True, name="decoder"
    )
    heard, memory = layers.Input((None, FEATURES)), layers.Input((None, 6))
    model = randomize(keras.Model([heard, memory], layer(heard, memory=memory)))
    seen = np.random.default_rng(8).normal(size=(BATCH, 9, 6)).astype("float32")
    shown = trace(model, [x, seen])["decoder"]
    assert set(shown) == {"i", "f", "g", "o", "alignment", "h", "c"}
    layer.cell.attention.attend_to(seen)
    before = np.concatenate([np.zeros((BATCH, 1, UNITS)), shown["h"][:, :-1]], axis=1).astype("float32")
    for t in range(TIME):
        _, alignment = layer.cell.attention.look(before[:, t])
        np.testing.assert_allclose(shown["alignment"][:, t], alignment, rtol=0, atol=1e-6)
    np.testing.assert_allclose(shown["h"], model([x, seen]), rtol=0, atol=1e-6)


def test_each_call_of_a_layer_over_time_is_shown():
    model = keras.Sequential(
        [
            layers.Input((2, TIME, FEATURES)),
            layers.TimeDistributed(keras_gates.GRU(UNITS, name="inner"), name="each"),
        ]
    )
    pair = np.stack([x, -x], axis=1)
    shown = trace(model, pair)
    assert list(shown) == ["each/inner", "each/inner#2"]
    for at, place in enumerate(shown):
        np.testing.assert_allclose(shown[place]["h"][:, -1], model(pair)[:, at], rtol=0, atol=1e-6)


def test_a_cell_that_reports_nothing_shows_its_states():
    class Plain(layers.Layer):
        state_size = UNITS

        def call(self, inputs, states):
            h = keras.ops.tanh(inputs + states[0])
            return 2 * h, [h]

    inputs = np.random.default_rng(13).normal(size=(2, TIME, UNITS)).astype("float32")
    layer = layers.RNN(Plain(), return_sequences=True, name="plain")
    shown = trace(layer, inputs)["plain"]
    assert set(shown) == {"state_0", "output"}
    np.testing.assert_array_equal(shown["output"], layer(inputs))


def test_tracing_leaves_the_model_as_it_was():
    layer = keras_gates.LSTM(UNITS, stateful=True, return_sequences=True)
    layer(x)
    before = [keras.ops.convert_to_numpy(state).copy() for state in layer.states]
    first, second = trace(layer, x), trace(layer, x)
    for a, b in zip(before, layer.states, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first[layer.name]["h"], second[layer.name]["h"])
    assert "inner_loop" not in vars(layer) and "call" not in vars(layer.cell)
    np.testing.assert_allclose(layer(x), first[layer.name]["h"], atol=1e-6)


def test_trace_follows_the_weights_and_the_layers_of_a_model():
    model = keras.Sequential([layers.Input((None, FEATURES)), keras_gates.LSTM(UNITS, return_sequences=True)])
    before = trace(model, x)
    randomize(model)
    after = trace(model, x)
    name = model.layers[0].name
    assert not np.allclose(before[name]["f"], after[name]["f"])
    model.add(keras_gates.GRU(UNITS, name="added"))
    assert list(trace(model, x)) == [name, "added"]


def test_mixed_precision_is_traced_as_it_runs():
    layer = keras_gates.LSTM(UNITS, dtype="mixed_bfloat16", return_sequences=True)
    shown = trace(layer, x)[layer.name]
    np.testing.assert_allclose(
        shown["h"].astype("float32"), np.asarray(keras.ops.cast(layer(x), "float32")), atol=0.01
    )
    assert shown["h"].dtype == "bfloat16"


# ---------------------------------------------------------------------------------------- gradient_flow


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "PeepholeLSTM(ifo)", "GRU(reset after keep)"])
@pytest.mark.parametrize("kind", ["none", "holes"])
def test_gradient_flow_is_the_effect_of_a_nudge(name, kind):
    row = next(row for row in ROWS if row.name == name)
    problem = row.problem()
    inputs, mask, targets = (
        problem.arrays["x"],
        mask_of(kind),
        np.random.default_rng(14).normal(size=(BATCH, UNITS)),
    )
    layer = row.layer(
        arguments={"dtype": "float64"}, dtype="float64", return_sequences=False, return_state=False
    )

    def loss(nudges):
        at = iter(range(TIME))

        def nudged(now, before):
            t = next(at)
            _, after, gates = row.oracle(now, before, problem.weights)
            after = tuple(
                state + nudges[state_name][:, t] for state_name, state in zip(row.states, after, strict=True)
            )
            return after[0], after, gates

        start = [np.zeros((BATCH, UNITS))] * len(row.states)
        return np.mean((run(nudged, inputs, start, mask).outputs[:, -1] - targets) ** 2)

    expected = differentiate(loss, {state: np.zeros((BATCH, TIME, UNITS)) for state in row.states})
    (flow,) = gradient_flow(layer, inputs, targets, "mse", mask, full=True).values()
    (norms,) = gradient_flow(layer, inputs, targets, "mse", mask).values()
    counts = np.ones((BATCH, TIME), bool) if mask is None else mask
    assert set(flow) == set(row.states)
    for state, gradient in expected.items():
        assert np.isnan(flow[state][~counts]).all()
        np.testing.assert_allclose(flow[state][counts], gradient[counts], rtol=1e-6, atol=1e-14)
        np.testing.assert_allclose(norms[state], np.linalg.norm(flow[state], axis=-1))


def test_gradient_flow_is_finite_differences_inside_a_model():
    """The loss of a compiled two-layer bidirectional model, nudged through a layer's initial state."""
    keras.utils.set_random_seed(3)
    first = keras_gates.LSTM(UNITS, return_sequences=True, dtype="float64", name="first")
    model = keras.Sequential(
        [
            layers.Input((TIME, FEATURES), dtype="float64"),
            first,
            layers.Bidirectional(layers.GRU(UNITS, dtype="float64"), name="second", dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile(loss="mse")
    inputs, targets = x.astype("float64"), np.random.default_rng(11).normal(size=(BATCH, 1))
    flow = gradient_flow(model, inputs, targets, full=True)
    assert list(flow) == ["first", "second/forward", "second/backward"]

    # Cut after the first step: its states are then the initial ones of the rest, and can be nudged.
    h, *states = keras_gates.RNN(first.cell, return_state=True, return_sequences=True, dtype="float64")(
        inputs[:, :1]
    )

    def loss(c):
        rest = keras_gates.RNN(first.cell, return_sequences=True, dtype="float64")
        outputs = keras.ops.concatenate([h, rest(inputs[:, 1:], initial_state=[states[0], c])], axis=1)
        for layer in model.layers[1:]:
            outputs = layer(outputs)
        return float(keras.ops.mean((outputs - targets) ** 2))

    c, step = np.asarray(states[1]), 1e-3
    for at in [(0, 0), (1, 2), (3, 3)]:
        nudge = np.zeros_like(c)
        nudge[at] = step
        near, far = (loss(c + k * nudge) - loss(c - k * nudge) for k in (1, 2))
        slope = (8 * near - far) / (12 * step)  # five points: the error is of the fourth order
        np.testing.assert_allclose(flow["first"]["c"][at[0], 0, at[1]], slope, rtol=1e-6)


def test_gradient_flow_tells_of_each_level_of_a_stack():
    layer = layers.RNN([keras_gates.LSTMCell(3), keras_gates.GRUCell(2)], name="stack")
    flow = gradient_flow(layer, x, np.zeros((BATCH, 2)), "mse")
    assert {place: set(states) for place, states in flow.items()} == {"stack/0": {"h", "c"}, "stack/1": {"h"}}
    assert (flow["stack/0"]["h"] > 0).all(), "the last output of the lower level reaches the upper one"
    assert (flow["stack/0"]["c"][:, -1] == 0).all(), "no step follows the last memory"


# ------------------------------------------------------------------------------- numbers, pictures, pages


@pytest.fixture(scope="module")
def traced():
    """A made-up trace whose gates are known: two sequences of four steps, three units, one step masked."""
    f = np.tile([0.05, 0.5, 1.0], (2, 4, 1))
    c = np.arange(24, dtype=float).reshape(2, 4, 3) - 12
    layer = {"f": f, "g": np.full((2, 4, 3), 0.5), "h": np.tanh(c), "c": c}
    for values in layer.values():
        values[1, 3] = np.nan
    return {"lstm": layer}


def test_the_stabiliser_of_an_slstm_is_no_gate():
    layer = {name: np.full((1, 3, 2), 0.5) for name in ("i", "f", "g", "o", "h", "c", "n", "m")}
    assert list(introspect.gates_of(layer)) == ["i", "f", "o"]


def test_saturation_and_time_constants_of_known_gates(traced):
    sides = introspect.saturation(traced)["lstm"]
    assert set(sides) == {"f"}, "a candidate and a state are no gates"
    np.testing.assert_array_equal(sides["f"]["shut"], [1, 0, 0])
    np.testing.assert_array_equal(sides["f"]["open"], [0, 0, 1])
    steps = introspect.time_constants(traced)["lstm"]
    np.testing.assert_allclose(steps, [1 / np.log(20), 1 / np.log(2), np.inf])
    table = introspect.summary(traced)["lstm"]
    assert table["f"] == pytest.approx({"mean": (0.05 + 0.5 + 1) / 3, "shut": 1 / 3, "open": 1 / 3})
    assert table["time_constant"] == pytest.approx(1 / np.log(2))


def test_units_are_ranked_by_how_they_follow_a_labelling(traced):
    labels = np.where(np.isnan(traced["lstm"]["c"][..., 0]), np.nan, -traced["lstm"]["c"][..., 1] + 5)
    best = introspect.rank_units(traced, labels)
    assert (best[0].layer, best[0].name) == ("lstm", "c")
    assert best[0].correlation == pytest.approx(-1)
    known = ~np.isnan(labels)
    followed = {(unit.name, unit.unit): unit.correlation for unit in best}
    assert followed["h", 2] == pytest.approx(
        np.corrcoef(traced["lstm"]["h"][..., 2][known], labels[known])[0, 1]
    )
    assert followed["f", 0] == 0, "what never changes follows nothing"
    with pytest.raises(ValueError, match=r"one number for each of the \(2, 4\) steps"):
        introspect.rank_units(traced, labels[0])


def data_of(html):
    """What a page carries, unpacked: the tokens, and the values of a unit by layer, name and unit."""
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])

    def values(layer, name, unit):
        series = data["layers"][layer][name]
        levels = np.frombuffer(base64.b64decode(series["bytes"]), "uint8").reshape(-1, len(data["tokens"]))[
            unit
        ]
        span = series["high"][unit] - series["low"][unit]
        return np.where(levels == 255, np.nan, series["low"][unit] + levels / 254 * span)

    return data, values


def test_page_carries_text_and_values(traced):
    tokens = ["</script>", "<b>", "it's", "ä"]
    labels = {"how far": np.tile(np.arange(4.0), (2, 1))}
    html = introspect.page(traced, tokens, sequence=1, labels=labels, title="a < b")
    assert "<title>a &lt; b</title>" in html
    assert "http" not in html, "it needs nothing else"
    data, values = data_of(html)
    assert data["tokens"] == tokens
    assert data["chosen"] == ["lstm", "c", 0]
    np.testing.assert_allclose(values("lstm", "c", 2), traced["lstm"]["c"][1, :, 2], atol=0.1)
    np.testing.assert_allclose(values("lstm", "f", 1), traced["lstm"]["f"][1, :, 1], atol=1e-3)
    swing = [np.sqrt(0 + 1 + 4), np.sqrt(27), np.sqrt(27)]
    np.testing.assert_allclose(values("lstm", "swing", 3)[:3], swing, atol=0.05)
    with pytest.raises(ValueError, match="has 4 steps; got 5 tokens"):
        introspect.page(traced, [*tokens, "more"])
    with pytest.raises(ValueError, match="a layer, a name and a unit of the trace; got"):
        introspect.page(traced, tokens, choose=("lstm", "c", 3))


def test_pictures_show_what_is_in_the_trace(traced):
    maps = introspect.plots.gate_maps(traced["lstm"], tokens="abcd", sequence=1)
    images = [ax.images[0] for ax in maps.axes if ax.images]
    np.testing.assert_array_equal(images[0].get_array().filled(np.nan), traced["lstm"]["f"][1].T)
    assert images[0].get_clim() == (0, 1)
    low, high = images[3].get_clim()
    assert low == -high

    bars = introspect.plots.openness(traced).axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
    points = introspect.plots.saturation_scatter(traced).axes[0].collections[0].get_offsets()
    np.testing.assert_array_equal(points, [[0, 1], [0, 0], [1, 0]])
    axes = introspect.plots.gradient_norms({"a": [1, 0.1, 0]}, floor=1e-3)
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, 0.1, np.nan])
    shown = introspect.plots.alignment(np.eye(3)[:2], inputs="xyz", outputs="ab")
    np.testing.assert_array_equal(shown.images[0].get_array(), np.eye(3)[:2])
    with pytest.raises(ValueError, match="There is no gate to draw in rnn"):
        introspect.plots.openness({"rnn": {"h": traced["lstm"]["h"]}})


def model_to_log():
    """A small model, compiled, and targets for it."""
    stack = [layers.Input((TIME, FEATURES)), keras_gates.LSTM(2, name="lstm"), layers.Dense(1)]
    model = keras.Sequential(stack)
    model.compile("sgd", "mse", jit_compile=False)
    return model, np.random.default_rng(12).normal(size=(BATCH, 1))


def test_gate_log_writes_to_the_history_and_a_file(tmp_path):
    model, targets = model_to_log()
    log = introspect.GateLog(x, targets, tmp_path / "run" / "gates.csv")
    history = model.fit(x, targets, epochs=2, verbose=0, callbacks=[log]).history
    assert history["lstm/f/mean"][-1] == pytest.approx(np.mean(trace(model, x)["lstm"]["f"]))
    flow = gradient_flow(model, x, targets)["lstm"]["h"]
    assert history["lstm/h/gradient_first"][-1] == pytest.approx(flow[:, 0].mean())
    assert history["lstm/h/gradient_last"][-1] == pytest.approx(flow[:, -1].mean())
    rows = list(csv.DictReader((tmp_path / "run" / "gates.csv").open()))
    assert [float(row["lstm/time_constant"]) for row in rows] == history["lstm/time_constant"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["gates.csv"]


def test_gate_log_reaches_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    tf = pytest.importorskip("tensorflow")
    model, targets = model_to_log()
    callbacks = [introspect.GateLog(x, targets), keras.callbacks.TensorBoard(tmp_path)]
    model.fit(x, targets, epochs=1, verbose=0, callbacks=callbacks)
    (events,) = (tmp_path / "train").glob("events*")
    written = {value.tag for event in tf.data.TFRecordDataset(str(events)) for value in values_of(event)}
    assert {"epoch_lstm/f/open", "epoch_lstm/time_constant", "epoch_lstm/c/gradient_first"} <= written


def values_of(event):
    from tensorboard.compat.proto.event_pb2 import Event

    return Event.FromString(event.numpy()).summary.value


# ----------------------------------------------------------------------------------------------- errors


def test_errors_say_what_was_given():
    with pytest.raises(TypeError, match="Expected a Keras model or layer; got 'lstm' of type str"):
        trace("lstm", x)
    with pytest.raises(ValueError, match=r"Nothing in Dense 'dense.*' is recurrent"):
        trace(layers.Dense(1), x)
    with pytest.raises(ValueError, match="was not compiled with a loss: give one"):
        gradient_flow(keras_gates.LSTM(UNITS), x, x)
