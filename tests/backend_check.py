"""What every cell computes and learns on whatever backend Keras has: a plain script that needs no pytest.

    KERAS_BACKEND=jax python tests/backend_check.py OUT.npz

takes every cell of the table in `laws.py` through a sequence in `keras.layers.RNN` and in `keras_gates.RNN`,
with given weights, initial states and a mask with holes, and then through one step of `fit`. Outputs, final
states and the weights after the step (which are the gradients) are written to OUT.npz under the cell's name.
`test_backends.py` compares them, the outputs of attention, of poolings, of a CRF, of what joins steps and of
the parts that look at a position, and what a model writes.
"""

import itertools
import sys

import keras
import numpy as np
from laws import RNNS, ROWS
from problem import FEATURES, TIME, named

import keras_gates
from keras_gates.attention import ATTENTIONS
from keras_gates.attention.affine import FILL_MODES

MAIN = [row for row in ROWS if row.every_law]
CELLS = keras_gates.BahdanauCell, keras_gates.LuongCell
POOLINGS = (
    keras_gates.MeanPooling,
    keras_gates.SumPooling,
    keras_gates.MaxPooling,
    keras_gates.AttentionPooling,
)


def forward(row, rnn):
    """Outputs of the steps that a mask with holes lets through, and final states, from given states.

    What stands in the other steps is up to the backend: Keras on JAX repeats the first state there, even
    before the first step.
    """
    problem = row.problem("holes")
    x, mask, *states = (
        keras.ops.convert_to_tensor(value)
        for value in (
            problem.arrays["x"].astype("float32"),
            problem.mask,
            *(problem.arrays[name].astype("float32") for name in row.states),
        )
    )
    outputs, *final = map(keras.ops.convert_to_numpy, row.layer(rnn)(x, initial_state=states, mask=mask))
    final = {f"state {name}": state for name, state in zip(row.states, final, strict=True)}
    return {"outputs": outputs[problem.mask], **final}


def after_one_step(row):
    """The weights after one step of gradient descent under `fit`.

    Zoneout draws anew at each step: no two backends draw the same, and a loop compiled by JAX cannot. It is
    unrolled, and what is kept of its weights is that they are finite.
    """
    problem = row.problem()
    layer = row.layer(keras_gates.RNN, return_state=False, unroll=row.draws)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    x, y = (values.astype("float32") for values in (problem.arrays["x"], problem.cotangents["outputs"]))
    model.fit(x, y, batch_size=len(x), verbose=0)
    found = {}
    for name, weight in named(layer.trainable_weights).items():
        weight = keras.ops.convert_to_numpy(weight)
        found[f"trained {name}"] = np.isfinite(weight) if row.draws else weight
    return found


def attention():
    """Every attention in both cells, soft and hard, over a memory with NaN in its padding."""
    rng = np.random.default_rng(7)
    x, memory = (rng.normal(size=shape).astype("float32") for shape in ((3, 5, 4), (3, 6, 4)))
    there = np.arange(6) < np.array([[6], [2], [0]])
    memory = np.where(there[..., None], memory, np.float32(np.nan))
    found = {}
    for cell, score, hard in itertools.product(CELLS, ATTENTIONS, (False, True)):
        looking = cell(keras_gates.GRUCell(4), ATTENTIONS[score](hard=hard))
        layer = keras_gates.AttentionRNN(looking, return_sequences=True)
        layer.build(x.shape, memory.shape)
        layer.set_weights([rng.normal(size=w.shape).astype("float32") for w in layer.get_weights()])
        outputs = layer(x, memory=memory, memory_mask=there)
        found[f"{cell.__name__}/{score}/{hard}"] = keras.ops.convert_to_numpy(outputs)
    return found


def pooling():
    """Every pooling, whole and after the last of its steps, and what joins steps; NaN in the padding."""
    rng = np.random.default_rng(8)
    x, there = rng.normal(size=(3, 5, 4)).astype("float32"), np.arange(5) < np.array([[5], [2], [0]])
    x = np.where(there[..., None], x, np.float32(np.nan))
    found = {
        "join": keras_gates.JoinSteps()([x, np.ones((3, 2), "float32")]),
        "each": keras_gates.EachStep(keras.layers.GlobalAveragePooling1D())(np.stack([x, 2 * x], axis=2)),
    }
    for kind in POOLINGS:
        layer, carried = kind(), {}
        layer.build(x.shape)
        layer.set_weights([rng.normal(size=w.shape).astype("float32") for w in layer.get_weights()])
        x_t, there_t = (keras.ops.convert_to_tensor(array.swapaxes(0, 1)) for array in (x, there))
        for t in range(5):
            found[f"{kind.__name__}/step"], carried = layer.pool_step(x_t[t], carried, there_t[t])
        found[f"{kind.__name__}/whole"] = layer(x, mask=keras.ops.convert_to_tensor(there))
    return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}


