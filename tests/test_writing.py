"""What a model writes, against a plain search that reads the whole prefix anew for every token."""

import functools

import keras
import numpy as np
import pytest
import reference_search as reference
from keras import ops

import keras_gates
from keras_gates import writing
from keras_gates.opened import NotStepwiseError
from keras_gates.writing import writer
from keras_gates.writing.hand import Hand, opened_to_write

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("backend_check.py writes on the others", allow_module_level=True)

CLASSES, STOP, LENGTH = 6, 2, 6
BEAMS = [
    keras_gates.Beam(width, penalty, n_best=min(width, 4)) for width in (1, 3, 10) for penalty in (0.0, 0.6)
]


@pytest.fixture
def uncompiled():
    """Many models, each written with once: to compile them would take longer than to run them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def randomized(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" not in weight.path and "token" not in weight.path:
            weight.assign(rng.normal(0, 1, weight.shape))
    return model


def hearing(name="said"):
    """An input that hears tokens, and what they are embedded as."""
    said = keras.Input((None,), dtype="int32", name=name)
    return said, keras.layers.Embedding(CLASSES, 3)(said)


def ending(x, **options):
    return keras.layers.Dense(CLASSES, **options)(x)


# -- models: each with the arrays of its context, a row for each prompt; shared, but by tests that change one

PROMPTS = [[1], [1, 3, 4, 5], [1, 5]]
HEARD = np.array([[1, 4, 3, 5, 2], [3, 2, 0, 0, 0], [5, 4, 1, 0, 0]], "int32")


def language_model(layer=None, **options):
    said, x = hearing()
    layer = layer or keras_gates.LSTM(4, return_sequences=True)
    return randomized(keras.Model(said, ending(layer(x), **options))), None


@functools.cache
def small_language_model():
    return language_model()[0]


def encoded(**options):
    """An encoder of masked words, in both directions."""
    heard = keras.Input((None,), dtype="int32", name="heard")
    x = keras.layers.Embedding(CLASSES, 3, mask_zero=True)(heard)
    return heard, keras.layers.Bidirectional(keras_gates.GRU(2, return_sequences=True, **options))(x)


def attending(cell):
    heard, memory = encoded()
    said, x = hearing()
    x = keras_gates.AttentionRNN(cell, return_sequences=True, name="decoder")(x, memory=memory)
    return randomized(keras.Model([heard, said], ending(x))), {"heard": HEARD}


@functools.cache
def bahdanau():
    return attending(keras_gates.BahdanauCell(keras_gates.GRUCell(4)))


@functools.cache
def luong():
    return attending(keras_gates.LuongCell(keras_gates.LSTMCell(4)))


@functools.cache
def stack():
    """Residual cells, one of which attends, over another layer; the first state is the encoder's last."""
    heard, memory = encoded()
    last = keras_gates.GRU(3)(memory)
    said, x = hearing()
    x = keras_gates.LSTM(3, return_sequences=True)(x, initial_state=[last, last])
    cell = keras.layers.StackedRNNCells(
        [
            keras_gates.ResidualCell(keras_gates.GRUCell(3)),
            keras_gates.BahdanauCell(keras_gates.LSTMCell(4), attention="general"),
        ]
    )
    x = keras_gates.AttentionRNN(cell, return_sequences=True, name="decoder")(x, memory=memory)
    return randomized(keras.Model([heard, said], ending(x, activation="softmax"))), {"heard": HEARD}


@functools.cache
def tutorial():
    """The model of Keras' own tutorial: letters as one-hot vectors, and the last state handed on."""
    heard = keras.Input((None, CLASSES), name="heard")
    said = keras.Input((None, CLASSES), name="said")
    _, *states = keras.layers.LSTM(4, return_state=True)(heard)
    x, _, _ = keras.layers.LSTM(4, return_sequences=True, return_state=True)(said, initial_state=states)
    model = keras.Model([heard, said], ending(x, activation="softmax"))
    return randomized(model), {"heard": np.eye(CLASSES, dtype="float32")[HEARD]}


@functools.cache
def picture():
    """A vector that says where the states start; the model ends with an operation."""
    vector = keras.Input((5,), name="picture")
    said, x = hearing()
    state = keras.layers.Dense(4, activation="tanh")(vector)
    x = keras_gates.GRU(4, return_sequences=True)(x, initial_state=state)
    vectors = np.random.default_rng(1).normal(size=(3, 5)).astype("float32")
    return randomized(keras.Model([vector, said], ops.softmax(ending(x)))), {"picture": vectors}


MODELS = bahdanau, luong, stack, tutorial, picture


# -- the reference


