"""What is peculiar to a cell of the family and no law of all cells; what is common stands in `laws.py`."""

import ast
import inspect
import itertools

import keras
import numpy as np
import pytest
from keras import ops

import keras_gates as kg
from keras_gates.__main__ import main, table

x = np.random.default_rng(0).normal(size=(3, 9, 4)).astype("float32")


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


def after_steps(cell, inputs=x):
    """What a cell reports after each step: its states and its gates."""
    if not cell.built:
        cell.build(inputs[:, 0].shape)
    states = cell.get_initial_state(len(inputs))
    for t in range(inputs.shape[1]):
        _, states, gates = cell.call_with_gates(inputs[:, t], states)
        yield [np.array(state) for state in states], {name: np.array(gate) for name, gate in gates.items()}


# -- clockwork


def test_clockwork_units_sleep_bit_for_bit_and_tick_by_their_periods():
    cell = kg.ClockworkCell(7, periods=(1, 2, 3))
    before = np.zeros((3, 7), "float32")
    period = np.array([1, 1, 1, 2, 2, 3, 3])
    for t, ((h, clock), gates) in enumerate(after_steps(cell)):
        awake = t % period == 0
        np.testing.assert_array_equal(gates["tick"], np.broadcast_to(awake, h.shape))
        np.testing.assert_array_equal(h[:, ~awake], before[:, ~awake])
        np.testing.assert_array_equal(h[:, awake], gates["n"][:, awake])
        np.testing.assert_array_equal(clock, np.full((3, 1), (t + 1) % 6))
        before = h


def test_clockwork_modules_hear_themselves_and_the_slower():
    cell = kg.ClockworkCell(6, periods=(1, 2, 4))
    cell.build((None, 4))
    heard = np.array(cell.recur(ops.eye(6)))  # row: from, column: to
    module = np.arange(6) // 2
    np.testing.assert_array_equal(heard != 0, module[:, None] >= module)


@pytest.mark.parametrize("dtype, period", [("mixed_bfloat16", 256), ("mixed_float16", 2048)])
def test_clockwork_counts_as_far_as_its_dtype(dtype, period):
    cell = kg.ClockworkCell(2, periods=(1, period), dtype=dtype)
    cell.build((None, 1))
    states = [np.zeros((1, 2)), np.full((1, 1), period - 2.0)]
    states = [ops.cast(state, cell.compute_dtype) for state in states]
    clocks = []
    for _ in range(3):
        _, states = cell(ops.ones((1, 1), cell.compute_dtype), states)
        clocks.append(float(states[1][0, 0]))
    assert clocks == [period - 1, 0, 1]
    with pytest.raises(ValueError, match=f"at most {period} steps"):
        kg.ClockworkCell(2, periods=(1, period + 1), dtype=dtype)


@pytest.mark.parametrize(
    "units, periods, sentence",
    [
        (4, (2, 1), "`periods` must increase strictly"),
        (4, (1, 1), "`periods` must increase strictly"),
        (4, (), "`periods` must increase strictly"),
        (4, (0, 1), "`periods` must be a positive integer"),
        (2, (1, 2, 4), "got 2 units for 3 periods"),
    ],
)
def test_clockwork_says_what_is_wrong_with_its_periods(units, periods, sentence):
    with pytest.raises(ValueError, match=sentence):
        kg.ClockworkCell(units, periods=periods)


# -- depth-gated


def test_depth_gated_of_one_level_is_an_lstm():
    stack, plain = kg.DepthGatedLSTM(5, depth=1), kg.LSTM(5)
    stack.build(x.shape), plain.build(x.shape)
    plain.set_weights(stack.get_weights())
    with kg.use_kernels("never"):  # equal to the last bit: in the same operations
        np.testing.assert_array_equal(stack(x), plain(x))


def test_depth_gates_shut_leave_a_stack_of_lstms():
    stack = kg.DepthGatedLSTM(5, depth=3, return_sequences=True)
    stack.build(x.shape)
    cells = []
    for level in stack.cell.levels:
        bias = np.array(level.bias)
        bias[20:] = -1e4  # of d, which only the upper levels have
        level.bias.assign(bias)
        cells.append(kg.LSTMCell(5))
        cells[-1].build((None, level.kernel.shape[0]))
        for name in ("kernel", "recurrent_kernel", "bias"):
            getattr(cells[-1], name).assign(np.array(getattr(level, name))[..., :20])
    plain = keras.layers.RNN(cells, return_sequences=True)
    np.testing.assert_allclose(stack(x), plain(x), atol=1e-6)


def test_levels_start_and_drop_each_in_their_own_way():
    cell = kg.DepthGatedLSTMCell(50, depth=3, recurrent_dropout=0.5, seed=1)
    cell.build((None, 50))
    kernels = [np.array(level.kernel[:, :50]) for level in cell.levels[1:]]
    assert not np.allclose(*kernels)
    masks = [np.array(mask) for mask in cell.get_recurrent_dropout_mask(ops.ones((2, 50)))]
    assert all(not np.array_equal(*pair) for pair in itertools.combinations(masks, 2))


# -- departures from vanilla


