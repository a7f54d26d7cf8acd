"""The laws every cell keeps, one test each, over the table of cells in `laws.py`.

Each law runs in stock `keras.layers.RNN` and in `keras_gates.RNN` wherever the two could differ.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from external import layer_answer
from laws import RNNS, ROWS, set_weights
from oracles import run
from problem import BATCH, FEATURES, TIME, UNITS, assert_same, mask_of, named

import keras_gates

MAIN = [row for row in ROWS if row.every_law]
TOLERANCE = 1e-6
OPEN_OR_SHUT = {1: 1e3, 0: -1e3}

each_row = pytest.mark.parametrize("row", ROWS, ids=str)
each_cell = pytest.mark.parametrize("row", MAIN, ids=str)
each_rnn = pytest.mark.parametrize("rnn", RNNS.values(), ids=RNNS)
each_way = pytest.mark.parametrize("go_backwards", [False, True], ids=["forwards", "backwards"])


def inputs(time=TIME, seed=5):
    return np.random.default_rng(seed).normal(size=(BATCH, time, FEATURES)).astype("float32")


def initial(row):
    """Random initial states, not zeros."""
    arrays = row.problem().arrays
    return [arrays[name].astype("float32") for name in row.states]


def results(layer, x, states=None, mask=None, **options):
    """Outputs and final states of a layer as a list of arrays."""
    mask = None if mask is None else tf.constant(mask)
    states = None if states is None else [tf.constant(state) for state in states]
    return [np.asarray(value) for value in layer(tf.constant(x), initial_state=states, mask=mask, **options)]


def same(ours, theirs, tolerance=TOLERANCE):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def force(cell, gates):
    """Hold gates open or shut by their biases."""
    bias = cell.bias.numpy()
    rows = bias.reshape(-1, bias.shape[-1])
    for gate, state in gates.items():
        k = cell.gates.index(gate)
        rows[0, k * UNITS : (k + 1) * UNITS] = OPEN_OR_SHUT[state]
    cell.bias.assign(rows.reshape(bias.shape))


def test_the_table_has_every_cell():
    """If this fails, a cell has no row in `laws.py`."""
    assert set(keras_gates.cell_classes().values()) <= {type(row.cell()) for row in MAIN}


# ------------------------------------------------------------------------------------------------ sequences


@each_way
@each_row
def test_both_layers_agree(row, go_backwards):
    """`keras_gates.RNN` answers as `keras.layers.RNN` does, gradients included, under a mask with holes."""
    problem = row.problem("holes", go_backwards)
    stock, ours = (
        layer_answer(
            rnn(row.cell(), return_sequences=True, return_state=True, go_backwards=go_backwards), problem
        )
        for rnn in (keras.layers.RNN, keras_gates.RNN)
    )
    assert_same(ours, stock, TOLERANCE)


@each_rnn
@each_cell
def test_masked_steps_are_invisible(row, rnn):
    """Padding, and more padding, on either side changes no output of a real step and no final state."""
    layer, x, states = row.layer(rnn), inputs(), initial(row)
    bare, *final = results(layer, x, states)
    for before, after in [(0, 1), (0, 4), (3, 0), (2, 2)]:
        noise = inputs(before + after, seed=before)
        padded = np.concatenate([noise[:, :before], x, noise[:, before:]], 1)
        mask = np.zeros((BATCH, before + TIME + after), bool)
        mask[:, before : before + TIME] = True
        outputs, *ends = results(layer, padded, states, mask)
        same([outputs[:, before : before + TIME], *ends], [bare, *final])
        same([outputs[:, before + TIME :]], [np.repeat(bare[:, -1:], after, 1)])
        assert not outputs[:, :before].any(), "before the first real step there is no output to repeat"


@each_rnn
@each_cell
def test_zero_output_for_mask(row, rnn):
    plain, zeroed = row.layer(rnn), row.layer(rnn, zero_output_for_mask=True)
    mask = mask_of("holes")
    outputs, *final = results(plain, inputs(), initial(row), mask)
    zeros, *ends = results(zeroed, inputs(), initial(row), mask)
    same([zeros, *ends], [np.where(mask[..., None], outputs, 0), *final])


@each_rnn
@each_cell
def test_go_backwards_is_reversing_the_input(row, rnn):
    mask, states = mask_of("holes"), initial(row)
    backwards = results(row.layer(rnn, go_backwards=True), inputs(), states, mask)
    reversed_ = results(row.layer(rnn), inputs()[:, ::-1], states, mask[:, ::-1])
    same(backwards, reversed_)


@each_rnn
@each_cell
def test_unrolled_is_looped(row, rnn):
    for mask in (None, mask_of("holes")):
        looped = results(row.layer(rnn), inputs(), initial(row), mask)
        unrolled = results(row.layer(rnn, unroll=True), inputs(), initial(row), mask)
        same(unrolled, looped)


@each_rnn
@each_cell
def test_last_output_is_the_last_of_the_sequence(row, rnn):
    outputs, *final = results(row.layer(rnn), inputs(), initial(row), mask_of("right"))
    last, *ends = results(row.layer(rnn, return_sequences=False), inputs(), initial(row), mask_of("right"))
    same([last, *ends], [outputs[:, -1], *final])
    alone = row.layer(rnn, return_sequences=False, return_state=False)
    same([alone(inputs())], results(row.layer(rnn, return_sequences=False), inputs())[:1])


@each_rnn
@each_cell
def test_step_by_step_is_the_whole(row, rnn):
    """The cell called once a step, and the layer called on pieces, with the states carried by hand."""
    layer, x = row.layer(rnn), inputs()
    whole, *final = results(layer, x, initial(row))
    states, steps = initial(row), []
    for t in range(TIME):
        output, states = layer.cell(x[:, t], states)
        steps.append(np.asarray(output))
    same([np.stack(steps, 1), *states], [whole, *final])
    first, *middle = results(layer, x[:, :2], initial(row))
    second, *ends = results(layer, x[:, 2:], middle)
    same([np.concatenate([first, second], 1), *ends], [whole, *final])


@each_rnn
@each_cell
def test_batch_order_is_irrelevant(row, rnn):
    layer, x, states, mask = row.layer(rnn), inputs(), initial(row), mask_of("right")
    order = np.array([2, 0, 3, 1])
    shuffled = results(layer, x[order], [state[order] for state in states], mask[order])
    same(shuffled, [value[order] for value in results(layer, x, states, mask)])


@each_rnn
@each_cell
def test_stateful_carries_on(row, rnn):
    """Two halves through a stateful layer are the whole; `reset_state` starts anew."""
    whole = results(row.layer(rnn), inputs())
    layer = rnn(row.cell(), return_sequences=True, return_state=True, stateful=True)
    layer.build((BATCH, TIME, FEATURES))
    set_weights(layer.cell, row.problem().weights)
    for _ in range(2):
        first, *_ = results(layer, inputs()[:, :2])
        second, *final = results(layer, inputs()[:, 2:])
        same([np.concatenate([first, second], 1), *final], whole)
        layer.reset_state()


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_stateful_and_states_as_keras_has_them(kind):
    """The layer by name and Keras' own: what comes back, of which shape, in which order; a reset too."""
    options = {"return_sequences": True, "return_state": True, "stateful": True}
    ours, theirs = (getattr(module, kind)(UNITS, **options) for module in (keras_gates, keras.layers))
    shape, mask = (BATCH, TIME, FEATURES), mask_of("right")
    for layer in (ours, theirs):
        layer.build(shape)
    ours.set_weights(theirs.get_weights())
    for _ in range(2):
        for _ in range(2):
            same(results(ours, inputs(), mask=mask), results(theirs, inputs(), mask=mask))
        ours.reset_state()
        theirs.reset_state()
    assert tuple(ours.compute_output_shape(shape)) == tuple(theirs.compute_output_shape(shape))


