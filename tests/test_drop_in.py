"""Our layers in the place of Keras': the same call gives the same result, or an error where Keras has one.

A probe is a function of the classes to use, `of.LSTM`, `of.RNN`, …. It runs once with those of Keras and once
with those of this package, each time after the same global seed, and so from the same weights. What it
returns is compared: numbers within rounding, everything else exactly.
"""

import keras
import numpy as np
import pytest
from keras import ops

import keras_gates

x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
y = np.random.default_rng(1).normal(size=(4, 5)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0, 0], [1] * 6, [0, 0, 1, 1, 0, 1], [0] * 6], "bool")
RIGHT = np.array([[1, 1, 1, 1, 0, 0], [1] * 6, [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]], "bool")
h, c = (np.random.default_rng(k).normal(size=(4, 5)).astype("float32") for k in (2, 3))
KINDS = ("LSTM", "GRU", "SimpleRNN")
STATES = {"LSTM": [h, c], "GRU": [h], "SimpleRNN": [h]}


class OfKeras:
    """Keras' own classes."""

    RNN = keras.layers.RNN
    per_gate = {}  # Keras' LSTM and GRU have a mask per gate as soon as there is recurrent dropout

    def __getattr__(self, name):
        return getattr(keras.layers, name)


class OfOurs:
    """The classes of this package under the names of Keras', the rest from Keras."""

    RNN = keras_gates.RNN
    per_gate = {"dropout_per_gate": True}

    def __getattr__(self, name):
        return getattr(keras_gates if name.startswith(KINDS) else keras.layers, name)


# -- probes: of one kind of layer each


def option(**arguments):
    """Outputs and states of a layer with these arguments."""

    def probe(of, kind):
        return getattr(of, kind)(5, **arguments)(x)

    return probe


def masked(mask, **arguments):
    def probe(of, kind):
        return getattr(of, kind)(5, **arguments)(x, mask=ops.convert_to_tensor(mask))

    return probe


def with_initial_state(of, kind):
    return getattr(of, kind)(5, return_state=True)(x, initial_state=STATES[kind])


def with_initial_state_backwards_and_masked(of, kind):
    layer = getattr(of, kind)(5, return_sequences=True, return_state=True, go_backwards=True)
    return layer(x, initial_state=STATES[kind], mask=ops.convert_to_tensor(RIGHT))


def with_initial_state_as_a_tuple(of, kind):
    return getattr(of, kind)(5)(x, initial_state=tuple(STATES[kind]))


def with_a_bare_initial_state(of, kind):
    return getattr(of, kind)(5)(x, initial_state=ops.convert_to_tensor(h))


def with_too_many_initial_states(of, kind):
    return getattr(of, kind)(5)(x, initial_state=[h] * 3)


def with_symbolic_initial_state(of, kind):
    inputs = keras.Input((6, 3))
    states = [keras.Input((5,)) for _ in STATES[kind]]
    model = keras.Model([inputs, *states], getattr(of, kind)(5)(inputs, initial_state=states))
    return model([x, *STATES[kind]])


def encoder_and_decoder(of, kind):
    inputs = keras.Input((None, 3))
    _, *states = getattr(of, kind)(5, return_state=True)(inputs)
    outputs = getattr(of, kind)(5, return_sequences=True)(inputs, initial_state=states)
    return keras.Model(inputs, outputs)(x)


def stateful(of, kind):
    layer = getattr(of, kind)(5, stateful=True, return_sequences=True)
    found = [layer(x[:, :2]), layer(x[:, 2:])]
    layer.reset_state()
    found.append(layer(x))
    layer.reset_states()
    return [*found, layer(x), [np.array(state) for state in layer.states]]


def stateful_with_another_batch(of, kind):
    layer = getattr(of, kind)(5, stateful=True)
    layer(x)
    return layer(x[:2])


def stateful_in_a_model(of, kind):
    model = keras.Sequential([keras.Input(batch_shape=(4, None, 3)), getattr(of, kind)(5, stateful=True)])
    return [model.predict(part, batch_size=4, verbose=0) for part in (x[:, :2], x[:, 2:])]


def stateful_without_a_batch_size(of, kind):
    return keras.Sequential([keras.Input((None, 3)), getattr(of, kind)(5, stateful=True)])


