"""What makes the networks for texts stronger: averaged weights, smoothed labels, vectors from a file, …"""

import gzip
import json
import zipfile

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import tensorflow as tf

import keras_gates
from experiments.common import strength, vectors
from experiments.common.adversarial import perturbation, train_adversarially
from experiments.common.batches import Batches, pad
from experiments.common.errors import InputError
from experiments.common.fitting import Checkpoint, Keeper, compile_model, fit
from experiments.common.layerwise import LayerwiseAdam
from experiments.common.run_folder import RunFolder
from experiments.common.strength import SmoothedCrossEntropy
from experiments.common.training import Problem
from experiments.language import __main__ as language
from experiments.language import tokens
from experiments.language.network import Network
from experiments.sentiment import __main__ as sentiment
from experiments.sentiment import problem as of_sentiment
from experiments.tagging import __main__ as tagging
from experiments.tagging import problem as of_tagging
from experiments.tagging.network import with_auxiliary

# -- averaged weights

MOMENTUM = 0.8
IDS = [[1, 2], [2, 3, 1], [3], [2, 2, 3, 1], [1, 1]]


def small_problem(callbacks=(), epsilon=None):
    """Five sequences of ids with two labels, and a network that reads them; always the same."""
    keras.utils.set_random_seed(3)
    labels = np.array([0, 1, 1, 0, 1], "int32")
    batches = Batches(
        [len(row) for row in IDS],
        lambda indices: (pad([IDS[at] for at in indices]), labels[indices]),
        (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)),
        batch_size=2,
    )
    ids = keras.Input((None,), dtype="int32")
    features = keras_gates.NormalizedEmbedding(4, 3, mask_zero=True)(ids)
    features = keras_gates.MeanPooling()(keras.layers.Dropout(0.2, name="vectors")(features))
    model = keras.Model(ids, keras.layers.Dense(2)(features))
    if epsilon is not None:
        train_adversarially(model, "vectors", batches, epsilon)
    return Problem(
        train=batches, validation=batches, model=model, serving=None, test=None, labels=("a", "b"), facts={},
        callbacks=callbacks,
    )  # fmt: skip


def fitted(folder, epochs, callbacks=(), epsilon=None):
    """The problem after so many epochs in all, its history, and the checkpoint of the folder."""
    options = sentiment.train_parser().parse_args(["--average", str(MOMENTUM), "--learning-rate", "0.1"])
    options.epochs, options.patience = epochs, epochs
    problem = small_problem(callbacks, epsilon)
    compile_model(problem.model, options, steps=9)
    history = fit(problem, options, folder)
    return problem, history, Checkpoint.read(folder.checkpoint)


class Weights(keras.callbacks.Callback):
    """The weights after every batch."""

    def on_train_begin(self, logs=None):
        self.after = []

    def on_train_batch_end(self, batch, logs=None):
        self.after.append([weight.numpy() for weight in self.model.trainable_variables])


def test_the_averaged_weights_are_validated_and_kept_and_the_training_goes_on_from_its_own(tmp_path):
    seen = Weights()
    problem, history, checkpoint = fitted(RunFolder.create(tmp_path / "run"), 3, callbacks=(seen,))
    assert len(seen.after) == 9
    average = [weight.astype("float64") for weight in seen.after[0]]
    losses, averages = [], []
    for step, weights in enumerate(seen.after):
        if step:
            average = [
                MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(average, weights, strict=True)
            ]
        if step % 3 == 2:
            for variable, value in zip(problem.model.trainable_variables, average, strict=True):
                variable.assign(value)
            losses.append(problem.model.evaluate(problem.validation.once(), verbose=0)[0])
            averages.append(average)
    np.testing.assert_allclose([row["val_loss"] for row in history], losses, rtol=1e-5)
    trainable = [at for at, variable in enumerate(problem.model.variables) if variable.trainable]
    for at, best in zip(trainable, averages[int(np.argmin(losses))], strict=True):
        np.testing.assert_allclose(checkpoint.best[at], best, rtol=1e-5, atol=1e-7)
    for at, last in zip(trainable, seen.after[-1], strict=True):
        np.testing.assert_array_equal(checkpoint.states[at], last)