@each_rnn
@each_cell
def test_learned_initial_states(row, rnn):
    """They act as the same states given by hand, they have gradients, and states given win over them."""
    layer = row.layer(rnn, arguments={"learn_initial_state": True})
    learned = {w.name: w for w in layer.trainable_weights if w.name.startswith("initial_")}
    assert list(learned) == [f"initial_{name}" for name in row.learned or row.states]
    plain = row.layer(rnn)
    assert len(layer.weights) == len(plain.weights) + len(learned)
    same(results(layer, inputs()), results(plain, inputs()))  # zeros at first
    values = {name: np.linspace(-1, 1, UNITS).astype("float32") for name in learned}
    for name, weight in learned.items():
        weight.assign(values[name])
    given = [np.array(state) for state in plain.cell.get_initial_state(BATCH)]
    for name, value in values.items():
        given[row.states.index(name.removeprefix("initial_"))][:] = value
    with tf.GradientTape() as tape:
        outputs, *final = layer(inputs())
        loss = tf.reduce_sum(outputs**2)
    same([outputs, *final], results(plain, inputs(), given))
    for gradient in tape.gradient(loss, [weight.value for weight in learned.values()]):
        assert np.abs(gradient).max() > 1e-4
    same(results(layer, inputs(), initial(row)), results(plain, inputs(), initial(row)))