def unrolled_without_a_length(of, kind):
    return keras.Sequential([keras.Input((None, 3)), getattr(of, kind)(5, unroll=True)]).predict(x, verbose=0)


def half_precision(policy):
    def probe(of, kind):
        layer = getattr(of, kind)(5, dtype=policy, return_state=True)
        with keras_gates.use_kernels("never"):  # they round less than Keras: see test_kernels_bfloat16.py
            output, *states = layer(x)
        dtypes = [keras.backend.standardize_dtype(value.dtype) for value in (output, *states)]
        return [
            dtypes,
            [w.dtype for w in layer.weights],
            ops.cast(output, "float32") * 1e-3,
        ]  # compared to 2e-3

    return probe


def global_policy(of, kind):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = getattr(of, kind)(5)
        return [
            keras.backend.standardize_dtype(layer(x).dtype),
            layer.variable_dtype,
            layer.cell.compute_dtype,
        ]
    finally:
        keras.config.set_dtype_policy(before)


def double_from_single(of, kind):
    layer = getattr(of, kind)(5, dtype="float64")
    return [layer(x), keras.backend.standardize_dtype(layer(x).dtype)]


def weights_after_a_global_seed(of, kind):
    """Two layers: the second shows that as many numbers were drawn for the first."""
    layers = [getattr(of, kind)(5) for _ in range(2)]
    for layer in layers:
        layer.build((None, None, 3))
    return [layer.get_weights() for layer in layers]


def weights_from(**arguments):
    def probe(of, kind):
        layer = getattr(of, kind)(5, **arguments)
        layer.build((None, None, 5))
        return layer.get_weights()

    return probe


class Scaled(keras.initializers.Initializer):
    """An initializer of a user that does not say how it is made."""

    def __init__(self, scale=0.0):
        self.scale = scale

    def __call__(self, shape, dtype=None):
        return ops.full(shape, self.scale, dtype=dtype)


class Needy(Scaled):
    """One that cannot be made without arguments."""

    def __init__(self, scale):
        super().__init__(scale)


def weights_of_a_clone(of, kind):
    model = keras.Sequential([keras.Input((6, 3)), getattr(of, kind)(5), keras.layers.Dense(2)])
    return keras.models.clone_model(model).get_weights()


def one_initializer_for_two(of, kind):
    initializer = keras.initializers.RandomNormal()
    layer = getattr(of, kind)(5, kernel_initializer=initializer, recurrent_initializer=initializer)
    layer.build((None, None, 5))
    return layer.get_weights()


def dropout(**arguments):
    """A pass in training: from one seed, Keras and we draw the same masks."""

    def probe(of, kind):
        per_gate = of.per_gate if kind != "SimpleRNN" and arguments.get("recurrent_dropout") else {}
        layer = getattr(of, kind)(5, return_sequences=True, **arguments, **per_gate)
        return [layer(x, training=True), layer(x, training=True), layer(x), layer.dropout]

    return probe


def dropout_at_training(of, kind):
    """The gradients too: the weights after three steps of training."""
    per_gate = of.per_gate if kind != "SimpleRNN" else {}
    layer = getattr(of, kind)(5, dropout=0.25, recurrent_dropout=0.5, seed=1, **per_gate)
    return fitted(keras.Sequential([keras.Input((6, 3)), layer]), run_eagerly=False)


def fitted(model, inputs=x, targets=y, run_eagerly=True):
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=run_eagerly)
    losses = model.fit(inputs, targets, epochs=3, batch_size=4, shuffle=False, verbose=0).history["loss"]
    return [losses, model.get_weights()]


def trained(**arguments):
    def probe(of, kind):
        return fitted(keras.Sequential([keras.Input((6, 3)), getattr(of, kind)(5, **arguments)]))

    return probe


def trained_in_a_graph(of, kind):
    return fitted(keras.Sequential([keras.Input((6, 3)), getattr(of, kind)(5)]), run_eagerly=False)


def frozen(of, kind):
    layer = getattr(of, kind)(5)
    layer.trainable = False
    model = keras.Sequential([keras.Input((6, 3)), layer, keras.layers.Dense(5)])
    return [len(model.trainable_weights), *fitted(model)]


def made_frozen(of, kind):
    layer = getattr(of, kind)(5, trainable=False)
    layer(x)
    return [len(layer.trainable_weights), len(layer.non_trainable_weights), layer.cell.trainable]


