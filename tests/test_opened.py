"""An opened model gives step by step what the unsplit model gives, which reads the whole prefix anew."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_gates
from keras_gates.opened import NotStepwiseError, Opened

SIZE = 5
# Padding at the end, at the start and in between; what is heard is of another length than what is said.
HEARD = np.array([[1, 2, 3, 4, 5, 6], [7, 8, 1, 0, 0, 0], [0, 2, 0, 4, 0, 0]], "int32")
SAID = np.array([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [0, 3, 0, 8, 0]], "int32")


def randomize(model):
    """No weight stays at its start: zeros would hide what is wrong."""
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def normal(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def tokens(name):
    return keras.Input((None,), dtype="int32", name=name)


def embedded(tensor):
    return layers.Embedding(9, SIZE, mask_zero=True)(tensor)


def attentive(cell, **kwargs):
    """A layer whose cell looks at a memory before each step."""
    looking = keras_gates.BahdanauCell(cell)
    return keras_gates.AttentionRNN(looking, return_sequences=True, **kwargs)


# -- models: what is given to them, and the input over which they run step by step


def attention():
    heard, said = tokens("heard"), tokens("said")
    memory = keras_gates.GRU(SIZE, return_sequences=True)(embedded(heard))
    x = attentive(keras_gates.LSTMCell(SIZE), name="decoder")(embedded(said), memory=memory)
    return keras.Model([heard, said], layers.Dense(9)(x)), {"heard": HEARD, "said": SAID}


def bidirectional_encoder_and_residual_stack():
    heard, said = tokens("heard"), tokens("said")
    reader = layers.Bidirectional(keras_gates.PeepholeLSTM(SIZE, return_sequences=True))
    memory = layers.Bidirectional(layers.GRU(4, return_sequences=True))(reader(embedded(heard)))
    below = keras_gates.LSTM(SIZE, return_sequences=True)(embedded(said))
    looking = attentive(keras_gates.ResidualCell(keras_gates.GRUCell(SIZE), project=True))
    x = layers.Add()([below, looking(layers.LayerNormalization()(below), memory=memory)])
    return keras.Model([heard, said], layers.Dense(9)(x)), {"heard": HEARD, "said": SAID}


def picture():
    pixels, said = keras.Input((8, 8, 3), name="pixels"), tokens("said")
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="tanh")(pixels))
    start = [layers.Dense(SIZE, activation="tanh")(features) for _ in "hc"]
    x = keras_gates.LSTM(SIZE, return_sequences=True)(embedded(said), initial_state=start)
    return keras.Model([pixels, said], layers.Dense(9)(x)), {"pixels": normal(3, 8, 8, 3), "said": SAID}


def shared_embedding():
    heard, said = tokens("heard"), tokens("said")
    table = layers.Embedding(9, SIZE, mask_zero=True, name="table")
    memory = keras_gates.GRU(SIZE, return_sequences=True)(table(heard))
    x = attentive(keras_gates.GRUCell(SIZE))(table(said), memory=memory)
    return keras.Model([heard, said], layers.Dense(9)(x)), {"heard": HEARD, "said": SAID}


def shared_layer():
    """One recurrent layer that reads on both sides."""
    heard, said = tokens("heard"), tokens("said")
    layer = keras_gates.LSTM(SIZE, return_sequences=True, return_state=True, name="both")
    _, *states = layer(embedded(heard))
    x, *_ = layer(embedded(said), initial_state=states)
    return keras.Model([heard, said], layers.Dense(9)(x)), {"heard": HEARD, "said": SAID}


def nested():
    """Encoder and decoder are models; that of the decoder reads the memory once more, in both directions."""
    heard, said = tokens("heard"), tokens("said")
    encoder = keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(9, SIZE, mask_zero=True),
            keras_gates.GRU(4, return_sequences=True, name="reader"),
        ],
        name="encoder",
    )
    inner, memory = tokens("inner"), keras.Input((None, 4), name="memory")
    both_ways = layers.Bidirectional(keras_gates.GRU(SIZE, return_sequences=True), name="both_ways")
    read = both_ways(memory)
    x = attentive(keras_gates.LSTMCell(SIZE), name="looking")(embedded(inner), memory=read)
    decoder = keras.Model([inner, memory], layers.Dense(9)(x), name="decoder")
    return keras.Model([heard, said], decoder([said, encoder(heard)])), {"heard": HEARD, "said": SAID}


def nested_whole():
    """The whole encoder–decoder is one layer of another model."""
    inner, given = attention()
    heard, said = tokens("heard"), tokens("said")
    return keras.Model([heard, said], layers.Activation("tanh")(inner([heard, said]))), given


def states_of_keras():
    """Keras' own LSTM, the last states of the one being the first of the other."""
    heard, said = tokens("heard"), tokens("said")
    _, *states = layers.LSTM(SIZE, return_state=True)(embedded(heard))
    x = layers.LSTM(SIZE, return_sequences=True)(layers.Embedding(9, SIZE)(said), initial_state=states)
    return keras.Model([heard, said], layers.Dense(9)(x)), {"heard": HEARD, "said": SAID}