@each_rnn
@each_cell
def test_cells_in_a_list(row, rnn):
    """A list of cells in one layer is one layer after another."""
    stack = rnn([row.cell(), row.cell()], return_sequences=True, return_state=True)
    lower, upper = (
        rnn(row.cell(), return_sequences=True, return_state=True, name=name) for name in ("lower", "upper")
    )
    with keras_gates.use_kernels("never"):  # they run no list, and round otherwise than the plain path
        between, *of_lower = results(lower, inputs())
        top, *of_upper = results(upper, between)
    stack.build(inputs().shape)
    stack.set_weights(lower.get_weights() + upper.get_weights())
    outputs, *states = keras.tree.flatten(stack(inputs()))
    same([outputs, *states], [top, *of_lower, *of_upper])


@each_rnn
@each_cell
def test_bidirectional_is_two_layers(row, rnn):
    both = keras.layers.Bidirectional(rnn(row.cell(), return_sequences=True), merge_mode=None)
    mask = mask_of("right")
    both.build(inputs().shape)
    for layer in (both.forward_layer, both.backward_layer):
        set_weights(layer.cell, row.problem().weights)
    forwards, backwards = both(inputs(), mask=tf.constant(mask))
    there = row.layer(rnn, zero_output_for_mask=True)  # as Bidirectional has it
    back = row.layer(rnn, zero_output_for_mask=True, go_backwards=True)
    expected = [results(layer, inputs(), mask=mask)[0] for layer in (there, back)]
    same([forwards, backwards], [expected[0], expected[1][:, ::-1]])


# ------------------------------------------------------------------------------------------------ equations


@each_row
def test_weights_by_name_order_and_shape(row):
    cell = row.layer().cell
    weights = named(cell.trainable_weights)
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == dict(row.weights)
    assert list(weights) == list(row.weights)
    assert tuple(cell.states) == row.states


@each_cell
def test_without_bias(row):
    layer = row.layer(arguments={"use_bias": False})
    weights = {name: value for name, value in row.problem().weights.items() if not name.startswith("bias")}
    assert list(named(layer.trainable_weights)) == list(weights)
    record = run(lambda x, states: row.oracle(x, states, weights), inputs(), initial(row))
    same(results(layer, inputs(), initial(row)), [record.outputs, *record.final], 1e-5)