def losses_of(**arguments):
    def probe(of, kind):
        layer = getattr(of, kind)(5, **arguments)
        layer(x)
        return list(layer.losses)

    return probe


def attributes(of, kind):
    layer = getattr(of, kind)(
        5, dropout=0.25, recurrent_dropout=0.5, activation="relu", kernel_regularizer="l2"
    )
    names = (
        "units", "use_bias", "dropout", "recurrent_dropout", "return_sequences", "return_state",
        "go_backwards", "stateful", "unroll", "supports_masking",
    )  # fmt: skip
    own = {"LSTM": ("unit_forget_bias",), "GRU": ("reset_after",), "SimpleRNN": ()}[kind]
    kinds = ("kernel_initializer", "recurrent_initializer", "bias_initializer", "kernel_regularizer")
    found = {name: getattr(layer, name) for name in names + own}
    found |= {name: type(getattr(layer, name)).__name__ for name in kinds}
    found["constraint"] = layer.kernel_constraint
    found["activation"] = layer.activation is keras.activations.relu
    return list(map(repr, found.items()))


def units_cannot_be_set(of, kind):
    layer = getattr(of, kind)(5)
    layer.units = 6


def config(of, kind):
    """Every entry of Keras' config is one of ours, with the same value."""
    layer = getattr(of, kind)(
        5, name="one", dropout=0.25, activity_regularizer="l2", bias_constraint="max_norm"
    )
    expected = getattr(keras.layers, kind)(5).get_config()
    return {name: repr(value) for name, value in layer.get_config().items() if name in expected}


def names_in_the_config(of, kind):
    return sorted(set(getattr(keras.layers, kind)(5).get_config()) & set(getattr(of, kind)(5).get_config()))


def from_the_config(of, kind):
    layer = getattr(of, kind)(
        5, kernel_initializer="ones", activation="relu", use_bias=False, go_backwards=True
    )
    return type(layer).from_config(layer.get_config())(x)


def from_the_config_of_keras(of, kind):
    theirs = getattr(keras.layers, kind)(5, kernel_initializer="ones", recurrent_initializer="zeros")
    return getattr(of, kind).from_config(theirs.get_config())(x)


def from_a_config_with_implementation(of, kind):
    theirs = getattr(keras.layers, kind)(5).get_config()
    if kind != "SimpleRNN":
        theirs["implementation"] = 1
    return getattr(of, kind).from_config(theirs)(x)


def saved_and_loaded(of, kind, folder):
    model = keras.Sequential([keras.Input((6, 3)), getattr(of, kind)(5, activity_regularizer="l2")])
    model.save(folder / "model.keras")
    return [keras.saving.load_model(folder / "model.keras")(x), model(x)]


def weights_saved_and_loaded(of, kind, folder):
    model, other = (keras.Sequential([keras.Input((6, 3)), getattr(of, kind)(5)]) for _ in range(2))
    model.save_weights(folder / "one.weights.h5")
    other.load_weights(folder / "one.weights.h5")
    return [other(x), model(x)]


def given_weights(of, kind):
    layer = getattr(of, kind)(5)
    layer.build((None, None, 3))
    rng = np.random.default_rng(4)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer(x)


def weights_of_another_shape(of, kind):
    layer = getattr(of, kind)(5)
    layer.build((None, None, 3))
    layer.set_weights([weight[..., 1:] for weight in layer.get_weights()])


def too_few_weights(of, kind):
    layer = getattr(of, kind)(5)
    layer.build((None, None, 3))
    layer.set_weights(layer.get_weights()[:1])


def names_and_shapes_of_weights(of, kind):
    layer = getattr(of, kind)(5)
    layer.build((None, None, 3))
    return [layer.count_params(), *([w.name, *map(str, w.shape)] for w in layer.weights)]


def paths_of_weights(of, kind):
    """Of two layers: they differ in the name of the layer, which is given here, not in that of the cell."""
    layers = [getattr(of, kind)(5, name=name) for name in ("one", "other")]
    for layer in layers:
        layer.build((None, None, 3))
    return [weight.path for layer in layers for weight in layer.weights]


def over_time(of, kind):
    layer = keras.layers.TimeDistributed(getattr(of, kind)(5))
    return layer(np.stack([x, x[::-1]], 1))