def attention_of_keras():
    heard, said = tokens("heard"), tokens("said")
    memory = layers.Bidirectional(layers.LSTM(SIZE, return_sequences=True))(embedded(heard))
    x = layers.LSTM(2 * SIZE, return_sequences=True)(embedded(said))
    seen = layers.AdditiveAttention()([x, memory])
    x = layers.Dense(9)(layers.Concatenate()([x, seen]))
    return keras.Model([heard, said], x), {"heard": HEARD, "said": SAID}


def context_at_every_step():
    """The last state of the encoder stands beside what is said at every step, and a dict of inputs."""
    heard, said = tokens("heard"), tokens("said")
    last = keras_gates.GRU(SIZE)(embedded(heard))
    x = layers.Add()([embedded(said), layers.Reshape((1, SIZE))(last)])
    x = keras_gates.LSTM(SIZE, return_sequences=True)(x)
    outputs = {"words": layers.Dense(9)(x), "tags": layers.Dense(3)(x), "topic": layers.Dense(2)(last)}
    return keras.Model({"heard": heard, "said": said}, outputs), {"heard": HEARD, "said": SAID}


def mask_inside_a_layer():
    """An encoder that is a layer of its own: the mask that it sets is seen when it runs, and not before."""

    class Encoder(layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(9, SIZE, mask_zero=True)
            self.reader = keras_gates.GRU(SIZE, return_sequences=True)

        def build(self, input_shape):
            self.table.build(input_shape)
            self.reader.build((*input_shape, SIZE))

        def call(self, inputs):
            return self.reader(self.table(inputs))

        def compute_output_shape(self, input_shape):
            return (*input_shape, SIZE)

    heard, said = tokens("heard"), tokens("said")
    x = attentive(keras_gates.GRUCell(SIZE))(embedded(said), memory=Encoder()(heard))
    return keras.Model([heard, said], layers.Dense(9)(x)), {"heard": HEARD, "said": SAID}


def language():
    """No context at all: two cells in one layer."""
    cells = [keras_gates.LSTMCell(SIZE), keras_gates.MinimalGatedCell(4)]
    said = tokens("said")
    x = keras_gates.RNN(cells, return_sequences=True, name="stack")(embedded(said))
    return keras.Model(said, layers.Dense(9)(x)), {"said": SAID}


MODELS = [
    attention,
    bidirectional_encoder_and_residual_stack,
    picture,
    shared_embedding,
    shared_layer,
    nested,
    nested_whole,
    states_of_keras,
    attention_of_keras,
    context_at_every_step,
    mask_inside_a_layer,
    language,
]


def named(outputs):
    return outputs if isinstance(outputs, dict) else {"outputs": outputs}


def arrays(tensors):
    return {name: ops.convert_to_numpy(x) for name, x in tensors.items()}


def prefix_anew(model, given, t):
    """The outputs at step t of the unsplit model, which reads all that was said up to there."""
    prefix = {**given, "said": given["said"][:, : t + 1]}
    inputs = keras.tree.pack_sequence_as(model.input, [prefix[x.name] for x in model.inputs])
    outputs = arrays(named(model(inputs, training=False)))
    return {name: x[:, t] if x.ndim == 3 else x for name, x in outputs.items()}


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_steps_are_the_whole_prefix(make):
    model, given = make()
    opened = Opened(randomize(model), over="said")
    context = opened.context({name: x for name, x in given.items() if name != "said"})
    states = opened.initial_states(context, batch_size=len(SAID))
    for t in range(SAID.shape[1]):
        outputs, states = opened.step(_over(opened, given["said"][:, t]), states, context)
        expected = prefix_anew(model, given, t)
        assert set(outputs) == set(expected) - {"topic"}
        for name, x in arrays(outputs).items():
            np.testing.assert_allclose(x, expected[name], rtol=0, atol=1e-5, err_msg=f"{name} at {t}")


def _over(opened, values):
    """The stepped input by its name."""
    (name,) = opened.steps.inputs
    return {name: values}


@pytest.mark.parametrize("make", [attention, picture, shared_layer, language], ids=lambda make: make.__name__)
def test_a_state_that_is_missing_is_as_before_the_first_step(make):
    model, given = make()
    opened = Opened(randomize(model), over="said")
    context = opened.context({name: x for name, x in given.items() if name != "said"})
    first = _over(opened, SAID[:, 0])
    with_states, _ = opened.step(first, opened.initial_states(context, len(SAID)), context)
    without, _ = opened.step(first, {}, context)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(x["outputs"]) for x in (with_states, without)))