def crf():
    """A CRF under a mask with holes: chain, labels, marginals, and its scores after one step of `fit`."""
    rng = np.random.default_rng(10)
    ids = rng.integers(1, 5, (3, 6)) * (rng.random((3, 6)) < 0.7)
    inputs = keras.Input((None,), dtype="int32")
    chain = keras_gates.CRF()(keras.layers.Embedding(5, 3, mask_zero=True)(inputs))
    outputs = {"chain": chain, "marginals": keras_gates.CRFMarginals()(chain)}
    outputs["labels"] = keras_gates.CRFDecoder(["O", "B-x", "I-x"])(chain)
    model = keras.Model(inputs, chain)
    model.set_weights([rng.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    found = {name: keras.ops.convert_to_numpy(x) for name, x in keras.Model(inputs, outputs)(ids).items()}
    model.compile(keras.optimizers.SGD(0.5), keras_gates.CRFLoss(), metrics=[keras_gates.CRFAccuracy()])
    model.fit(ids, rng.integers(3, size=(3, 6)), batch_size=3, verbose=0)
    return found | {w.name: keras.ops.convert_to_numpy(w) for w in model.trainable_weights}


def positions():
    """What attends to a position, draws, transforms or gives a mixture: outputs, and weights after a step."""
    rng = np.random.default_rng(10)
    x, text = (rng.normal(size=shape).astype("float32") for shape in ((2, 3, 4), (2, 5, 3)))
    pictures = rng.random((2, 6, 5, 2)).astype("float32")
    attentions = {
        "window": (keras_gates.SoftWindow(2), text, 3),
        "draw": (keras_gates.DrawAttention(3), pictures, 18),
        "retina": (keras_gates.RetinaAttention(2, 2), pictures, 18),
        "affine": (keras_gates.AffineAttention((3, 3)), pictures, 18),
    }
    layers = {}
    for name, (attention, memory, size) in attentions.items():
        cell = keras_gates.GravesCell(keras_gates.GRUCell(4), attention, seen_size=size)
        # drawing anew in each step, as the retina does in training, needs an unrolled loop on JAX
        layers[name] = keras_gates.AttentionRNN(cell, return_sequences=True, unroll=name == "retina"), memory
    canvas = keras_gates.CanvasCell(keras_gates.GRUCell(4), (5, 4, 1), patch=3)
    layers["canvas"] = keras_gates.RNN(canvas, return_sequences=True), None
    canvas = keras_gates.CanvasCell(keras_gates.GRUCell(4), (6, 5, 2), patch=3, learn_initial_state=True)
    draws = keras_gates.DrawCell(keras_gates.GRUCell(4), canvas, 4, patch=3)
    layers["drawing"] = keras_gates.AttentionRNN(draws, return_sequences=True), pictures
    layers["mixture"] = keras_gates.MixtureDensity(2, 2, covariance="full", pen=True), None
    found = {}
    for name, (layer, memory) in layers.items():
        found |= {f"{name}/{key}": value for key, value in trained_once(layer, x, memory, rng).items()}
    for mode in FILL_MODES:
        layer = keras_gates.SpatialTransformer(keras.layers.Flatten(), (4, 3), fill_mode=mode)
        found |= {f"{mode}/{key}": value for key, value in trained_once(layer, pictures, None, rng).items()}
    # no two backends draw the same glances
    return {name: value for name, value in found.items() if not name.startswith("retina/trained")}


def trained_once(layer, x, memory, rng):
    """The outputs of a layer with random weights, and its weights after one step under `fit`."""
    inputs = [keras.Input(x.shape[1:])]
    if memory is None:
        outputs, given = layer(inputs[0]), [x]
    else:
        inputs.append(keras.Input(memory.shape[1:]))
        outputs, given = layer(inputs[0], memory=inputs[1]), [x, memory]
    model = keras.Model(inputs, outputs)
    model.set_weights([rng.normal(size=w.shape, scale=0.3) for w in model.get_weights()])
    found = {"outputs": model.predict(given, verbose=0)}
    is_mixture = isinstance(layer, keras_gates.MixtureDensity)
    wanted = np.zeros((*x.shape[:2], 3)) if is_mixture else np.zeros_like(found["outputs"])
    model.compile(keras.optimizers.SGD(0.1), layer.loss() if is_mixture else "mse")
    model.fit(given, wanted, verbose=0)
    return found | {f"trained {k}": weight for k, weight in enumerate(model.get_weights())}


def dropped_weights():
    """Whether a layer with `weight_dropout` is one whose recurrent kernel has the same elements dropped.

    No two backends draw the same, so each is compared with itself: outputs, and what a step of `fit` leaves.
    """
    rng = np.random.default_rng(11)
    x, y = (rng.normal(size=shape).astype("float32") for shape in ((2, 4, 3), (2, 4, 5)))
    found = {}
    for name in ("lstm", "gru", "indrnn"):
        cell = keras_gates.cell_classes()[name](5, seed=6)
        layer = keras_gates.RNN(cell, return_sequences=True, weight_dropout=0.4)
        model = keras.Sequential([keras.Input((4, 3)), layer])
        model.compile(keras.optimizers.SGD(0.5), "mse")
        start, state = [copied(weight) for weight in model.weights], copied(cell.seed_generator.state)
        kernel = copied(cell.recurrent_kernel)
        ones = keras.ops.ones(kernel.shape)
        dropped = copied(keras.random.dropout(ones, 0.4, seed=cell.seed_generator))
        cell.seed_generator.state.assign(state)
        outputs = keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(x), training=True))
        cell.seed_generator.state.assign(state)
        model.fit(x, y, verbose=0)
        after = copied(cell.recurrent_kernel)
        model.set_weights(start)
        cell.recurrent_kernel.assign(kernel * dropped)
        found[f"{name}/outputs"] = np.allclose(model.predict(x, verbose=0), outputs, atol=1e-6)
        found[f"{name}/share"] = 0 < np.mean(dropped == 0) < 1
        found[f"{name}/unchanged"] = np.array_equal(after[dropped == 0], kernel[dropped == 0])
        found[f"{name}/changed"] = np.any(after != kernel)
    return found