def bidirectional(merge, **arguments):
    def probe(of, kind):
        return keras.layers.Bidirectional(getattr(of, kind)(5, **arguments), merge_mode=merge)(x)

    return probe


def bidirectional_with_states(of, kind):
    layer = keras.layers.Bidirectional(getattr(of, kind)(5, return_state=True))
    return layer(x, initial_state=STATES[kind] * 2)


def bidirectional_and_masked(of, kind):
    layer = keras.layers.Bidirectional(getattr(of, kind)(5, return_sequences=True))
    return layer(x, mask=ops.convert_to_tensor(RIGHT))


def bidirectional_of_two(of, kind):
    backward = getattr(of, kind)(4, go_backwards=True)
    return keras.layers.Bidirectional(getattr(of, kind)(5), backward_layer=backward)(x)


def bidirectional_in_one_direction(of, kind):
    return keras.layers.Bidirectional(getattr(of, kind)(5), backward_layer=getattr(of, kind)(5))


def embedded_and_masked(of, kind):
    words = np.array([[1, 2, 3, 0, 0], [4, 0, 1, 2, 0], [1, 1, 1, 1, 1], [3, 0, 0, 0, 0]])
    model = keras.Sequential([keras.layers.Embedding(7, 3, mask_zero=True), getattr(of, kind)(5)])
    return [model(words), *fitted(model, words)]


def a_mask_goes_on(of, kind):
    inputs = keras.layers.Masking(0.0)(np.where(RIGHT[..., None], x, 0))
    hidden = getattr(of, kind)(4, return_sequences=True)(inputs)
    return getattr(of, kind)(5)(hidden)


def a_mask_ends(of, kind):
    layer = getattr(of, kind)(5, return_state=True)
    mask = ops.convert_to_tensor(RIGHT)
    return [layer.compute_mask(x, mask), getattr(of, kind)(5).compute_mask(x, mask)]


def twice_in_a_model(of, kind):
    layer = getattr(of, kind)(5)
    one, other = keras.Input((None, 3)), keras.Input((None, 3))
    model = keras.Model([one, other], layer(one) + layer(other))
    return [len(model.weights), model([x, x[:, ::-1]])]


def symbolic_shapes(of, kind):
    inputs = keras.Input((None, 3))
    layer = getattr(of, kind)(5, return_sequences=True, return_state=True)
    return [str(tensor.shape) for tensor in layer(inputs)]


def computed_shapes(of, kind):
    layer = getattr(of, kind)(5, return_sequences=True, return_state=True)
    return str(layer.compute_output_shape((4, None, 3)))


def other_batches(of, kind):
    model = keras.Sequential([keras.Input((None, 3)), getattr(of, kind)(5)])
    return [model(part) for part in (x, x[:1], x[:3, :2], x[:, :1])]


def one_step(of, kind):
    return getattr(of, kind)(5, return_sequences=True)(x[:, :1])


def lists_of_numbers(of, kind):
    return getattr(of, kind)(5)(np.array(x.tolist()))