@functools.lru_cache(maxsize=4)
def compiled(model):
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]

    def whole(*inputs):
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    return tf.function(whole, specs, autograph=False).get_concrete_function()


class Slow:
    """log p of what comes next in one row, from the whole model on the whole prefix."""

    def __init__(self, model, context, row):
        self.one_hot = len(model.inputs[-1].shape) == 3
        self.context = [values[row : row + 1] for values in (context or {}).values()]
        self.known = {}
        self.whole = compiled(model)

    def __call__(self, prefix):
        if tuple(prefix) not in self.known:
            self.known[tuple(prefix)] = self.anew(prefix)
        return self.known[tuple(prefix)]

    def anew(self, prefix):
        said = np.array([prefix], "int32")
        said = np.eye(CLASSES, dtype="float32")[said] if self.one_hot else said
        last = self.whole(*map(tf.constant, [*self.context, said])).numpy()[0, -1].astype("float64")
        if (last >= 0).all() and np.isclose(last.sum(), 1, atol=1e-5):
            return np.log(last)
        return last - last.max() - np.log(np.exp(last - last.max()).sum())


def rows_of(written):
    """Each row of what was written: tokens, score, whether it stopped; for n best, a list of these."""
    if written.lengths.ndim == 2:
        return [
            [(tokens[:n].tolist(), score, stopped) for tokens, n, score, stopped in zip(*row, strict=True)]
            for row in zip(written.tokens, written.lengths, written.scores, written.stopped, strict=True)
        ]
    both = zip(written.tokens, written.lengths, written.scores, written.stopped, strict=True)
    return [(tokens[:n].tolist(), score, stopped) for tokens, n, score, stopped in both]


def assert_as_slow(row, slow):
    assert (row[0], row[2]) == (slow[0], slow[2])
    np.testing.assert_allclose(row[1], slow[1], rtol=0, atol=1e-5)


def check_against_reference(model, context, hows):
    """Each strategy goes on from the same state, after the prompts."""
    slow = [Slow(model, context, row) for row in range(len(PROMPTS))]
    slow = slow if context else slow[:1] * len(PROMPTS)
    opened = opened_to_write(model, "said")
    state = Hand(opened, how=hows[0]).begin(context, PROMPTS, None)
    for how in hows:
        written = Hand(opened, how=how, stop=[STOP]).write(state, LENGTH, how)
        for one, prompt, row in zip(slow, PROMPTS, rows_of(written), strict=True):
            if how == keras_gates.Greedy():
                assert_as_slow(row, reference.greedy(one, prompt, [STOP], LENGTH))
                continue
            best = reference.beam(one, prompt, [STOP], LENGTH, how.width, how.length_penalty)
            found = row if isinstance(row, list) else [row]
            assert len(found) == how.n_best
            for mine, theirs in zip(found, best, strict=False):
                assert_as_slow(mine, theirs)


@pytest.mark.parametrize("name", keras_gates.cell_classes())
def test_every_cell_writes_as_the_reference(name, uncompiled):
    cell = keras_gates.cell_classes()[name](4)
    model, _ = language_model(keras_gates.RNN(cell, return_sequences=True))
    check_against_reference(model, None, [keras_gates.Greedy(), *BEAMS])


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_writes_as_the_reference(kind, uncompiled):
    check_against_reference(*kind(), [keras_gates.Greedy(), *BEAMS])


@pytest.mark.parametrize("kind", [language_model, bahdanau])
def test_what_is_compiled_writes_the_same(kind):
    check_against_reference(*kind(), [keras_gates.Greedy(), keras_gates.Beam(3, 0.6, n_best=3)])


@pytest.mark.parametrize(("number", "k"), [(1, 1), (6, 1), (7, 3), (60, 10), (61, 5), (500, 5), (12, 12)])
def test_the_best_are_those_of_a_stable_sort(number, k):
    """With many that are equal, and some that are impossible."""
    scores = np.random.default_rng(number).integers(-9, 0, (4, number)).astype("float32")
    scores[scores < -7] = -np.inf
    want = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    np.testing.assert_array_equal(writer._best(ops.convert_to_tensor(scores), k), want)


# -- alignments