def test_states_and_context_are_reordered_along_the_batch():
    """As a beam search does: rows that go on from another row's past."""
    model, _ = attention()
    opened = Opened(randomize(model), over="said")
    context = opened.context({"heard": HEARD})
    states = opened.initial_states(context)
    for t in range(2):
        _, states = opened.step({"said": SAID[:, t]}, states, context)
    order = np.array([2, 0, 0])
    states, context = ({name: ops.take(x, order, axis=0) for name, x in d.items()} for d in (states, context))
    outputs, _ = opened.step({"said": SAID[:, 2]}, states, context)
    said = np.concatenate([SAID[order, :2], SAID[:, 2:3]], axis=1)
    expected = ops.convert_to_numpy(model([HEARD[order], said]))[:, 2]
    np.testing.assert_allclose(ops.convert_to_numpy(outputs["outputs"]), expected, rtol=0, atol=1e-5)


def test_the_context_is_flat_and_holds_the_masks():
    model, _ = attention()
    opened = Opened(model, over="said")
    context = arrays(opened.context({"heard": HEARD}))
    assert set(context) == set(opened.steps.context_specs)
    assert all(len(x) == len(HEARD) for x in context.values())
    masks = [x for x in context.values() if x.dtype == bool]
    assert masks and all(np.array_equal(mask, HEARD != 0) for mask in masks)


def test_alignments_of_steps_are_those_of_the_trace():
    model, _ = attention()
    opened = Opened(randomize(model), over="said")
    context = opened.context({"heard": HEARD})
    states, looked = {}, []
    for t in range(SAID.shape[1]):
        _, states, gates = opened.trace_step({"said": SAID[:, t]}, states, context)
        looked.append(ops.convert_to_numpy(gates["decoder_alignment"]))
    expected = keras_gates.trace(model, [HEARD, SAID])["decoder"]["alignment"]
    counts = SAID != 0
    np.testing.assert_allclose(np.stack(looked, axis=1)[counts], expected[counts], rtol=0, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="traces a TensorFlow graph")