def integers(of, kind):
    return getattr(of, kind)(5)(np.arange(72).reshape(4, 6, 3) // 9)


def numpy_scalars(of, kind):
    return getattr(of, kind)(5, dropout=np.float32(0.25), recurrent_dropout=np.float64(0.0))(x)


def of_rank_two(of, kind):
    return getattr(of, kind)(5)(x[:, 0])


def of_rank_four(of, kind):
    return getattr(of, kind)(5)(x[..., None])


def other_features(of, kind):
    layer = getattr(of, kind)(5)
    layer(x)
    return layer(x[..., :2])


def no_units(of, kind):
    return getattr(of, kind)()


def zero_units(of, kind):
    return getattr(of, kind)(0)


def no_such_argument(of, kind):
    return getattr(of, kind)(5, dropuot=0.5)


def no_such_activation(of, kind):
    return getattr(of, kind)(5, activation="tangent")


def hints_of_keras(of, kind):
    hints = {} if kind == "SimpleRNN" else {"implementation": 2, "use_cudnn": False}
    return getattr(of, kind)(5, **hints)(x)


def no_cudnn(of, kind):
    """Keras has no cuDNN on a CPU either."""
    hints = {"no_such": True} if kind == "SimpleRNN" else {"use_cudnn": True}
    return getattr(of, kind)(5, activation="relu", **hints)(x)


def quantized(of, kind):
    layer = getattr(of, kind)(5)
    layer(x)
    layer.quantize("int8")


def with_lora(of, kind):
    layer = getattr(of, kind)(5)
    layer(x)
    layer.enable_lora(2)


def symbolic_dropout(of, kind):
    """In a graph, at inference: nothing is dropped."""
    model = keras.Sequential([keras.Input((6, 3)), getattr(of, kind)(5, dropout=0.5, recurrent_dropout=0.5)])
    return [model.predict(x, verbose=0), model(x, training=False)]


# -- probes: of one kind of cell each


def cell_step(of, kind):
    return getattr(of, f"{kind}Cell")(5)(x[:, 0], STATES[kind])


def cell_step_from_a_tuple(of, kind):
    output, states = getattr(of, f"{kind}Cell")(5)(x[:, 0], tuple(STATES[kind]))
    return [output, list(states)]


def cell_step_from_a_bare_state(of, kind):
    """The state comes back as it went in. A cell of two states cannot be asked so."""
    if kind == "LSTM":
        raise IndexError
    output, state = getattr(of, f"{kind}Cell")(5)(x[:, 0], ops.convert_to_tensor(h))
    return [output, state, keras.tree.is_nested(state)]


def cell_step_from_a_bare_state_of_one(of, kind):
    if kind == "LSTM":
        raise IndexError
    return getattr(of, f"{kind}Cell")(5)(x[:1, 0], ops.convert_to_tensor(h[:1]))


def cell_initial_state(of, kind):
    return getattr(of, f"{kind}Cell")(5).get_initial_state(batch_size=3)


def cell_in_rnn(of, kind):
    return of.RNN(getattr(of, f"{kind}Cell")(5), return_sequences=True, return_state=True)(x)


def cells_in_a_list(of, kind):
    cell = getattr(of, f"{kind}Cell")
    return keras.tree.flatten(of.RNN([cell(5), cell(4)], return_state=True)(x))


def cells_in_a_stack(of, kind):
    cell = getattr(of, f"{kind}Cell")
    stack = of.StackedRNNCells([cell(5), cell(4)])
    layer = of.RNN(stack, return_sequences=True)
    return [layer(x), layer(x, mask=ops.convert_to_tensor(MASK)), str(stack.output_size)]


def cells_in_a_stack_with_dropout(of, kind):
    cell = getattr(of, f"{kind}Cell")
    layer = of.RNN(of.StackedRNNCells([cell(5, dropout=0.5), cell(4, dropout=0.5)]), return_sequences=True)
    return layer(x, training=True)


def cell_config(of, kind):
    cell = getattr(of, f"{kind}Cell")(5, kernel_initializer="ones", recurrent_initializer="zeros")
    again = type(cell).from_config(cell.get_config())
    return of.RNN(again)(x)


def cell_without_dropout_in_training(of, kind):
    return getattr(of, f"{kind}Cell")(5)(x[:, 0], STATES[kind], training=True)


def cell_training_by_hand(of, kind):
    per_gate = of.per_gate if kind != "SimpleRNN" else {}
    cell = getattr(of, f"{kind}Cell")(5, dropout=0.5, recurrent_dropout=0.5, seed=1, **per_gate)
    output, states = cell(x[:, 0], STATES[kind], training=True)
    output, states = cell(x[:, 1], states, training=True)
    cell.reset_dropout_mask()
    cell.reset_recurrent_dropout_mask()
    return [output, states, cell(x[:, 2], states, training=True)[0]]


class Flattening(keras.layers.Layer):
    """A cell of a user: its step is a picture, which it flattens."""

    state_size = 4

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] * shape[-2], 4), initializer="ones")

    def call(self, inputs, states):
        flat = ops.reshape(inputs, (ops.shape(inputs)[0], -1))
        output = ops.tanh(ops.matmul(flat, self.kernel) + states[0])
        return output, [output]


def steps_of_rank_two(of, kind):
    layer = of.RNN(Flattening(), return_sequences=True)
    pictures = np.random.default_rng(5).normal(size=(4, 6, 3, 2)).astype("float32")
    return [layer(pictures), layer(pictures)]