@pytest.mark.parametrize("kind", [bahdanau, luong, stack])
@pytest.mark.parametrize("how", ["greedy", keras_gates.Beam(3, n_best=3)], ids=str)
def test_alignments_are_those_of_the_whole_model_on_what_was_written(kind, how, uncompiled):
    model, context = kind()
    written = keras_gates.write(
        model, over="said", context=context, prompt=PROMPTS, stop=STOP, length=LENGTH, how=how
    )
    ((place, alignments),) = written.alignments.items()
    texts = np.reshape(written.tokens, (-1, written.tokens.shape[-1]))
    alignments = np.reshape(alignments, (len(texts), *alignments.shape[-2:]))
    each = len(texts) // len(PROMPTS)
    prompts = [prompt for prompt in PROMPTS for _ in range(each)]
    said = keras.utils.pad_sequences([[*p, *t] for p, t in zip(prompts, texts, strict=True)], padding="post")
    gates = keras_gates.trace(model, {"heard": np.repeat(HEARD, each, axis=0), "said": said})[place]
    for k, n in enumerate(written.lengths.ravel()):
        chosen = gates["alignment"][k, len(prompts[k]) - 1 :][:n]
        np.testing.assert_allclose(alignments[k, :n], chosen, rtol=0, atol=1e-5)
        assert not alignments[k, n:].any()


# -- sampling


def unconditional(logits, **options):
    """A model that always says the same."""
    said = keras.Input((None,), dtype="int32", name="said")
    x = keras.layers.Embedding(len(logits), 2)(said)
    x = keras_gates.SimpleRNN(2, return_sequences=True)(x)
    model = keras.Model(said, keras.layers.Dense(len(logits), **options)(x))
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    model.layers[-1].bias.assign(logits)
    return model


LOGITS = np.array([0.0, 1.0, -1.0, 2.0, 0.5])


@functools.cache
def saying_logits():
    return unconditional(LOGITS)


def drawn(model, rows=200, length=100, **options):
    options = {"seed": 5, **options}
    return keras_gates.write(
        model, prompt=[[0]] * rows, length=length, how=keras_gates.Sampling(**options)
    ).tokens


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_what_is_drawn_fits_the_softmax(temperature):
    stats = pytest.importorskip("scipy.stats")
    counts = np.bincount(drawn(saying_logits(), temperature=temperature).ravel(), minlength=5)
    expected = np.exp(LOGITS / temperature) / np.exp(LOGITS / temperature).sum()
    assert counts.sum() == 20_000
    assert stats.chisquare(counts, 20_000 * expected).pvalue > 0.001


@pytest.mark.parametrize(
    "restriction, kept",
    [
        ({"top_k": 1}, [3]),
        ({"top_k": 3}, [1, 3, 4]),
        # the probabilities are 0.56, 0.21, 0.13, 0.08, 0.03 for 3, 1, 4, 0, 2
        ({"top_p": 0.5}, [3]),
        ({"top_p": 0.7}, [1, 3]),
        ({"top_p": 0.8}, [1, 3, 4]),
        ({"top_p": 1.0}, [0, 1, 2, 3, 4]),
        # of the two that are left, the first has 0.73
        ({"top_k": 2, "top_p": 0.7}, [3]),
        # and at this temperature 0.57
        ({"top_k": 2, "top_p": 0.7, "temperature": 4.0}, [1, 3]),
    ],
    ids=str,
)
def test_top_k_and_top_p_draw_within_their_set_as_the_softmax_says(restriction, kept):
    stats = pytest.importorskip("scipy.stats")
    counts = np.bincount(drawn(saying_logits(), **restriction).ravel(), minlength=5)
    assert sorted(np.flatnonzero(counts)) == kept
    if len(kept) > 1:
        expected = np.exp(LOGITS[kept] / restriction.get("temperature", 1))
        assert stats.chisquare(counts[kept], 20_000 * expected / expected.sum()).pvalue > 0.001