@pytest.mark.parametrize("make", [attention, picture], ids=lambda make: make.__name__)
def test_a_whole_sequence_is_one_graph(make):
    """Context, states and a loop over steps in one `tf.function`, open in batch and time."""
    import tensorflow as tf

    model, given = make()
    opened = Opened(randomize(model), over="said")

    @tf.function(reduce_retracing=True)
    def outputs(other, said):
        context = opened.context(other)
        states = opened.initial_states(context)
        found = tf.TensorArray("float32", tf.shape(said)[1])

        def step(t, states, found):
            outputs, states = opened.step({"said": said[:, t]}, states, context)
            return t + 1, states, found.write(t, outputs["outputs"])

        _, _, found = tf.while_loop(lambda t, *_: t < tf.shape(said)[1], step, (0, states, found))
        return tf.transpose(found.stack(), (1, 0, 2))

    other = {name: tf.constant(x) for name, x in given.items() if name != "said"}
    expected = model([given[x.name] for x in model.inputs])
    np.testing.assert_allclose(outputs(other, tf.constant(SAID)), expected, rtol=0, atol=1e-5)
    some = {name: x[:2] for name, x in other.items()}
    np.testing.assert_allclose(outputs(some, tf.constant(SAID[:2, :3])), expected[:2, :3], rtol=0, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="text needs TensorFlow")
def test_a_text_that_is_said_is_given_as_tokens():
    """Raw strings on both sides through one vocabulary: what is heard stays text."""
    heard, said = (keras.Input((), dtype="string", name=name) for name in ("heard", "said"))
    vectorize = layers.TextVectorization(max_tokens=9)
    vectorize.adapt(["ein guter film", "a good film"])
    memory = keras_gates.GRU(SIZE, return_sequences=True)(embedded(vectorize(heard)))
    x = attentive(keras_gates.GRUCell(SIZE))(embedded(vectorize(said)), memory=memory)
    model = randomize(keras.Model([heard, said], layers.Dense(9)(x)))
    opened = Opened(model, over="said")
    texts = ops.convert_to_tensor(["ein guter film", "guter"]), ops.convert_to_tensor(["a good film", "good"])
    context, states, given = opened.context({"heard": texts[0]}), {}, vectorize(texts[1])
    whole = ops.convert_to_numpy(model(list(texts)))
    for t in range(3):
        outputs, states = opened.step({"tokens": given[:, t]}, states, context)
        np.testing.assert_allclose(ops.convert_to_numpy(outputs["outputs"]), whole[:, t], atol=1e-5)


def test_weights_are_shared():
    model, given = attention()
    opened = Opened(model, over="said")
    randomize(model)
    context = opened.context({"heard": HEARD})
    outputs, _ = opened.step({"said": SAID[:, 0]}, {}, context)
    expected = prefix_anew(model, given, 0)["outputs"]
    np.testing.assert_allclose(ops.convert_to_numpy(outputs["outputs"]), expected, rtol=0, atol=1e-5)


def test_an_opened_model_is_frozen_and_knows_its_layers():
    model, _ = nested()
    opened = Opened(model)
    sides = [f"decoder/both_ways/{side}" for side in ("forward", "backward")]
    assert sorted(opened.recurrent) == sorted(["encoder/reader", *sides, "decoder/looking"])
    assert list(Opened(model, over="said").steps.recurrent) == ["decoder/looking"]
    with pytest.raises(AttributeError):
        opened.over = "said"


def test_pooling_and_a_sequence_of_numbers_run_along():
    inputs = keras.Input((None, 3), name="x")
    x = keras_gates.GRU(SIZE, return_sequences=True)(inputs)
    outputs = {"each": layers.Dense(2)(x), "mean": layers.GlobalAveragePooling1D()(x)}
    model = randomize(keras.Model(inputs, outputs))
    opened, given, states = Opened(model), normal(2, 6, 3), {}
    for t in range(6):
        found, states = opened.step({"inputs": given[:, t]}, states)
        whole = arrays(model(given[:, : t + 1]))
        np.testing.assert_allclose(ops.convert_to_numpy(found["each"]), whole["each"][:, t], atol=1e-5)
        np.testing.assert_allclose(ops.convert_to_numpy(found["mean"]), whole["mean"], atol=1e-5)


# -- what cannot be


def test_an_input_that_is_not_there_is_told_with_those_that_are():
    model, _ = attention()
    with pytest.raises(
        ValueError, match="`over` must be an input of the model, 'heard', 'said'; got 'spoken'"
    ):
        Opened(model, over="spoken")