PROBES = {
    "default": option(),
    "return_sequences": option(return_sequences=True),
    "return_state": option(return_state=True),
    "both": option(return_sequences=True, return_state=True),
    "go_backwards": option(return_sequences=True, go_backwards=True),
    "go_backwards, last": option(go_backwards=True, return_state=True),
    "unroll": option(unroll=True, return_sequences=True),
    "unroll, backwards": option(unroll=True, go_backwards=True, return_state=True),
    "relu": option(activation="relu"),
    "no activation": option(activation=None),
    "an activation of a user": option(activation=lambda a: ops.sin(a)),
    "without bias": option(use_bias=False),
    "a name": lambda of, kind: getattr(of, kind)(5, name="mine").name,
    "mask, right": masked(RIGHT),
    "mask, holes": masked(MASK),
    "mask, sequences": masked(RIGHT, return_sequences=True, return_state=True),
    "mask, zeros": masked(MASK, return_sequences=True, zero_output_for_mask=True),
    "mask, backwards": masked(MASK, return_sequences=True, go_backwards=True),
    "mask, unroll": masked(MASK, return_sequences=True, unroll=True),
    "mask of ones and zeros": masked(RIGHT.astype("int32")),
    "initializers": weights_from(kernel_initializer="he_normal", recurrent_initializer="glorot_normal"),
    "random bias": weights_from(bias_initializer="random_normal"),
    "bias of ones": weights_from(bias_initializer="ones"),
    "an initializer of a user": weights_from(
        kernel_initializer=Scaled(3.0), recurrent_initializer=Scaled(2.0)
    ),
    "an initializer with a needed argument": weights_from(kernel_initializer=Needy(3.0)),
    "a function as initializer": weights_from(
        kernel_initializer=lambda shape, dtype=None: ops.ones(shape, dtype)
    ),
    "an array as initializer": weights_from(recurrent_initializer=np.ones((5, 2))),
    "seeded initializers": weights_from(kernel_initializer=keras.initializers.HeNormal(seed=1)),
    "a config as initializer": weights_from(
        kernel_initializer={"class_name": "Constant", "config": {"value": 0.5}}
    ),
    "dropout": dropout(dropout=0.5),
    "dropout, seeded": dropout(dropout=0.5, seed=4),
    "recurrent dropout": dropout(recurrent_dropout=0.5),
    "dropout, both": dropout(dropout=0.25, recurrent_dropout=0.5),
    "dropout, both, seeded": dropout(dropout=0.25, recurrent_dropout=0.5, seed=4),
    "dropout, unrolled": dropout(dropout=0.25, recurrent_dropout=0.5, unroll=True),
    "dropout, backwards": dropout(dropout=0.25, recurrent_dropout=0.5, go_backwards=True),
    "dropout of a string": option(dropout="0.5"),
    "trained": trained(),
    "trained, unrolled": trained(unroll=True),
    "trained backwards": trained(go_backwards=True),
    "trained under constraints": trained(
        kernel_constraint="max_norm", recurrent_constraint="unit_norm", bias_constraint="non_neg"
    ),
    "trained with penalties": trained(
        kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer="l2"
    ),
    "trained with a penalty on the output": trained(activity_regularizer=keras.regularizers.L2(0.1)),
    "losses": losses_of(kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer="l2"),
    "losses of the output": losses_of(activity_regularizer="l2"),
    "float16": half_precision("float16"),
    "mixed_float16": half_precision("mixed_float16"),
    "mixed_bfloat16": half_precision("mixed_bfloat16"),
}
PROBES |= {
    probe.__name__: probe
    for probe in (
        with_initial_state, with_initial_state_backwards_and_masked, with_initial_state_as_a_tuple,
        with_a_bare_initial_state, with_too_many_initial_states, with_symbolic_initial_state,
        encoder_and_decoder, stateful, stateful_with_another_batch, stateful_in_a_model,
        stateful_without_a_batch_size, unrolled_without_a_length, global_policy, double_from_single,
        weights_after_a_global_seed, weights_of_a_clone, one_initializer_for_two,
        dropout_at_training, trained_in_a_graph, frozen, made_frozen, attributes, units_cannot_be_set,
        config, names_in_the_config, from_the_config, from_the_config_of_keras,
        from_a_config_with_implementation, given_weights, weights_of_another_shape, too_few_weights,
        names_and_shapes_of_weights, paths_of_weights, over_time, bidirectional_with_states,
        bidirectional_and_masked,
        bidirectional_of_two, bidirectional_in_one_direction, embedded_and_masked, a_mask_goes_on,
        a_mask_ends, twice_in_a_model, symbolic_shapes, computed_shapes, other_batches, one_step,
        lists_of_numbers, integers, numpy_scalars, of_rank_two, of_rank_four, other_features,
        no_units, zero_units, no_such_argument, no_such_activation, hints_of_keras, no_cudnn,
        quantized, with_lora, symbolic_dropout, cell_step, cell_step_from_a_tuple,
        cell_step_from_a_bare_state, cell_step_from_a_bare_state_of_one, cell_initial_state,
        cell_in_rnn, cells_in_a_list, cells_in_a_stack, cells_in_a_stack_with_dropout, cell_config,
        cell_without_dropout_in_training, cell_training_by_hand, steps_of_rank_two,
    )
}  # fmt: skip
PROBES |= {
    f"bidirectional, {merge}": bidirectional(merge, return_sequences=True)
    for merge in ("concat", "sum", "mul", "ave", None)
}
PROBES["bidirectional, last"] = bidirectional("concat")
PROBES["bidirectional, no such merging"] = bidirectional("maximum")
OF_A_KIND = {
    "LSTM": {
        "hard gates": option(recurrent_activation="hard_sigmoid"),
        "no forget bias": weights_from(unit_forget_bias=False),
        "no forget bias, random": weights_from(unit_forget_bias=False, bias_initializer="random_normal"),
    },
    "GRU": {
        "hard gates": option(recurrent_activation="hard_sigmoid"),
        "reset before": option(reset_after=False, return_sequences=True),
        "reset before, weights": weights_from(reset_after=False, bias_initializer="random_normal"),
        "reset before, dropout": dropout(reset_after=False, dropout=0.25, recurrent_dropout=0.5),
        "reset before, trained": trained(reset_after=False),
    },
    "SimpleRNN": {},
}
BETTER = {
    ("trained with a penalty on the output", "SimpleRNN"): "Keras' SimpleRNN takes no notice of it",
    ("losses of the output", "SimpleRNN"): "Keras' SimpleRNN takes no notice of it",
    ("config", "SimpleRNN"): "Keras' SimpleRNN takes no notice of the penalty on the output",
    ("with_too_many_initial_states", "GRU"): "Keras' GRU takes the first and no notice of the others",
}
ON_DISK = {probe.__name__: probe for probe in (saved_and_loaded, weights_saved_and_loaded)}