def test_the_odyssey_goes_by_the_names_of_the_paper():
    assert list(kg.ODYSSEY) == ["V", "NIG", "NFG", "NOG", "NIAF", "NOAF", "NP", "CIFG", "FGR"]
    assert kg.ODYSSEY.items() <= kg.cell_classes().items()
    assert kg.ODYSSEY["V"] is kg.PeepholeLSTMCell and kg.ODYSSEY["NP"] is kg.LSTMCell


@pytest.mark.parametrize("name, gate", [("NIG", "i"), ("NFG", "f"), ("NOG", "o")])
def test_an_absent_gate_is_vanillas_gate_forced_open(name, gate):
    """The class differs from vanilla's in its gates alone, and so does what it computes."""
    departed, vanilla = kg.ODYSSEY[name](5, peephole_initializer="normal"), kg.PeepholeLSTMCell(5)
    departed.build((None, 4)), vanilla.build((None, 4))
    assert gate not in departed.gates and gate not in departed.peepholes
    columns = np.repeat([g != gate for g in vanilla.gates], 5)
    for weight in ("kernel", "recurrent_kernel", "bias"):
        values = np.zeros(getattr(vanilla, weight).shape, "float32")
        values[..., columns] = np.array(getattr(departed, weight))
        if weight == "bias":
            values[~columns] = 1e4
        getattr(vanilla, weight).assign(values)
    for seeing in departed.peepholes:
        vanilla.peephole_weights[seeing].assign(departed.peephole_weights[seeing])
    for one, other in zip(after_steps(departed), after_steps(vanilla), strict=True):
        for ours, theirs in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("name", ["NIG", "NFG", "NOG", "NIAF", "NOAF", "CIFG", "FGR"])
def test_a_departure_is_written_in_one_place(name):
    """The reader's test: a class holds nothing but where its equations depart from its neighbour's."""
    (definition,) = ast.parse(inspect.getsource(kg.ODYSSEY[name])).body
    # Read off the source, since libraries hang caches on classes in use.
    own = set()
    for statement in definition.body:
        if isinstance(statement, ast.FunctionDef):
            own.add(statement.name)
        elif isinstance(statement, ast.Assign):
            own |= {node.id for node in ast.walk(statement.targets[0]) if isinstance(node, ast.Name)}
    own.discard("source")
    expected = {
        "NIG": {"gates"},
        "NFG": {"gates", "remember", "without"},
        "NOG": {"gates"},
        "NIAF": {"squash_candidate"},
        "NOAF": {"squash_memory"},
        "CIFG": {"__init__"},
        "FGR": {"states", "learnable_states", "build_own", "step"},
    }
    assert own == expected[name]


def test_peepholes_that_start_at_random_start_each_in_its_own_way():
    cell = kg.PeepholeLSTMCell(5, peephole_initializer="normal")
    cell.build((None, 4))
    weights = [np.array(weight) for weight in cell.peephole_weights.values()]
    assert all(not np.allclose(*pair) for pair in itertools.combinations(weights, 2))


# -- minLSTM


@pytest.mark.parametrize("rnn", [keras.layers.RNN, kg.RNN])
@pytest.mark.parametrize(
    "dtype, depth, tolerance",
    [
        ("float32", -20.0, 1e-5),
        ("float32", -95.0, 1e-5),
        ("float32", -1000.0, 1e-4),
        ("float16", -20.0, 1e-2),
        ("bfloat16", -20.0, 1e-1),
    ],
)
def test_minlstm_shares_out_its_memory_however_far_both_gates_are_shut(rnn, dtype, depth, tolerance):
    """Where both sigmoids are zero, their ratio is still e to the difference of the pre-activations."""
    cell = kg.MinLSTMCell(3, dtype=dtype)
    layer = rnn(cell, return_sequences=True, dtype=dtype)
    layer.build(x.shape)
    i = np.linspace(-1, 1, 3)  # how much less the input gate is shut than the forget gate
    cell.kernel.assign(np.concatenate([np.zeros((4, 6)), np.ones((4, 3))], 1))
    cell.bias.assign(np.concatenate([depth + i, np.full(3, depth), np.zeros(3)]))
    with kg.use_kernels("never"):
        h = np.array(ops.cast(layer(x), "float32"))
        trained = gradients_of(layer, ops.convert_to_tensor(x))
    expected, f = np.zeros((3, 3)), 1 / (1 + np.exp(i))
    for t in range(x.shape[1]):
        expected = f * expected + (1 - f) * x[:, t].astype("float64").sum(-1, keepdims=True)
        np.testing.assert_allclose(h[:, t], expected, atol=tolerance)
    assert all(np.isfinite(gradient).all() for gradient in trained)
    assert np.abs(trained[1][:6]).min() > 0  # of the biases of both gates


def gradients_of(layer, inputs):
    """The gradients of the sum of squares with respect to the inputs and the bias."""
    tf = pytest.importorskip("tensorflow")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = ops.sum(ops.cast(layer(inputs), "float32") ** 2)
    of = tape.gradient(loss, [inputs, layer.cell.bias.value])
    return [np.array(ops.cast(gradient, "float32")) for gradient in of]