@each_cell
def test_gradients_match_finite_differences(row):
    """In float64, along a random direction in all arrays at once; `test_oracles.py` has them one by one."""
    layer = row.layer(arguments={"dtype": "float64"}, dtype="float64")
    problem = row.problem("holes")
    answer = layer_answer(layer, problem, "float64")
    weights = named(layer.trainable_weights)

    def loss(arrays):
        for name, weight in weights.items():
            weight.assign(arrays[name])
        states = [arrays[name] for name in row.states]
        outputs, *final = results(layer, arrays["x"], states, problem.mask)
        ends = zip(row.states, final, strict=True)
        return np.sum(outputs * problem.cotangents["outputs"]) + sum(
            np.sum(value * problem.cotangents[name]) for name, value in ends
        )

    rng = np.random.default_rng(9)
    directions = {name: rng.normal(size=array.shape) for name, array in problem.varied.items()}
    up, down = (
        loss(problem.arrays | {name: problem.arrays[name] + step * d for name, d in directions.items()})
        for step in (1e-6, -1e-6)
    )
    slope = sum(np.sum(answer.gradients[name] * direction) for name, direction in directions.items())
    np.testing.assert_allclose((up - down) / 2e-6, slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("row", [row for row in ROWS if row.hold], ids=str)
def test_gates_forced_to_hold(row):
    """With the gates that write shut and the gate that keeps open, memory stays to the last bit."""
    layer = row.layer()
    force(layer.cell, row.hold)
    _, *final = results(layer, inputs(50), initial(row))
    memory = row.states.index(row.memory)
    np.testing.assert_array_equal(final[memory], initial(row)[memory])


@pytest.mark.parametrize("row", [row for row in ROWS if row.clear], ids=str)
def test_gates_forced_to_clear(row):
    """With memory let go, nothing is left of what was before two steps ago."""
    layer = row.layer()
    force(layer.cell, row.clear)
    x = inputs(3)
    other = [-3 * state for state in initial(row)]
    same(results(layer, x, initial(row))[1:], results(layer, x, other)[1:])
    x[:, 0] += 1
    same(results(layer, x, initial(row))[1:], results(layer, x, other)[1:])


# ------------------------------------------------------------------------------------------------- dropout


def zeros_of_input_gradient(layer, x):
    """Where (batch, time, features) a layer in training does not look at its input."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs, *_ = layer(x, training=True)
        loss = tf.reduce_sum(outputs * np.linspace(1, 2, UNITS, dtype="float32"))
    return tape.gradient(loss, x).numpy() == 0


@each_rnn
@pytest.mark.parametrize("row", [row for row in MAIN if "projection" not in row.weights], ids=str)
def test_input_dropout_is_one_mask_a_sequence(row, rnn):
    """A dropped feature has no gradient. (Around a residual cell it has one, by the short cut.)"""
    layer = row.layer(rnn, arguments={"dropout": 0.5, "seed": 3})
    dropped = zeros_of_input_gradient(layer, inputs())
    assert 0 < dropped.mean() < 1
    assert (dropped == dropped[:, :1]).all(), "the same features are dropped at every step"
    assert (dropped[0] != dropped[1:]).any(), "every sequence has its own mask"
    assert (dropped != zeros_of_input_gradient(layer, inputs())).any(), "the next batch has other masks"
    plain = row.layer(rnn)
    same(results(layer, inputs()), results(plain, inputs()))  # at inference nothing is dropped
    assert not zeros_of_input_gradient(plain, inputs()).any()


@each_rnn
@pytest.mark.parametrize(
    "row", [row for row in MAIN if row.takes("recurrent_dropout") and not row.draws], ids=str
)
def test_dropout_masks_are_held_and_separate(row, rnn):
    """A layer in training is its cell stepped by hand with one mask for the inputs and one for the states."""
    options = {"dropout": 0.5, "recurrent_dropout": 0.5, "seed": 3}
    layer, stepped = row.layer(rnn, arguments=options), row.layer(rnn, arguments=options).cell
    whole, *final = results(layer, inputs(), initial(row), training=True)
    states, steps = initial(row), []
    of_input = np.asarray(stepped.get_dropout_mask(inputs()[:, 0]))
    of_state = stepped.get_recurrent_dropout_mask(states[0])
    of_state = np.asarray(keras.tree.flatten(of_state)[0])  # of a stack in a cell, the first of several
    for t in range(TIME):
        output, states = stepped(inputs()[:, t], states, training=True)
        steps.append(np.asarray(output))
    same([np.stack(steps, 1), *states], [whole, *final])
    for mask, shape in ((of_input, (BATCH, FEATURES)), (of_state, (BATCH, UNITS))):
        assert mask.shape == shape and set(np.unique(mask)) == {0, 2}
    assert (of_input != of_state[:, :FEATURES]).any()
    recurrent = row.layer(rnn, arguments={"recurrent_dropout": 0.5, "seed": 3})
    assert not zeros_of_input_gradient(recurrent, inputs()).any(), "recurrent dropout drops no input"
    outputs, kept = (results(recurrent, inputs(), initial(row), training=t)[0] for t in (True, False))
    assert np.abs(outputs - kept).max() > 1e-2, "and it does drop"


@each_rnn
@pytest.mark.parametrize(
    "row", [row for row in MAIN if row.takes("dropout_per_gate") and not row.draws], ids=str
)
def test_masks_per_gate_are_masks_of_the_rows_of_the_kernels(row, rnn):
    """Of one sequence: what a gate does not see of x or h is a zero row of its block of a kernel."""
    options = {"dropout": 0.5, "dropout_per_gate": True, "seed": 5}
    if row.takes("recurrent_dropout"):
        options["recurrent_dropout"] = 0.5
    x, states = inputs()[:1], [state[:1] for state in initial(row)]
    layer, masks, plain = row.layer(rnn, arguments=options), row.layer(rnn, arguments=options), row.layer(rnn)
    gates = inner_cell(plain.cell).gates
    heard = inner_cell(plain.cell).recurrent_gates
    drawn = {"kernel": dict(zip(gates, masks.cell.get_dropout_mask(x[:, 0]), strict=True))}
    if heard:
        drawn["recurrent_kernel"] = dict(
            zip(gates, masks.cell.get_recurrent_dropout_mask(states[0]), strict=True)
        )
    for name, by_gate in drawn.items():
        seen = gates if name == "kernel" else heard
        rows = np.concatenate([np.repeat(np.array(by_gate[gate]).T, UNITS, 1) for gate in seen], 1)
        assert set(np.unique(rows)) == {0, 2}
        assert (rows != rows[:, :1]).any(), "the masks of the gates differ"
        weight = named(plain.cell.trainable_weights)[name]
        weight.assign(np.array(weight) * rows)
    same(results(layer, x, states, training=True), results(plain, x, states), 1e-5)
    same(results(layer, x, states), results(row.layer(rnn), x, states))  # at inference nothing is dropped


def inner_cell(cell):
    """The cell inside the wrappers."""
    while hasattr(cell, "cell"):
        cell = cell.cell
    return cell


@each_rnn
def test_dropout_masks_are_held_in_a_graph(rnn):
    row = next(row for row in ROWS if row.name == "LSTM")
    layer = row.layer(rnn, arguments={"dropout": 0.5, "recurrent_dropout": 0.5, "seed": 3})
    dropped = tf.function(lambda x: tf.gradients(layer(x, training=True)[0], x)[0])(inputs()).numpy() == 0
    assert 0 < dropped.mean() < 1 and (dropped == dropped[:, :1]).all()


# ------------------------------------------------------------------------------------- precision, compilation


@pytest.mark.parametrize(
    "policy, tolerance", [("mixed_float16", 5e-3), ("mixed_bfloat16", 5e-2), ("float64", 1e-6)]
)
@each_rnn
@each_cell
def test_precisions(row, rnn, policy, tolerance):
    """Computed in the policy's dtype, with weights in its variable dtype, and close to single precision."""
    layer = row.layer(rnn, arguments={"dtype": policy}, dtype=policy)
    policy = keras.dtype_policies.get(policy)
    outputs, *final = layer(inputs(), mask=tf.constant(mask_of("holes")))
    assert {value.dtype.name for value in (outputs, *final)} == {policy.compute_dtype}
    assert {weight.dtype for weight in layer.trainable_weights} == {policy.variable_dtype}
    values = [tf.cast(value, "float32") for value in (outputs, *final)]
    same(values, results(row.layer(rnn), inputs(), mask=mask_of("holes")), tolerance)


@each_cell
def test_compiled_or_not(row):
    """Eager and compiled by XLA: outputs and gradients agree. (Graphs: `test_functional_model_trains`.)"""
    layer, x = row.layer(), tf.constant(inputs())
    mask = tf.constant(mask_of("holes"))
    weights = [weight.value for weight in layer.trainable_weights]

    def answer(x):
        with tf.GradientTape() as tape:
            outputs, *final = layer(x, mask=mask)
            loss = tf.reduce_sum(outputs**2)
        return outputs, *final, *tape.gradient(loss, weights)

    same(tf.function(answer, jit_compile=True)(x), answer(x), 1e-5)


# --------------------------------------------------------------------------------------------------- models


@each_cell
def test_functional_model_trains(row):
    """Embedded words, their mask, the cell in one layer and in the other, under `fit`."""
    keras.utils.set_random_seed(0)  # some first weights leave most rectified units dead
    words = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(7, FEATURES, mask_zero=True)(words)
    hidden = keras.layers.RNN(row.cell(), return_sequences=True)(embedded)
    hidden = keras_gates.RNN(row.cell())(hidden)
    model = keras.Model(words, keras.layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=False, jit_compile=False)
    x = np.random.default_rng(0).integers(1, 7, (16, TIME))
    x[:8, -2:] = 0
    losses = model.fit(x, (x[:, 0] > 3) * 1.0, batch_size=16, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert model(x[:3, :4]).shape == (3, 1), "another batch size and length"


@each_rnn
def test_subclassed_model(rnn):
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = rnn([row.cell() for row in MAIN], return_sequences=True)
            self.second = rnn(MAIN[0].cell())

        def call(self, x):
            return self.second(self.first(x))

    model = Model()
    model.compile("sgd", "mse", run_eagerly=True)
    assert np.isfinite(model.train_on_batch(inputs(), np.zeros((BATCH, UNITS))))
    assert len(model.trainable_weights) == sum(len(row.weights) for row in (*MAIN, MAIN[0]))