def test_a_resumed_run_is_equal_to_one_that_was_not_interrupted(tmp_path):
    """Averaged, and with adversarial training."""
    whole = fitted(RunFolder.create(tmp_path / "whole"), 2, epsilon=0.5)
    folder = RunFolder.create(tmp_path / "cut")
    fitted(folder, 1, epsilon=0.5)
    resumed = fitted(folder, 2, epsilon=0.5)
    for one, other in zip(whole[2][1] + whole[2][2], resumed[2][1] + resumed[2][2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert [row["val_loss"] for row in whole[1]] == [row["val_loss"] for row in resumed[1]]
    for one, other in zip(whole[0].model.variables, resumed[0].model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


# -- smoothed labels


def test_smoothed_labels_give_the_cross_entropy_counted_by_hand():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    true = np.array([[0, 3, 1], [2, 2, 0]])
    mask = np.array([[True, True, False], [True, True, True]])
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    targets = 0.9 * np.eye(4)[true] + 0.1 / 4
    expected = -(targets * np.log(probabilities)).sum(-1)
    masked = tf.constant(logits)
    masked._keras_mask = tf.constant(mask)
    assert float(SmoothedCrossEntropy(0.1)(true, logits)) == pytest.approx(expected.mean(), rel=1e-5)
    assert float(SmoothedCrossEntropy(0.1)(true, masked)) == pytest.approx(expected[mask].mean(), rel=1e-5)


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    """A folder with six sentences of two chunks each, for all three parts."""
    folder = tmp_path_factory.mktemp("chunks")
    rows = "".join(
        f"the B-NP\n{noun} I-NP\n{verb} B-VP\n\n" for noun in ("cat", "dog", "ox") for verb in ("sat", "ran")
    )
    for part in ("train", "dev", "test"):
        (folder / f"{part}.txt").write_text(rows)
    return folder


def test_label_smoothing_does_not_go_with_a_crf(chunks, tmp_path, capsys):
    out = tmp_path / "run"
    assert tagging.main(["--dataset", str(chunks), "--label-smoothing", "0.1", "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        "python -m experiments.tagging: --label-smoothing does not go with a CRF, whose targets are whole "
        "sequences of tags.\n"
    )
    assert list(tmp_path.iterdir()) == []


# -- vectors from a file

CAT, DOG = [0.5, -1.0, 2e-3], [1.0, 0.25, -3.0]
PLAIN = "cat 0.5 -1 2e-3\nof course 9 9 9\ndog 1. .25 -3\ncat 7 7 7\n"


def packed(path, text):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("vectors.txt", text)
    else:
        path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("name", ["v.txt", "v.vec.gz", "v.ZIP"])
@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"4 3\n{PLAIN}",
        PLAIN.replace("\n", " \r\n").replace(" ", "\t").replace("of\t", "of "),
        PLAIN.removesuffix("\n"),
    ],
    ids=["as GloVe", "with a header, as word2vec", "tabs, spaces at the ends", "no last line end"],
)
def test_vectors_are_read_from_every_form_of_file(name, text, tmp_path):
    path = packed(tmp_path / name, text)
    assert vectors.width_of(path) == 3
    found = vectors.read(path, ["Cat", "cow", "dog", "of"])
    assert {word: vector.tolist() for word, vector in found.items()} == {
        "Cat": np.float32(CAT).tolist(),
        "dog": DOG,
    }


def test_a_cased_word_gets_its_own_vector_before_that_of_its_lower_case(tmp_path):
    path = packed(tmp_path / "v.txt", "us 1\nUS 2\nÉté 3\nété 4\n")
    found = vectors.read(path, ["US", "Us", "ÉTÉ"])
    assert {word: vector.tolist() for word, vector in found.items()} == {"US": [2], "Us": [1], "ÉTÉ": [4]}


DAMAGED = {
    "too few numbers": ("cat 1 2\ndog 1\n", "line 2: expected a word and 2 numbers."),
    "two lines in one": ("cat 1 2\ndog 1 2 ox 1 2\n", "line 2: expected a word and 2 numbers."),
    "a blank line": ("cat 1 2\n\nox 1 2\n", "line 2: expected a word and 2 numbers."),
    "no number": ("3 2\nox 1 2\ncat 1 x\n", "line 3: 'x' is not a number."),
    "not finite": ("cat nan 2\n", "line 1: 'nan' is not a number."),
    "words alone": ("cat\ndog\n", "line 1: expected a word and the numbers of its vector."),
    "no line end": ("cat 1\nox " + "1" * vectors.LONGEST, "line 2: expected at most 1,048,576 bytes."),
    "empty": ("", "v.txt is empty."),
}


@pytest.mark.parametrize("text, sentence", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_of_vectors_ends_in_a_sentence_with_its_line(text, sentence, tmp_path):
    path = packed(tmp_path / "v.txt", text)
    with pytest.raises(InputError) as error:
        vectors.read(path, ["cat"])
    assert str(error.value).endswith(sentence)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["v.gz", "v.zip"])
def test_a_packed_file_that_is_cut_off_ends_in_a_sentence(name, tmp_path):
    path = packed(tmp_path / name, PLAIN * 5_000)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=f"{name} cannot be unpacked: "):
        vectors.read(path, ["cat"])


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    told = (("cat", "up"), ("dog", "down"))
    rows = [(f"the {word} of n{number}{word}", label) for number in range(60) for word, label in told]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


def prepared(task, problem, *arguments, reads=()):
    parser = task.train_parser(*reads)
    options = parser.parse_args(list(map(str, arguments)))
    return options, problem.prepare(options, parser.given)


def test_words_of_the_vocabulary_start_from_their_vectors(reviews, tmp_path, capsys):
    path = packed(tmp_path / "v.txt", PLAIN)
    keras.utils.set_random_seed(0)
    options, problem = prepared(sentiment, of_sentiment, "--dataset", reviews, "--vectors", path)
    keras.utils.set_random_seed(0)
    _, random = prepared(sentiment, of_sentiment, "--dataset", reviews, "--embedding", 3)
    table, others = (p.model.get_layer("embedding").embeddings.numpy() for p in (problem, random))
    words = problem.serving(problem.model).get_layer("words").get_vocabulary()
    for row, word in enumerate(words):
        expected = {"cat": np.float32(CAT), "dog": DOG}.get(word, others[row])
        np.testing.assert_array_equal(table[row], expected)
    assert options.embedding == 3
    assert "v.txt has 2 of 4 words." in capsys.readouterr().out
    assert problem.facts["vectors"] == {"file": "v.txt", "found": 2, "of": 4}
    assert problem.metadata["vectors"] == "v.txt"
    assert any("v.txt, which has 2 of 4" in note for note in problem.notes)


def test_words_of_a_tagger_start_from_their_vectors(chunks, tmp_path):
    path = packed(tmp_path / "v.txt", PLAIN)
    _, problem = prepared(
        tagging, of_tagging, "--dataset", chunks, "--vectors", path, "--no-characters", reads=["words"]
    )
    words = problem.model.get_layer("forms").get_vocabulary()
    table = problem.model.get_layer("form_vectors").embeddings.numpy()
    np.testing.assert_array_equal(table[words.index("cat")], np.float32(CAT))
    assert problem.metadata["vectors"] == "v.txt"


def test_a_tagger_reads_vectors_of_words_that_training_lacks(chunks, tmp_path):
    """They are those of the file, and stay so; a word that the file lacks has zeros.

    Files such as GloVe's have lower case alone: a capitalised word has the vector of its lower case.
    """
    path = packed(tmp_path / "v.txt", PLAIN + "unheard 3 2 1\nUS 4 5 6\n")
    run = tmp_path / "run"
    given = ["--dataset", chunks, "--beside-vectors", path, "--units", 4, "--epochs", 1, "--out", run]
    assert tagging.main(list(map(str, given))) == 0
    saved = keras.saving.load_model(run / "model.keras")
    read = keras.Model(saved.input, saved.get_layer("known_vectors").output)
    got = read(tf.constant([["cat", "unheard", "Cat", "US", "us", ""]]))[0]
    nothing = [0, 0, 0]
    np.testing.assert_array_equal(got, np.float32([CAT, [3, 2, 1], CAT, [4, 5, 6], nothing, nothing]))
    assert "the vectors of words in v.txt" in (run / "README.md").read_text(encoding="utf-8")


def test_a_file_without_known_vectors_ends_in_one_sentence(chunks, tmp_path, capsys):
    path = packed(tmp_path / "v.txt", "0 3\n")
    assert tagging.main(list(map(str, ["--dataset", chunks, "--beside-vectors", path]))) == 2
    assert capsys.readouterr().err.endswith(f": {path} has no vectors of words.\n")


def test_known_vectors_need_words(tmp_path, capsys):
    given = ["--dataset", "python", "--beside-vectors", packed(tmp_path / "v.txt", PLAIN)]
    assert tagging.main(list(map(str, given))) == 2
    assert "--dataset python has no words; leave out --beside-vectors." in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, arguments, sentence",
    [
        (PLAIN, ["--embedding", "4"], "--embedding 4 does not fit {}, which needs 3; leave it out."),
        ("ox 1\n", [], "{} has none of the 4 words of these data."),
        (None, [], "There is no file {}."),
    ],
)
def test_vectors_that_do_not_fit_end_in_one_sentence(text, arguments, sentence, reviews, tmp_path, capsys):
    path = tmp_path / "v.txt"
    if text is not None:
        packed(path, text)
    given = ["--dataset", reviews, "--vectors", path, *arguments, "--out", tmp_path / "run"]
    assert sentiment.main(list(map(str, given))) == 2
    assert capsys.readouterr().err == f"python -m experiments.sentiment: {sentence.format(path)}\n"
    assert not (tmp_path / "run.partial").exists()


