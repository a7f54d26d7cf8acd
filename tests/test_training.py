"""Each kind of memory learns a small task that needs it; the seeds are fixed, and so are the data."""

from functools import partial

import keras
import numpy as np

import keras_gates as kg

SYMBOLS, SILENCE, BATCH = 4, 3, 64
INFER = {"batch_size": 512, "verbose": 0}

GATED = {
    name: kg.cell_classes()[name]
    for name in ("lstm", "peephole-only", "coupled", "FGR", "gru", "minimal-gated", "janet", "slstm")
} | {
    "layer-norm-lstm": kg.LayerNormLSTMCell,
    "depth 4": partial(kg.DepthGatedLSTMCell, depth=4),
    "zoneout": lambda units: kg.ZoneoutCell(kg.LSTMCell(units), zoneout=0.05, seed=1),
}
# Their gates do not see the past, so they cannot tell first from second: they are asked for one symbol.
BLIND = {name: kg.cell_classes()[name] for name in ("indrnn", "min-gru", "min-lstm")}


def draw(length, count, seed):
    """`length` symbols, silence, a sign, and silence in which they are to be said again."""
    rng = np.random.default_rng(seed)
    said = rng.integers(0, SYMBOLS, (count, length))
    x = np.zeros((count, 2 * length + SILENCE, SYMBOLS + 1), "float32")
    x[np.arange(count)[:, None], np.arange(length), said] = 1
    x[:, length + SILENCE - 1, SYMBOLS] = 1
    return x, said


def accuracies_after_copying(cells, length, steps):
    """Train all cells side by side in one model, each with its own head; the accuracy of each by name."""
    keras.utils.set_random_seed(1)
    x, said = draw(length, steps * BATCH, seed=0)
    inputs = keras.Input(x.shape[1:])
    heads = []
    for make in cells.values():
        h = kg.RNN(make(16), return_sequences=True)(inputs)
        heads.append(keras.layers.Dense(SYMBOLS)(h[:, -length:]))
    model = keras.Model(inputs, heads)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), [loss] * len(heads))
    model.fit(x, [said] * len(heads), batch_size=BATCH, verbose=0)
    x, said = draw(length, 512, seed=9)
    answers = model.predict(x, **INFER)
    answers = answers if isinstance(answers, list) else [answers]
    return {
        name: float((answer.argmax(-1) == said).mean()) for name, answer in zip(cells, answers, strict=True)
    }


def test_gated_memories_copy_two_symbols():
    """Saying any symbol gets 0.25 right."""
    accuracies = accuracies_after_copying(GATED, length=2, steps=150)
    assert all(accuracy >= 0.9 for accuracy in accuracies.values()), accuracies


def test_memories_whose_gates_do_not_see_the_past_keep_one_symbol():
    """Saying any symbol gets 0.25 right."""
    accuracies = accuracies_after_copying(BLIND, length=1, steps=150)
    assert all(accuracy >= 0.9 for accuracy in accuracies.values()), accuracies


def test_clockwork_makes_a_sum_of_sines_that_a_simple_cell_of_its_size_does_not():
    """Out of a constant input; a constant answer has the error 1/6, the variance of the target."""
    t = np.arange(96)
    sines = (
        sum(np.sin(2 * np.pi * t / period + phase) for period, phase in ((8, 0.3), (32, 1.0), (96, 2.0))) / 3
    )
    x, y = np.ones((1, 96, 1), "float32"), sines[None, :, None].astype("float32")
    errors = []
    for cell in (kg.ClockworkCell(40, periods=(1, 4, 8, 16, 32)), kg.SimpleRNNCell(40)):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input((96, 1)), kg.RNN(cell, return_sequences=True), keras.layers.Dense(1)]
        )
        model.compile(keras.optimizers.Adam(0.005, clipnorm=1.0), "mse")
        model.fit(x.repeat(200, 0), y.repeat(200, 0), batch_size=1, verbose=0)
        errors.append(model.evaluate(x, y, verbose=0))
    clockwork, simple = errors
    assert clockwork < 0.01 and clockwork < simple / 4, errors