def copied(value):
    """A copy as an array: that of a weight may be its memory on PyTorch."""
    return np.array(keras.ops.convert_to_numpy(value))


def writing():
    """What a decoder that attends writes from prompts of two lengths, and whether it goes on."""
    heard, said = (keras.Input((None,), dtype="int32", name=name) for name in ("heard", "said"))
    memory = keras_gates.GRU(3, return_sequences=True)(keras.layers.Embedding(6, 3, mask_zero=True)(heard))
    cell = keras_gates.BahdanauCell(keras_gates.LSTMCell(4))
    x = keras.layers.Embedding(6, 3)(said)
    x = keras_gates.AttentionRNN(cell, return_sequences=True, name="decoder")(x, memory=memory)
    model = keras.Model([heard, said], keras.layers.Dense(6)(x))
    rng = np.random.default_rng(9)
    model.set_weights([rng.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    given = {"over": "said", "stop": 2, "context": np.array([[1, 3, 4], [5, 0, 0]]), "prompt": [[1], [1, 4]]}
    found = {}
    for how in keras_gates.Greedy(), keras_gates.Beam(3, 0.6, n_best=2):
        written = keras_gates.write(model, length=6, how=how, **given)
        found |= {f"{how}/{name}": getattr(written, name) for name in ("tokens", "lengths", "scores")}
        found[f"{how}/alignments"] = written.alignments["decoder"]
    # no two backends draw the same, but each draws on where it stopped
    how = keras_gates.Sampling(seed=2)
    whole = keras_gates.write(model, length=8, how=how, **given)
    steps = list(keras_gates.writing.stream(model, length=8, how=how, **given))
    found["goes on"] = np.array_equal(np.concatenate([step.tokens for step in steps], 1), whole.tokens)
    return found


def starts_as_in_keras(kind):
    """Whether the weights of two layers of a kind are those of Keras after the same global seed."""
    weights = []
    for module in (keras_gates, keras.layers):
        keras.utils.set_random_seed(3)
        layers = [getattr(module, kind)(4) for _ in range(2)]
        for layer in layers:
            layer.build((None, TIME, FEATURES))
        weights.append([weight for layer in layers for weight in layer.get_weights()])
    return [np.array_equal(ours, theirs) for ours, theirs in zip(*weights, strict=True)]


def answers():
    """Everything there is to compare, by the names of cell and array."""
    found = {
        f"LSTM/{kind} starts as in Keras": starts_as_in_keras(kind) for kind in ("LSTM", "GRU", "SimpleRNN")
    }
    for row in MAIN:
        for rnn in RNNS:
            found |= {f"{row}/{rnn}/{name}": value for name, value in forward(row, RNNS[rnn]).items()}
        found |= {f"{row}/{name}": value for name, value in after_one_step(row).items()}
    for what in (attention, pooling, crf, positions, dropped_weights, writing):
        found |= {f"{what.__name__}/{name}": value for name, value in what().items()}
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **answers())