# -- adversarial training

ROWS = np.array([[1, 2, 1], [3, 2, 0], [2, 0, 0]])
TRUE = np.array([0, 1, 1])
EPSILON = 0.7


class Counted:
    """The rows above, as the part of a corpus that frequencies are counted in."""

    def once(self):
        return [(ROWS[:2], TRUE[:2]), (ROWS[2:], TRUE[2:])]


def by_hand(weights, added=None):
    """The loss of the network below in float64, and its gradient by the normalised vectors.

    added: what is added to the vectors, (batch, time, features).
    """
    table, kernel, bias = weights
    shares = np.array([0, 2, 3, 1]) / 6
    mean = shares @ table
    deviation = np.sqrt(shares @ (table - mean) ** 2 + 1e-6)
    vectors = ((table - mean) / deviation)[ROWS] + (0 if added is None else added)
    there = (ROWS != 0) / (ROWS != 0).sum(1, keepdims=True)
    logits = np.einsum("bt,btf->bf", there, vectors) @ kernel + bias
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = -logs[np.arange(3), TRUE].mean()
    by_logits = (np.exp(logs) - np.eye(2)[TRUE]) / 3
    return loss, there[..., None] * (by_logits @ kernel.T)[:, None]


def test_an_adversarial_step_is_that_of_the_equations_of_the_paper():
    """With gradients of both losses by differences, in NumPy."""
    ids = keras.Input((None,), dtype="int32")
    vectors = keras_gates.NormalizedEmbedding(4, 3, mask_zero=True, name="vectors")(ids)
    model = keras.Model(ids, keras.layers.Dense(2)(keras_gates.MeanPooling()(vectors)))
    rng = np.random.default_rng(4)
    start = [rng.normal(size=shape) for shape in ((4, 3), (3, 2), (2,))]
    for variable, value in zip(model.trainable_variables, start, strict=True):
        variable.assign(value)
    train_adversarially(model, "vectors", Counted(), EPSILON)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=True)
    loss, gradient = by_hand(start)
    assert model.train_on_batch(ROWS, TRUE) == pytest.approx(loss, rel=1e-5)
    added = EPSILON * gradient / np.sqrt((gradient**2).sum((1, 2), keepdims=True))
    for which, (variable, value) in enumerate(zip(model.trainable_variables, start, strict=True)):
        expected = value.copy()
        for at in np.ndindex(value.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [array.copy() for array in start]
                moved[which][at] += step
                ends.append(by_hand(moved)[0] + by_hand(moved, added)[0])
            expected[at] -= (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing_that_an_adversarial_tagger_learns():
    """One with a recurrent layer, which runs in a kernel, and a CRF."""
    ids, tags = np.array([[1, 2, 3], [3, 1, 0]]), np.array([[0, 1, 1], [1, 0, 0]])
    learnt = []
    for padding in (0, 4):
        keras.utils.set_random_seed(5)
        inputs = keras.Input((None,), dtype="int32")
        features = keras_gates.NormalizedEmbedding(4, 3, mask_zero=True, name="vectors")(inputs)
        features = keras_gates.LSTM(4, return_sequences=True)(features)
        model = keras.Model(inputs, keras_gates.CRF()(keras.layers.Dense(2)(features)))
        train_adversarially(model, "vectors", Counted(), EPSILON)
        model.compile(keras.optimizers.SGD(1.0), keras_gates.CRFLoss(), run_eagerly=True)
        padded = [np.pad(array, ((0, 0), (0, padding))) for array in (ids, tags)]
        losses = [model.train_on_batch(*padded) for _ in range(2)]
        assert losses[0] != losses[1]
        learnt.append([*losses, *(variable.numpy() for variable in model.trainable_variables)])
    for one, other in zip(*learnt, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_normalised_vectors_are_plain_ones_once_training_has_ended():
    model = small_problem(epsilon=EPSILON).model
    normalised = next(each for each in model.layers if isinstance(each, keras_gates.NormalizedEmbedding))
    normalised.embeddings.assign(np.random.default_rng(6).normal(2, 3, (4, 3)))
    plain = strength.plain(model)
    assert not any(isinstance(each, keras_gates.NormalizedEmbedding) for each in plain.layers)
    assert plain.get_layer(normalised.name).name == normalised.name
    rows = pad(IDS)
    np.testing.assert_allclose(plain(rows), model(rows), rtol=1e-5, atol=1e-6)
    assert strength.plain(plain) is plain


# -- half precision


def test_the_perturbation_has_its_norm_in_half_precision_too():
    added = perturbation(tf.ones((2, 400, 64), "bfloat16"), EPSILON)
    np.testing.assert_allclose(np.linalg.norm(added.numpy().reshape(2, -1), axis=1), EPSILON, rtol=1e-5)


def test_what_is_trained_in_bfloat16_is_tested_and_saved_in_float32(reviews, tmp_path):
    tiny = ["--dataset", reviews, "--units", "3", "--epochs", "2"]
    given = [*tiny, "--dtype", "mixed_bfloat16"]
    _, problem = prepared(sentiment, of_sentiment, *given)
    dtypes = [problem.model.get_layer(name).compute_dtype for name in ("embedding", "lstm_1", "logits")]
    assert dtypes == ["bfloat16", "bfloat16", "float32"]
    assert keras.config.dtype_policy().name == "float32"
    _, exact = prepared(sentiment, of_sentiment, *tiny)
    exact.model.set_weights(problem.model.get_weights())
    ids, _ = next(iter(problem.train.once()))
    np.testing.assert_allclose(problem.model(ids), exact.model(ids), rtol=0, atol=0.02)
    out, more = tmp_path / "run", tmp_path / "more"
    assert sentiment.main([*map(str, given), "--out", str(out)]) == 0
    served, corpus = keras_gates.load(out / "saved_model"), of_sentiment.data.load(str(reviews))
    probabilities = served(corpus.test.texts).numpy()
    assert probabilities.dtype == "float32" and served.stream(native=True).push("the cat").dtype == "float32"
    accuracy = np.mean(probabilities.argmax(axis=1) == corpus.test.labels)
    assert json.loads((out / "metrics.json").read_text())["test_accuracy"] == pytest.approx(accuracy)
    saved = keras.saving.load_model(out / "model.keras")
    assert saved.get_layer("sentiment").get_layer("lstm_1").compute_dtype == "float32"
    np.testing.assert_allclose(saved(tf.constant(corpus.test.texts)), probabilities, rtol=0, atol=1e-6)
    assert sentiment.main(["--resume", str(out), "--epochs", "3", "--patience", "9", "--out", str(more)]) == 0
    assert json.loads((more / "config.json").read_text())["options"]["dtype"] == "mixed_bfloat16"
    short, long = ((path / "history.csv").read_text().splitlines() for path in (out, more))
    assert long[: len(short)] == short


# -- dropped weights


def test_a_cell_without_a_recurrent_kernel_has_no_weights_to_drop(reviews):
    """What is dropped of those of others: `dropped_weights` in `backend_check.py`."""
    with pytest.raises(ValueError, match="`weight_dropout` needs a cell with a `recurrent_kernel`"):
        keras_gates.MinGRU(3, weight_dropout=0.5).build((None, 4, 2))
    with pytest.raises(InputError, match="--weight-dropout: the cell min-gru has no recurrent matrix"):
        prepared(sentiment, of_sentiment, "--dataset", reviews, "--cell", "min-gru", "--weight-dropout", 0.1)


# -- a language model

WORDS = ["cat", " dog", " The", "sat", ".", " "]


def language_run(path, *arguments):
    """A finished run of `experiments.language` that has learnt nothing."""
    options = language.train_parser(None).parse_args(list(map(str, arguments)))
    kind = options.tokens
    known = sorted(WORDS) if kind == "words" else [*"acdt"]
    keras.utils.set_random_seed(7)
    model = Network(len(known) + 2, options).serving(tokens.vectorizer(known, kind))
    for at, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(at).normal(size=weight.shape))
    path.mkdir()
    model.save(path / "model.keras")
    config = {"task": "language", "options": vars(options), "labels": list(tokens.names(known))}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return model


SMALL = ["--embedding", 3, "--units", 4, "--cell", "coupled"]


def test_a_network_starts_from_the_vectors_and_layers_of_a_language_model(reviews, tmp_path, capsys):
    run = tmp_path / "run"
    learnt = language_run(run, *SMALL, "--tokens", "words", "--layers", 2)
    options, problem = prepared(sentiment, of_sentiment, "--dataset", reviews, "--from", run)
    assert (options.units, options.embedding, options.cell) == (4, 3, "coupled")
    assert (options.layers, options.tokens) == (1, "words")
    words = problem.serving(problem.model).get_layer("words").get_vocabulary()
    table = problem.model.get_layer("embedding").embeddings.numpy()
    known = learnt.get_layer("embedding").embeddings.numpy()
    rows = {"cat": "cat", "dog": " dog", "the": " The"}
    for word, token in rows.items():
        np.testing.assert_array_equal(table[words.index(word)], known[sorted(WORDS).index(token) + 2])
    assert not (table[words.index("of")] == known[:, None]).all(-1).any()
    ours, theirs = (model.get_layer("coupled_1").get_weights() for model in (problem.model, learnt))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "run has 3 of 4 words." in capsys.readouterr().out
    assert problem.facts["from"] == {"run": "run", "found": 3, "of": 4}
    assert problem.metadata["from"] == "run"


def test_a_tagger_reads_the_vectors_of_a_language_model_as_the_model_did(chunks, tmp_path):
    """The other inputs of its recurrent layers, and what reads backwards, begin at random."""
    run = tmp_path / "run"
    learnt = language_run(run, *SMALL, "--tokens", "words", "--layers", 2)
    options, problem = prepared(
        tagging, of_tagging, "--dataset", chunks, "--from", run, "--layers", 2, "--no-characters",
        "--unfreeze-every", 2, "--lower-rates", 0.5, reads=["words"],
    )  # fmt: skip
    for level in (1, 2):
        ours = problem.model.get_layer(f"both_ways_{level}").forward_layer.get_weights()
        theirs = learnt.get_layer(f"coupled_{level}").get_weights()
        read = len(theirs[0])
        assert read < len(ours[0])
        np.testing.assert_array_equal(ours[0][:read], theirs[0])
        assert np.abs(ours[0][read:]).max() < 1, "as they are initialised"
        for one, other in zip(ours[1:], theirs[1:], strict=True):
            np.testing.assert_array_equal(one, other)
    optimizer = problem.optimizer(0.1, options)
    assert (optimizer.factor, optimizer.wait) == (0.5, 2 * len(problem.train))
    optimizer.build(problem.model.trainable_variables)
    depths = dict(zip((v.path for v in problem.model.trainable_variables), optimizer.depth_of, strict=True))
    layers = [problem.model.get_layer(f"both_ways_{level}") for level in (1, 2)]
    assert depths[problem.model.get_layer("form_vectors").embeddings.path] == 3
    assert [depths[layer.forward_layer.cell.kernel.path] for layer in layers] == [2, 1]
    assert [depths[layer.backward_layer.cell.kernel.path] for layer in layers] == [0, 0]
    assert depths[problem.model.get_layer("logits").kernel.path] == 0


UNFIT = {
    "units": (["--units", 5], "--units 5 does not fit {}, which needs 4; leave it out."),
    "cell": (["--cell", "lstm"], "--cell lstm does not fit {}, which needs coupled; leave it out."),
    "tokens": (
        ["--tokens", "words"],
        "--tokens words does not fit {}, which needs characters; leave it out.",
    ),
    "layers": (["--layers", 2], "--layers 2 is more than {} has, 1."),
    "parameters": (["--parameters", 999], "--from takes the units of its run; leave out --parameters."),
    "vectors": (
        ["--vectors", "x"],
        "--vectors and --from both say where the vectors start; give one of them.",
    ),
}


@pytest.mark.parametrize("arguments, sentence", UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_a_language_model_ends_in_one_sentence(arguments, sentence, reviews, tmp_path):
    run = tmp_path / "run"
    language_run(run, *SMALL)
    parser = sentiment.train_parser()
    options = parser.parse_args(list(map(str, ["--dataset", reviews, "--from", run, *arguments])))
    with pytest.raises(InputError) as error:
        of_sentiment.prepare(options, parser.given)
    assert str(error.value) == sentence.format(run)


DAMAGED_RUNS = {
    "no option": ({"units": None}, "The config.json of {} is damaged: it has no option 'units'."),
    "other units": ({"units": 6}, "{} has not the layers that its config.json says: "),
    "another cell": ({"cell": "gru"}, "{} has not the layers that its config.json says: "),
}


@pytest.mark.parametrize("changes, sentence", DAMAGED_RUNS.values(), ids=DAMAGED_RUNS)
def test_a_damaged_language_model_ends_in_one_sentence(changes, sentence, reviews, tmp_path):
    run = tmp_path / "run"
    language_run(run, *SMALL)
    config = json.loads((run / "config.json").read_text())
    changed = {**config["options"], **changes}
    config["options"] = {name: value for name, value in changed.items() if changes.get(name, "") is not None}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as error:
        prepared(sentiment, of_sentiment, "--dataset", reviews, "--from", run)
    assert str(error.value).startswith(sentence.format(run))


def test_a_tagger_of_words_does_not_start_from_a_model_of_characters(chunks, tmp_path):
    language_run(tmp_path / "run", *SMALL)
    with pytest.raises(InputError, match="run has read characters; this network reads words"):
        prepared(tagging, of_tagging, "--dataset", chunks, "--from", tmp_path / "run", reads=["words"])


def test_what_starts_from_a_language_model_is_resumed_and_saved(reviews, tmp_path, monkeypatch):
    """With a loss and an optimizer of our own, and vectors that are normalised only in training."""
    learnt = language_run(tmp_path / "run", *SMALL, "--tokens", "words")
    begun = [
        *("--dataset", reviews, "--from", tmp_path / "run", "--unfreeze-every", 1, "--lower-rates", 0.5),
        *("--label-smoothing", 0.1, "--adversarial", 1, "--average", 0, "--learning-rate", 0.1),
        *("--epochs", 3, "--no-decay"),
    ]

    def trained(*arguments):
        return sentiment.main(list(map(str, arguments)))

    def interrupt(keeper, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        keeper.began = 0.0

    assert trained(*begun, "--out", tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_epoch_begin", interrupt)
        assert trained(*begun, "--out", tmp_path / "cut") == 130
    kept = Checkpoint.read(tmp_path / "cut.partial" / "checkpoint.npz").states
    for weight in learnt.get_layer("coupled_1").get_weights():
        assert any(np.array_equal(weight, state) for state in kept), "it begins in the second epoch"
    assert trained("--resume", tmp_path / "cut") == 0
    whole, cut = (keras.saving.load_model(tmp_path / name / "model.keras") for name in ("whole", "cut"))
    for one, other in zip(whole.get_weights(), cut.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    texts = tf.constant(["the cat of n1cat", "the dog", ""])
    served = tf.saved_model.load(tmp_path / "cut" / "saved_model").signatures["serving_default"](texts)
    np.testing.assert_allclose(served["outputs"], cut(texts), atol=1e-6)


def test_layers_that_begin_later_have_time_to_learn(reviews, tmp_path, capsys):
    run = tmp_path / "run"
    language_run(run, *SMALL)
    given = ["--dataset", reviews, "--from", run, "--unfreeze-every", 3]
    options, _ = prepared(sentiment, of_sentiment, *given, "--epochs", 7)
    assert options.patience == 3 + 2, "a layer that begins 3 epochs later has the usual 2 epochs as well"
    assert "--epochs" not in capsys.readouterr().out
    options, _ = prepared(sentiment, of_sentiment, *given, "--epochs", 6, "--patience", 1)
    assert options.patience == 1
    said = capsys.readouterr().out
    assert "The vectors begin to learn after 6 epochs: give more --epochs than 6 to train them." in said


def test_what_belongs_to_a_language_model_needs_one(reviews):
    with pytest.raises(InputError, match="--unfreeze-every and --lower-rates go with --from"):
        prepared(sentiment, of_sentiment, "--dataset", reviews, "--unfreeze-every", 1)


def test_lower_layers_learn_later_and_less():
    """Against Adam in NumPy: the moments are of all steps, the updates of those after the wait."""
    variables = [keras.Variable([1.0, 2.0], name=name) for name in ("top", "middle", "bottom")]
    depths = {variables[1].path: 1, variables[2].path: 2}
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10**9)  # as training gives it: a schedule
    optimizer = LayerwiseAdam(rate, depths=depths, factor=0.5, wait=2)
    optimizer.build(variables)
    gradients = np.random.default_rng(0).normal(size=(6, 3, 2)).astype("float32")
    expected, first, second = np.tile([1.0, 2.0], (3, 1)), 0.0, 0.0
    for step, gradient in enumerate(gradients):
        optimizer.apply([tf.constant(part) for part in gradient], variables)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = 0.1 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        update = rate * first / (np.sqrt(second) + 1e-7)
        for depth in range(3):
            if step >= 2 * depth:
                expected[depth] -= 0.5**depth * update[depth]
        np.testing.assert_allclose([v.numpy() for v in variables], expected, rtol=1e-4)
    again = LayerwiseAdam.from_config(optimizer.get_config())
    assert (again.depths, again.factor, again.wait) == (depths, 0.5, 2)


# -- all together


def test_a_tagger_with_all_of_it_trains_tags_and_says_what_it_started_from(chunks, tmp_path, capsys):
    path, out = packed(tmp_path / "v.txt", PLAIN), tmp_path / "run"
    arguments = [
        *("--dataset", chunks, "--out", out, "--vectors", path, "--average", 0.5, "--adversarial", 0.5),
        *("--weight-dropout", 0.3, "--units", 8, "--batch-size", 2, "--epochs", 8, "--patience", 8),
        *("--learning-rate", 0.05, "--dropout", 0, "--word-dropout", 0, "--no-decay", "--no-characters"),
    ]
    assert tagging.main(list(map(str, arguments))) == 0
    assert capsys.readouterr().err == ""
    assert json.loads((out / "metrics.json").read_text())["test_span_f1"] == 1
    assert json.loads((out / "saved_model" / "metadata.json").read_text())["vectors"] == "v.txt"
    assert "v.txt, which has 2 of 6" in (out / "README.md").read_text()
    saved = keras.saving.load_model(out / "model.keras")
    assert saved.get_layer("both_ways_1").forward_layer.weight_dropout == 0.3
    assert not any(isinstance(layer, keras_gates.NormalizedEmbedding) for layer in saved.layers)
    assert tagging.main(["predict", str(out), "the dog sat", "--format", "conll"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line] == [
        *(["the", "B-NP"], ["dog", "I-NP"], ["sat", "B-VP"]),
    ]


# -- tags of another column beside those asked for


@pytest.fixture(scope="module")
def parsed(chunks, tmp_path_factory):
    """The folder of `chunks`, with parts of speech in a column between words and tags."""
    folder = tmp_path_factory.mktemp("parsed")
    speech = {"B-NP": "DT", "I-NP": "NN", "B-VP": "VB"}
    for path in chunks.iterdir():
        pairs = [line.split() for line in path.read_text().split("\n")]
        rows = [f"{pair[0]} {speech[pair[1]]} {pair[1]}" if pair else "" for pair in pairs]
        (folder / path.name).write_text("\n".join(rows))
    return folder


def test_the_loss_of_a_tagger_has_half_the_cross_entropy_of_its_auxiliary_tags():
    keras.utils.set_random_seed(7)
    words = keras.Input((None,), dtype="int32", name="words")
    features = keras.layers.Embedding(4, 3, mask_zero=True)(words)
    network = keras.Model(words, keras.layers.Dense(2, name="logits")(features))
    both = with_auxiliary(network, tags=3)
    both.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids, tags, others = (
        np.array([[1, 2, 3], [3, 0, 0]]),
        np.array([[0, 1, 1], [1, 0, 0]]),
        [[0, 2, 1], [1] * 3],
    )

    def cross_entropy(name, targets):
        logits = keras.Model(words, both.get_layer(name).output)(ids).numpy().astype("float64")
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return -np.take_along_axis(logs, np.array(targets)[..., None], -1)[..., 0][ids > 0].mean()

    expected = cross_entropy("logits", tags) + 0.5 * cross_entropy("auxiliary_logits", others)
    assert both.evaluate([ids, np.array(others)], tags, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_tagger_learns_a_second_column_and_is_saved_without_it(parsed, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [
        *("--dataset", parsed, "--out", out, "--auxiliary", 2, "--adversarial", 0.5, "--average", 0.5),
        *("--units", 8, "--batch-size", 2, "--epochs", 8, "--patience", 8, "--learning-rate", 0.05),
        *("--dropout", 0, "--word-dropout", 0, "--no-decay", "--no-characters"),
    ]
    assert tagging.main(list(map(str, arguments))) == 0
    assert capsys.readouterr().err == ""
    assert json.loads((out / "metrics.json").read_text())["test_span_f1"] == 1
    saved = keras.saving.load_model(out / "model.keras")
    assert [each.name for each in saved.inputs] == ["words"]
    assert not any("auxiliary" in each.name for each in saved.layers)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--auxiliary", "3"), "--auxiliary 3 is the column of the tags; expected another."),
        (("--auxiliary", "4"), "expected a word and its tag in columns"),
        (
            ("--auxiliary", "2", "--dataset", "python"),
            "--dataset python has no columns; leave out --auxiliary.",
        ),
    ],
)
def test_an_auxiliary_column_that_cannot_be_is_refused(parsed, tmp_path, capsys, arguments, sentence):
    limit = () if "python" not in arguments else ("--limit", "1")
    options = ["--dataset", str(parsed), "--out", str(tmp_path / "run"), *arguments, *limit]
    assert tagging.main(options) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