def test_a_model_where_nothing_depends_on_the_input_says_so():
    heard, unused = tokens("heard"), tokens("unused")
    model = keras.Model([heard, unused], keras_gates.GRU(SIZE)(embedded(heard)), name="deaf")
    sentence = "'deaf' cannot run step by step over 'unused': none of its outputs depends on it"
    with pytest.raises(NotStepwiseError, match=sentence):
        Opened(model, over="unused")


def test_a_layer_that_reads_the_future_is_named():
    model, _ = bidirectional_encoder_and_residual_stack()
    with pytest.raises(NotStepwiseError, match="over its input 'heard': its layer 'bidirectional"):
        Opened(model, over="heard")
    heard, said = tokens("heard"), tokens("said")
    x = layers.Add(name="side_by_side")([embedded(heard), embedded(said)])
    both = keras.Model([heard, said], keras_gates.GRU(SIZE)(x))
    with pytest.raises(NotStepwiseError, match="over its input 'said': its layer 'side_by_side'"):
        Opened(both, over="said")


def test_an_input_without_time_and_no_sequence_at_all_are_told():
    features = keras.Input((3,), name="features")
    x = keras_gates.GRU(SIZE)(layers.RepeatVector(2)(features))
    model = keras.Model(features, x, name="model")
    with pytest.raises(NotStepwiseError, match="'model' cannot run step by step: no input is a sequence"):
        Opened(model).step({}, {})
    label = keras.Input((), dtype="int32", name="label")
    x = keras_gates.GRU(SIZE)(layers.RepeatVector(2)(layers.Embedding(9, SIZE)(label)))
    with pytest.raises(NotStepwiseError, match="its input 'inputs' has no time axis"):
        Opened(keras.Model(label, x), over="label")


def test_wrong_names_are_told():
    model, _ = attention()
    opened = Opened(model, over="said")
    with pytest.raises(ValueError, match="The context takes inputs with the names 'heard'; got 'said'"):
        opened.context({"said": SAID})
    with pytest.raises(ValueError, match="A step takes inputs with the names 'said'; got 'heard'"):
        opened.step({"heard": SAID[:, 0]}, {}, opened.context({"heard": HEARD}))
    with pytest.raises(ValueError, match="Give `batch_size`"):
        Opened(language()[0], over="said").initial_states()


# -- features of a whole sequence beside it


def beside_features(start):
    """A layer that starts from features of the whole sequence, or reads them with every step."""
    x, features = keras.Input((None, 3), name="x"), keras.Input((SIZE,), name="features")
    layer = keras_gates.GRU(SIZE, return_sequences=True)
    if start:
        outputs = layer(x, initial_state=[layers.Dense(SIZE, activation="tanh")(features)])
    else:
        outputs = layers.Add()([layer(x), layers.Reshape((1, SIZE))(features)])
    return randomize(keras.Model([x, features], outputs, name="model"))


@pytest.mark.parametrize("start", [False, True])
def test_features_of_the_whole_sequence_are_context(start):
    model, x, features = beside_features(start), normal(2, 6, 3), normal(2, SIZE)
    opened, states = Opened(model), {}
    context = opened.context({"features": features})
    whole = ops.convert_to_numpy(model([x, features]))
    for t in range(6):
        outputs, states = opened.step({"x": x[:, t]}, states, context)
        np.testing.assert_allclose(ops.convert_to_numpy(outputs["outputs"]), whole[:, t], atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel needs TensorFlow")
def test_an_endpoint_step_takes_features_but_no_states_from_them(tmp_path):
    model, x, features = beside_features(start=False), normal(2, 6, 3), normal(2, SIZE)
    keras_gates.export(model, tmp_path / "model", "step")
    stream = keras_gates.load(tmp_path / "model").stream(batch_size=2)
    found = stream.push({"x": x, "features": features})
    np.testing.assert_allclose(found, model([x, features]), rtol=0, atol=1e-5)
    with pytest.raises(
        NotStepwiseError, match=r"'model' starts from states that depend on its .* 'features'"
    ):
        keras_gates.export(beside_features(start=True), tmp_path / "other", "step")