def test_a_seed_says_what_is_drawn():
    a, b, c = (drawn(saying_logits(), 3, 20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    keras.utils.set_random_seed(3)
    d, e = (drawn(saying_logits(), 3, 20, seed=None) for _ in range(2))
    assert (d != e).any()
    keras.utils.set_random_seed(3)
    np.testing.assert_array_equal(drawn(saying_logits(), 3, 20, seed=None), d)


def test_rows_and_steps_are_drawn_apart():
    tokens = drawn(saying_logits(), 50, 50)
    assert len({tuple(row) for row in tokens}) == 50
    assert len({tuple(column) for column in tokens.T}) == 50


def test_the_score_of_what_is_drawn_is_that_of_the_model_without_temperature():
    model = small_language_model()
    how = keras_gates.Sampling(temperature=3.0, seed=1)
    written = keras_gates.write(model, prompt=PROMPTS, stop=STOP, length=LENGTH, how=how)
    slow = Slow(model, None, 0)
    for prompt, (tokens, score, stopped) in zip(PROMPTS, rows_of(written), strict=True):
        said = [*tokens, *([STOP] if stopped else [])]
        expected = sum(slow([*prompt, *said[:t]])[token] for t, token in enumerate(said))
        np.testing.assert_allclose(score, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_what_is_suppressed_is_never_written_and_scores_stay_those_of_the_model(activation, uncompiled):
    model, _ = language_model(activation=activation)
    head = writing.Categorical(from_logits=activation is None, suppress=(0, 3))
    slow = Slow(model, None, 0)

    def without(prefix):
        return np.where(np.isin(np.arange(CLASSES), (0, 3)), -np.inf, slow(prefix))

    given = {"prompt": PROMPTS, "stop": STOP, "length": LENGTH, "head": head}
    for prompt, row in zip(PROMPTS, rows_of(keras_gates.write(model, **given)), strict=True):
        assert_as_slow(row, reference.greedy(without, prompt, [STOP], LENGTH))
    found = keras_gates.write(model, how=keras_gates.Beam(3, 0.6, n_best=3), **given)
    for prompt, rows in zip(PROMPTS, rows_of(found), strict=True):
        for mine, theirs in zip(rows, reference.beam(without, prompt, [STOP], LENGTH, 3, 0.6), strict=True):
            assert_as_slow(mine, theirs)
    free = {"how": keras_gates.Sampling(9.0, seed=1), "prompt": [[1]] * 50, "length": 20}
    assert {0, 3} <= set(keras_gates.write(model, **free).tokens.ravel())
    assert set(keras_gates.write(model, head=head, **free).tokens.ravel()) == {1, 2, 4, 5}
    for wrong in (6,), range(6):
        with pytest.raises(ValueError, match="`suppress` must be some of the classes from 0 to 5, not all"):
            keras_gates.write(model, prompt=[[1]], head=writing.Categorical(suppress=tuple(wrong)))


# -- values that are no classes


def piano_roll(activation="sigmoid"):
    said = keras.Input((None, 4), name="said")
    x = keras_gates.LSTM(5, return_sequences=True)(said)
    return randomized(keras.Model(said, keras.layers.Dense(4, activation=activation)(x)))


def test_several_yes_or_no_values_are_written_at_once():
    model, first = piano_roll(), np.array([[[1.0, 0, 0, 1]], [[0.0, 1, 0, 0]]])
    written = keras_gates.write(model, prompt=first, length=5)
    said = first
    for _ in range(5):
        said = np.concatenate([said, model.predict(said, verbose=0)[:, -1:] > 0.5], axis=1)
    np.testing.assert_array_equal(written.tokens, said[:, 1:])
    probs = np.abs(written.tokens - 1 + model.predict(said, verbose=0)[:, :-1])
    np.testing.assert_allclose(written.scores, np.log(probs).sum((1, 2)), rtol=1e-5)
    logits = piano_roll(None)
    logits.set_weights(model.get_weights())
    again = keras_gates.write(logits, prompt=first, length=5, head=writing.Bernoulli(from_logits=True))
    np.testing.assert_array_equal(again.tokens, written.tokens)


def test_yes_or_no_values_are_drawn_with_their_probabilities():
    model = piano_roll()
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    model.layers[-1].bias.assign([-2.0, 0.0, 1.0, 3.0])
    first, how = np.zeros((50, 1, 4)), keras_gates.Sampling(seed=1)
    written = keras_gates.write(model, prompt=first, length=100, how=how)
    expected = 1 / (1 + np.exp([2.0, 0.0, -1.0, -3.0]))
    deviation = np.sqrt(expected * (1 - expected) / 5000)
    assert (np.abs(written.tokens.mean((0, 1)) - expected) < 4 * deviation).all()


class Counting(keras.layers.Layer):
    """A head of one's own: what comes next is what was said and one more."""

    def call(self, x):
        return x

    def noise_size(self, outputs):
        return 1

    def draw(self, outputs, noise, temperature):
        return outputs + 1 + 0 * noise

    def mode(self, outputs):
        return outputs + 1

    def log_prob(self, outputs, value):
        return ops.zeros_like(value[:, 0])


def test_a_layer_that_says_how_a_value_is_drawn_is_the_head():
    said = keras.Input((None, 1), name="said")
    model = keras.Model(said, Counting()(said))
    for how in "greedy", "sampling":
        written = keras_gates.write(model, prompt=[[[3.0]], [[5.0]]], length=3, how=how)
        np.testing.assert_array_equal(written.tokens[..., 0], [[4, 5, 6], [6, 7, 8]])
    with pytest.raises(ValueError, match="`stop` is for classes, which Counting does not give"):
        keras_gates.write(model, prompt=[[[3.0]]], stop=1)


# -- going on


@pytest.mark.parametrize("how", ["greedy", keras_gates.Sampling(seed=2)], ids=str)
def test_ten_and_ten_more_are_twenty(how):
    model, context = bahdanau()
    given = {"over": "said", "stop": STOP, "how": how}
    whole = keras_gates.write(model, context=context, prompt=PROMPTS, length=20, **given)
    first = keras_gates.write(model, context=context, prompt=PROMPTS, length=10, **given)
    more = keras_gates.write(model, state=first.state, length=10, **given)
    assert whole.stopped.any() and not first.stopped.all(), "the test would tell nothing"
    for k in range(3):
        tokens = [*first.tokens[k, : first.lengths[k]], *more.tokens[k, : more.lengths[k]]]
        np.testing.assert_array_equal(tokens, whole.tokens[k, : whole.lengths[k]])
    np.testing.assert_allclose(first.scores + more.scores, whole.scores, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(more.stopped, whole.stopped)


def test_a_row_that_has_stopped_goes_on_if_it_is_told_more():
    model = small_language_model()
    stopped = keras_gates.write(model, prompt=PROMPTS, stop=range(CLASSES), length=5)
    assert stopped.stopped.all() and not stopped.lengths.any()
    still = keras_gates.write(model, state=stopped.state, stop=STOP, length=4)
    assert not still.lengths.any() and not still.scores.any()
    told = keras_gates.write(model, state=stopped.state, prompt=[[], [3], [4, 5]], length=4)
    assert told.lengths.tolist() == [0, 4, 4]
    # what it wrote before it stopped, the stop token, was heard too
    first = [int(np.argmax(Slow(model, None, 0)(prompt))) for prompt in PROMPTS]
    anew = keras_gates.write(
        model, prompt=[[*PROMPTS[1], first[1], 3], [*PROMPTS[2], first[2], 4, 5]], length=4
    )
    np.testing.assert_array_equal(told.tokens[1:], anew.tokens)


def test_a_stream_yields_what_write_gives():
    model, context = bahdanau()
    given = {"over": "said", "context": context, "prompt": PROMPTS, "stop": STOP, "length": 20}
    how = keras_gates.Sampling(seed=4)
    whole = keras_gates.write(model, how=how, **given)
    steps = list(writing.stream(model, how=how, **given))
    assert all(step.tokens.shape == (3, 1) for step in steps)
    np.testing.assert_array_equal(np.concatenate([step.tokens for step in steps], 1), whole.tokens)
    np.testing.assert_array_equal(sum(step.lengths for step in steps), whole.lengths)
    np.testing.assert_allclose(sum(step.scores for step in steps), whole.scores, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(steps[-1].stopped, whole.stopped)
    with pytest.raises(ValueError, match="cannot stream"):
        writing.stream(model, how="beam", **given)


# -- compiled once, and no more is computed than is needed


def test_other_prompts_batches_and_lengths_do_not_compile_anew():
    model, _ = bahdanau.__wrapped__()
    calls = []
    model.get_layer("decoder").cell.attention.look = counted(
        model.get_layer("decoder").cell.attention.look, calls
    )

    def write(rows, prompt, length):
        context = {"heard": np.ones((rows, prompt + length), "int32")}
        for how in "greedy", keras_gates.Sampling(seed=length), "beam":
            keras_gates.write(
                model, over="said", context=context, prompt=[[1] * prompt] * rows, length=length, how=how
            )

    write(2, 3, 4)
    traced = len(calls)
    assert traced
    write(1, 5, 7)
    write(3, 2, 2)
    assert len(calls) == traced


def counted(function, calls):
    def count(*args, **kwargs):
        calls.append(function)
        return function(*args, **kwargs)

    return count


def test_what_attention_makes_of_the_memory_is_made_once():
    """What writes reads the kernel of the query, and not that of the memory."""
    model, _ = bahdanau()
    hand = Hand(opened_to_write(model, "said"), how=keras_gates.Greedy())
    read = {id(handle) for handle, _ in hand._write.get_concrete_function().graph.captures}
    attention = model.get_layer("decoder").cell.attention
    assert id(attention.query_kernel.value.handle) in read
    assert id(attention.memory_kernel.value.handle) not in read


# -- text


def vectorizing(split, **options):
    layer = keras.layers.TextVectorization(split=split, standardize=None, **options)
    layer.adapt(["ab ba", "b a"])
    return layer


@pytest.mark.parametrize("split", ["whitespace", "character"])
def test_a_model_of_text_takes_strings_and_gives_strings(split):
    tokens = vectorizing(split)
    inputs = keras.Input((), dtype="string")
    size = tokens.vocabulary_size()
    x = keras.layers.Embedding(size, 3, mask_zero=True)(tokens(inputs))
    x = keras_gates.GRU(4, return_sequences=True)(x)
    model = randomized(keras.Model(inputs, keras.layers.Dense(size)(x)))
    words, gap = tokens.get_vocabulary(), "" if split == "character" else " "
    written = keras_gates.write(model, prompt=["ab", "b a"], length=5)
    for text, row in zip(written.text, written.tokens, strict=True):
        assert text == gap.join(words[token] for token in row)
    as_tokens = [[token for token in row if token] for row in tokens(["ab", "b a"]).numpy()]
    again = keras_gates.write(model, prompt=as_tokens, length=5)
    np.testing.assert_array_equal(again.tokens, written.tokens)
    best = keras_gates.write(model, prompt="ab", length=3, how=keras_gates.Beam(3, n_best=2), stop=words[2])
    assert len(best.text) == 1 and len(best.text[0]) == 2


def test_a_vocabulary_is_given_for_a_model_that_hears_numbers():
    words = ["", "[UNK]", "</s>", "<s>", "a", "b"]
    model = small_language_model()
    written = keras_gates.write(model, start="<s>", stop="</s>", vocabulary=words, length=5)
    plain = keras_gates.write(model, start=3, stop=2, length=5)
    np.testing.assert_array_equal(written.tokens, plain.tokens)
    assert written.text == [" ".join(words[token] for token in plain.tokens[0, : plain.lengths[0]])]
    assert plain.text is None
    layer = keras.layers.TextVectorization(vocabulary=words[2:], standardize=None)
    again = keras_gates.write(model, prompt="<s>", stop="</s>", vocabulary=layer, length=5)
    assert again.text == written.text


def test_one_token_or_several_stop_a_row():
    model = small_language_model()
    for one, other in (STOP, [STOP]), (np.int64(STOP), np.array([STOP])), ({STOP, 3}, range(2, 4)):
        a, b = (keras_gates.write(model, prompt=PROMPTS, stop=stop, length=9) for stop in (one, other))
        np.testing.assert_array_equal(a.tokens, b.tokens)
        assert a.stopped.any()


# -- several outputs


def test_one_of_several_outputs_is_written():
    said, x = hearing()
    x = keras_gates.LSTM(4, return_sequences=True)(x)
    outputs = {"word": ending(x), "kind": keras.layers.Dense(3)(x)}
    model = randomized(keras.Model(said, outputs))
    alone = keras.Model(said, outputs["word"])
    np.testing.assert_array_equal(
        keras_gates.write(model, prompt=PROMPTS, output="word").tokens,
        keras_gates.write(alone, prompt=PROMPTS).tokens,
    )
    with pytest.raises(ValueError, match=r"`output` must be one of .*'word'.*; got None"):
        keras_gates.write(model, prompt=PROMPTS)


# -- what is wrong is said in a sentence


def refused(match, model=None, **given):
    given = {"prompt": [[1]], **given}
    with pytest.raises(ValueError, match=match) as caught:
        keras_gates.write(model or small_language_model(), **given)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_is_said_in_a_sentence():
    refused("`over` must be an input of the model, .*; got 'heard'", over="heard")
    refused("Nothing would be heard: give `start`, or a `prompt`", prompt=None)
    refused("Nothing would be heard", prompt=[[1], []])
    refused("must be from 0 to 5; got .*6", prompt=[[6]])
    refused("must be from 0 to 5; got .*-1", prompt=[[-1]])
    refused("must be from 0 to 5; got .*9", start=9)
    refused("must be whole numbers", prompt=[[1.5]])
    refused("must be whole numbers", prompt=[[[1], [2]]])
    refused("a list of tokens for each row; got", prompt=[1, 2])
    refused("`prompt` must be tokens, not strings", prompt="ab")
    refused("`stop` must be classes from 0 to 5; got 6", stop=6)
    refused("`stop` must be classes from 0 to 5; got 2.5", stop=2.5)
    refused("`stop` must be a number, as the model has no vocabulary; got 'x'", stop="x")
    refused("`stop` must be in the vocabulary; got 'x'", stop="x", vocabulary=list("abcdef"))
    refused("`vocabulary` must be a list of words by number, or a layer", vocabulary=3)
    refused("`vocabulary` must have a word for each of the 6 classes; got 2", vocabulary=["a", "b"])
    refused("`length` must be a positive integer; got 0", length=0)
    refused("`how` must be 'greedy', 'sampling', 'beam', or .*; got 'best'", how="best")
    refused("`context` must have the names none; got 'heard'", context={"heard": HEARD})
    refused("`context` must be a dict with the names none; got ndarray", context=HEARD)
    refused("`state` must be that of a Written of this model; got int", state=3)
    refused("`state` must be that of a Written of this model; got 'h'", state={"h": 1})
    with pytest.raises(TypeError, match="Expected a Keras model"):
        keras_gates.write("model")


def test_a_context_may_be_a_tensor_or_lists():
    model, context = bahdanau()
    given = {"model": model, "over": "said", "prompt": [[1]] * 3, "length": 4}
    texts = [
        keras_gates.write(context=context, **given).tokens.tolist()
        for context in (context, HEARD.tolist(), {"heard": tf.constant(HEARD)}, HEARD.astype("int64"))
    ]
    assert texts == [texts[0]] * 4


def test_a_wrong_context_is_said_in_a_sentence():
    model, context = bahdanau()
    given = {"model": model, "over": "said", "prompt": [[1]] * 3}
    refused("`context` must have the names 'heard'; got none", **given)
    refused("`context` must have the names 'heard'; got 'said'", context={"said": HEARD}, **given)
    refused("context 'heard' must have the shape .*None, None.*; got .*3,", context=HEARD[:, 0], **given)
    refused("context 'heard' must be an array of int32; got", context=["a b"], **given)
    refused("context 'heard' must be an array of int32; got", context=[[1, 2], [3]], **given)
    refused("context 'heard' has 2 rows, the prompt 3", context=HEARD[:2], **given)
    refused("`over` must say which input hears what was written: one of", model, prompt=PROMPTS)
    state = keras_gates.write(context=context, **given).state
    refused("`context` or `state`, not both", state=state, context=context, **given)
    refused("The state has 3 rows, the prompt 2", state=state, **{**given, "prompt": [[1]] * 2})


def test_a_model_that_reads_ahead_cannot_write():
    said, x = hearing()
    x = keras.layers.Bidirectional(keras_gates.GRU(3, return_sequences=True), name="both")(x)
    model = keras.Model(said, ending(x))
    with pytest.raises(NotStepwiseError, match="its layer 'both'"):
        keras_gates.write(model, over="said", prompt=[[1]])
    other = keras.Input((2,), name="other")
    aside = keras.Model([said, other], keras.layers.Dense(2)(other))
    with pytest.raises(NotStepwiseError, match="none of its outputs depends on it"):
        keras_gates.write(aside, over="said", prompt=[[1]])


def test_strategies_refuse_what_they_cannot_use():
    for wrong in {"temperature": 0}, {"top_k": 0}, {"top_p": 1.5}, {"seed": 1.5}, {"seed": -1}:
        (name,) = wrong
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            keras_gates.Sampling(**wrong)
    for wrong in {"width": 0}, {"length_penalty": -1}, {"n_best": 9}:
        (name,) = wrong
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            keras_gates.Beam(**wrong)
    with pytest.raises(ValueError, match="`top_k` and `top_p` are for classes"):
        keras_gates.write(piano_roll(), prompt=np.zeros((1, 1, 4)), how=keras_gates.Sampling(top_k=2))
    with pytest.raises(ValueError, match="A beam search is for classes"):
        keras_gates.write(piano_roll(), prompt=np.zeros((1, 1, 4)), how="beam")


# -- what it is trained on


def test_teacher_forcing_shifts_by_one_and_weighs_what_is_said():
    heard, said, weights = writing.teacher_forcing([[4, 5, 2], [3, 2], []], start=1)
    assert heard.tolist() == [[1, 4, 5], [1, 3, 2], [1, 0, 0]]
    assert said.tolist() == [[4, 5, 2], [3, 2, 0], [0, 0, 0]]
    assert weights.tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    for ours, theirs in zip(writing.teacher_forcing(said, start=1), (heard, said, weights), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # a token that is padding elsewhere may be said in the middle
    assert writing.teacher_forcing([[4, 0, 2, 0]], start=1)[2].tolist() == [[1, 1, 1, 0]]
    for wrong in [1, 2], [[1.5]], "ab", []:
        with pytest.raises(ValueError, match="`said` must be rows of tokens"):
            writing.teacher_forcing(wrong, start=1)


def test_padding_changes_neither_loss_nor_accuracy():
    model = small_language_model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(loss=loss, weighted_metrics=["sparse_categorical_accuracy"])
    texts = np.array([[4, 5, 2], [3, 2, 0]])
    found = []
    for width in 0, 9:
        heard, said, weights = writing.teacher_forcing(np.pad(texts, [(0, 0), (0, width)]), start=1)
        found.append(model.evaluate(heard, said, sample_weight=weights, verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-5)
    slow = Slow(model, None, 0)
    expected = [slow([1]), slow([1, 4]), slow([1, 4, 5]), slow([1]), slow([1, 3])]
    tokens = [4, 5, 2, 3, 2]
    expected = np.mean([log_probs[token] for log_probs, token in zip(expected, tokens, strict=True)])
    np.testing.assert_allclose(found[0][0], -expected, rtol=1e-5)


def sharpened(model):
    """Logits so far apart that what is drawn is what is most probable."""
    model.layers[-1].activation = keras.activations.linear
    model.layers[-1].kernel.assign(1e4 * model.layers[-1].kernel)
    return model


def scheduled(model, probability, rate=0.1):
    training = writing.ScheduledSampling(model, probability, over="said", seed=4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    training.compile(keras.optimizers.SGD(rate), loss)
    return training


@pytest.mark.parametrize("kind", [bahdanau, tutorial])
def test_with_scheduled_sampling_a_model_hears_what_it_says_itself(kind):
    model, context = kind.__wrapped__()
    model, inputs = sharpened(model), list(context.values())
    given = np.random.default_rng(2).integers(1, CLASSES, (3, 60))

    def as_heard(tokens):
        return np.eye(CLASSES, dtype="float32")[tokens] if kind is tutorial else tokens

    def heard_and_said(probability):
        """What it heard, and at each step what the whole model says after what it heard before."""
        heard = np.asarray(scheduled(model, probability).mixed([*inputs, tf.constant(as_heard(given))])[-1])
        heard = heard.argmax(axis=-1) if kind is tutorial else heard
        said = model.predict([*inputs, as_heard(heard)], verbose=0).argmax(axis=-1)
        return heard[:, 1:], said[:, :-1]

    np.testing.assert_array_equal(heard_and_said(0)[0], given[:, 1:])
    np.testing.assert_array_equal(*heard_and_said(1))
    heard, said = heard_and_said(0.3)
    own = (heard == said)[said != given[:, 1:]]
    assert ((heard == given[:, 1:]) | (heard == said)).all()
    assert abs(own.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / own.size)


def test_scheduled_sampling_trains_on_what_was_heard_and_its_probability_may_grow():
    model, context = bahdanau.__wrapped__()
    heard, said, weights = writing.teacher_forcing([[4, 5, 2], [3, 2], [5, 5, 2]], start=1)
    inputs = {**context, "said": heard}
    training = scheduled(sharpened(model), lambda batches: ops.minimum(batches, 1), rate=0.0)
    own = {**inputs, "said": np.asarray(scheduled(model, 1.0).mixed(inputs)["said"])}
    assert (own["said"] != heard).any()
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), training.loss)
    for expected in inputs, own:
        training.reset_metrics()
        want = plain.evaluate(expected, said, sample_weight=weights, verbose=0)
        np.testing.assert_allclose(training.train_on_batch(inputs, said, weights), want, rtol=1e-4)
    scheduled(model, 1.0).fit(inputs, said, sample_weight=weights, verbose=0)
    plain.fit(own, said, sample_weight=weights, verbose=0)
    for mine, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_scheduled_sampling_refuses_what_it_cannot_use():
    model, _ = bahdanau()
    for wrong in (-0.1, 1.5, "often", None):
        with pytest.raises(ValueError, match="`sampling_probability` must be a number from 0 to 1"):
            writing.ScheduledSampling(model, wrong, over="said")
    said = keras.Input(batch_shape=(2, None), dtype="int32")
    x = keras_gates.GRU(2, return_sequences=True, stateful=True, name="carried")(
        keras.layers.Embedding(CLASSES, 3)(said)
    )
    with pytest.raises(ValueError, match="'carried' must not be stateful"):
        writing.ScheduledSampling(keras.Model(said, ending(x)), 0.5)


@pytest.mark.parametrize("learned", [False, True])
def test_rows_of_a_stateful_layer_start_anew_one_by_one(learned):
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    layer = keras_gates.LSTM(3, stateful=True, learn_initial_state=learned)
    layer.build(x.shape)
    for weight in layer.cell.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    layer.reset_state()
    fresh = np.asarray(layer(x))
    on = np.asarray(layer(x))
    layer.reset_state()
    layer(x)
    layer.reset_state([True, False, True])
    mixed = np.asarray(layer(x))
    np.testing.assert_allclose(mixed[[0, 2]], fresh[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(mixed[1], on[1], atol=1e-6)
    assert np.abs(on - fresh).max() > 1e-3
    with pytest.raises(ValueError, match=r"`rows` must have the shape \(3,\); got \(2,\)"):
        layer.reset_state([True, False])