def test_minlstm_takes_other_gates_too_and_writes_nothing_where_they_are_shut():
    cell = kg.MinLSTMCell(3, recurrent_activation="hard_sigmoid", unit_forget_bias=False)
    cell.build((None, 4))
    cell.bias.assign([-1e3, -1e3, -1e3, -1e3, 0, 1e3, 0, 0, 0])
    cell.kernel.assign(np.concatenate([np.zeros((4, 6)), np.ones((4, 3))], 1))
    output, _ = cell(x[:, 0], [np.ones((3, 3), "float32")])
    np.testing.assert_allclose(output, np.tile([0.0, 1.0, 1.0], (3, 1)))


# -- sLSTM


@pytest.mark.parametrize("forget", ["sigmoid", "exponential"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("bias", [-300.0, 300.0])
def test_slstm_stays_finite_however_far_its_gates_open_or_shut(bias, dtype, forget):
    cell = kg.SLSTMCell(5, forget=forget, dtype=dtype)
    cell.build((None, 4))
    biases = np.array(cell.bias)
    for gate in (slice(0, 5), slice(5, 10), slice(0, 10)):
        cell.bias.assign(np.where(np.isin(np.arange(20), np.arange(20)[gate]), bias, biases))
        layer = keras.layers.RNN(cell, return_sequences=True, dtype=dtype)
        assert np.isfinite(np.array(layer(x), "float32")).all()


def test_slstm_first_output_does_not_depend_on_how_far_the_input_gate_is_open():
    """c / n is the candidate after one step, whatever i: the equations say so without a stabiliser."""
    cell = kg.SLSTMCell(5)
    cell.build((None, 4))
    biases, outputs = np.array(cell.bias), []
    for bias in (-200.0, 0.0, 200.0):
        cell.bias.assign(np.concatenate([np.full(5, bias), biases[5:]]))
        output, _ = cell(x[:, 0], cell.get_initial_state(3))
        outputs.append(np.array(output))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-6)
    np.testing.assert_allclose(outputs[2], outputs[1], atol=1e-6)


# -- zoneout


def test_zoneout_keeps_about_so_many_states_bit_for_bit_in_training():
    cell = kg.ZoneoutCell(kg.LSTMCell(2000), zoneout={"h": 0.2, "c": 0.6}, seed=1)
    cell.build((None, 4))
    before = [np.random.default_rng(k).normal(size=(1, 2000)).astype("float32") for k in range(2)]
    _, new, _ = cell.cell.call_with_gates(x[:1, 0], before)
    _, zoned, _ = cell.call_with_gates(x[:1, 0], before, training=True)
    for rate, old, plain, state in zip((0.2, 0.6), before, new, zoned, strict=True):
        kept = np.array(state) == old
        np.testing.assert_array_equal(state, np.where(kept, old, plain))
        assert abs(kept.mean() - rate) < 4 * 0.5 / 2000**0.5


def test_zoneout_draws_anew_in_each_step():
    hold = kg.ZoneoutCell(
        kg.SimpleRNNCell(50, bias_initializer="ones", recurrent_initializer="zeros"), zoneout=0.5
    )
    h = np.array(keras.layers.RNN(hold, return_sequences=True)(np.zeros((1, 20, 4)), training=True))[0]
    first = (h > 0).argmax(0)  # the step in which a unit first moves is geometrically distributed
    assert set(first) >= {0, 1, 2}


def test_zoneout_leaves_clocks_and_what_has_no_rate_alone():
    clock = kg.ZoneoutCell(kg.ClockworkCell(4, periods=(1, 2)), zoneout=0.5)
    *_, (states, _) = after_steps(clock)
    np.testing.assert_array_equal(states[1], 1)
    only_c = kg.ZoneoutCell(kg.LSTMCell(4), zoneout={"c": 0.5})
    assert only_c.rates == [0.0, 0.5]


@pytest.mark.parametrize(
    "make, error, sentence",
    [
        (
            lambda: kg.ZoneoutCell(kg.GRUCell(4), zoneout={"c": 0.1}),
            ValueError,
            "must name some of its states, h; got 'c'",
        ),
        (lambda: kg.ZoneoutCell(kg.GRUCell(4), zoneout=1.0), ValueError, "`zoneout` must be a number"),
        (lambda: kg.ZoneoutCell(kg.ResidualCell(kg.GRUCell(4))), TypeError, "must be no wrapper"),
    ],
)
def test_zoneout_says_what_is_wrong(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


# -- the table


def test_the_table_lists_every_cell_with_its_cost_and_source():
    lines = table(units=8, features=8).splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(kg.cell_classes())
    for line, cell in zip(lines, kg.cell_classes().values(), strict=True):
        assert cell.__name__ in line and line.endswith(cell.source) and cell.source
    assert kg.LSTMCell.parameters_per_unit(8, 16) == 4 * (8 + 16 + 1)


def test_the_table_refuses_sizes_that_no_cell_can_have(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--units", "0"])
    assert stop.value.code == 2 and "must be positive; got 0" in capsys.readouterr().err