def outcome(probe, *arguments):
    """What a probe returns, or the error it raises."""
    keras.utils.set_random_seed(3)
    try:
        return [leaf for leaf in keras.tree.flatten(probe(*arguments)) if leaf is not None], None
    except Exception as error:
        return None, error


def assert_same(probe, kind, *arguments):
    theirs, their_error = outcome(probe, OfKeras(), kind, *arguments)
    ours, our_error = outcome(probe, OfOurs(), kind, *arguments)
    if their_error is not None:
        # Keras often fails somewhere inside, with whatever error arises there; we say what is wrong.
        expected = (type(their_error), ValueError, TypeError)
        assert isinstance(our_error, expected), f"Keras raises {their_error!r}, we {our_error!r}"
        return
    if our_error is not None:
        raise our_error
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        if isinstance(their, (str, bool)) or their is None:
            assert our == their
        else:
            np.testing.assert_allclose(
                ops.convert_to_numpy(our), ops.convert_to_numpy(their), rtol=1e-5, atol=2e-6
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROBES)
def test_as_keras(name, kind, request):
    if (name, kind) in BETTER:
        request.applymarker(pytest.mark.xfail(strict=True, reason=BETTER[name, kind]))
    assert_same(PROBES[name], kind)


@pytest.mark.parametrize("kind, name", [(kind, name) for kind in KINDS for name in OF_A_KIND[kind]])
def test_as_keras_where_only_one_kind_has_it(kind, name):
    assert_same(OF_A_KIND[kind][name], kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ON_DISK)
def test_as_keras_on_disk(name, kind, tmp_path):
    assert_same(ON_DISK[name], kind, tmp_path)
