"""The CRF against an enumeration of all sequences, against pytorch-crf, and in `fit`, files and exports."""

import itertools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from problem import MASKS, mask_of

import keras_gates
from keras_gates import CRF, CRFAccuracy, CRFDecoder, CRFLoss, CRFMarginals

BATCH, TIME, LABELS = 4, 5, 3


class Question:
    """Random logits with NaN in the padding, labels, a mask, and scores, in float64."""

    def __init__(self, mask="none", labels=LABELS, time=TIME, seed=0):
        rng = np.random.default_rng(seed)
        self.mask = mask_of(mask, BATCH, time)
        self.there = np.ones((BATCH, time), bool) if self.mask is None else self.mask
        self.logits = np.where(self.there[..., None], rng.normal(0, 2, (BATCH, time, labels)), np.nan)
        self.labels = rng.integers(labels, size=(BATCH, time))
        self.scores = {
            "transitions": rng.normal(size=(labels, labels)),
            "start": rng.normal(size=labels),
            "end": rng.normal(size=labels),
        }

    def rows(self):
        """The logits and labels of each sequence without its padding."""
        for logits, labels, there in zip(self.logits, self.labels, self.there, strict=True):
            yield logits[there], labels[there]

    def layer(self, dtype="float64"):
        layer = CRF(dtype=dtype)
        layer.build(self.logits.shape)
        for name, value in self.scores.items():
            getattr(layer, name).assign(value)
        return layer

    def chain(self, dtype="float64"):
        mask = None if self.mask is None else tf.constant(self.mask)
        return self.layer(dtype)(tf.constant(self.logits, dtype), mask=mask)


def score(logits, path, scores):
    """The score of one sequence of labels, by the formula of the paper; 0 without a step."""
    if len(path) == 0:
        return 0.0
    total = scores["start"][path[0]] + scores["end"][path[-1]]
    total += sum(logits[t, label] for t, label in enumerate(path))
    return total + sum(scores["transitions"][pair] for pair in itertools.pairwise(path))


def enumeration(logits, scores):
    """Every sequence of labels, and its probability."""
    paths = list(itertools.product(range(logits.shape[-1]), repeat=len(logits)))
    weights = np.exp([score(logits, path, scores) for path in paths])
    return paths, weights / weights.sum()


def negative_log_likelihood(question):
    """That of all sequences together."""
    total = 0.0
    for logits, labels in question.rows():
        paths, probabilities = enumeration(logits, question.scores)
        total -= np.log(probabilities[paths.index(tuple(labels))])
    return total


def finite_differences(question, array):
    slopes = np.zeros_like(array)
    for at in np.ndindex(array.shape):
        kept, values = array[at], []
        for step in (1e-5, -1e-5):
            array[at] = kept + step
            values.append(negative_log_likelihood(question))
        array[at] = kept
        slopes[at] = (values[0] - values[1]) / 2e-5
    return slopes


# -- against all sequences of labels


@pytest.mark.parametrize("mask", MASKS)
def test_loss_and_gradients_are_those_of_an_enumeration(mask):
    question = Question(mask, time=4)
    layer, logits = question.layer(), tf.constant(question.logits)
    loss = CRFLoss(reduction="sum", dtype="float64")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        chain = layer(logits, mask=None if mask == "none" else tf.constant(question.mask))
        value = loss(question.labels, chain)
    arrays = {"logits": logits, **{name: getattr(layer, name).value for name in question.scores}}
    slopes = tape.gradient(value, arrays)
    assert float(value) == pytest.approx(negative_log_likelihood(question), abs=1e-9)
    for name, array in {"logits": question.logits, **question.scores}.items():
        expected = finite_differences(question, array)
        np.testing.assert_allclose(slopes[name], expected, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("mask", MASKS)
def test_decoder_and_marginals_are_those_of_an_enumeration(mask):
    question = Question(mask, labels=4)
    chain = question.chain()
    decoded, marginals = CRFDecoder()(chain).numpy(), CRFMarginals()(chain).numpy()
    assert np.all(decoded[~question.there] == 0)
    for row, (logits, _) in enumerate(question.rows()):
        paths, probabilities = enumeration(logits, question.scores)
        there = question.there[row]
        assert tuple(decoded[row, there]) == paths[probabilities.argmax()]
        for t, found in enumerate(marginals[row, there]):
            expected = np.bincount([path[t] for path in paths], probabilities, minlength=4)
            np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_step_is_conditioned_on_the_label_before():
    question = Question()
    chain = question.chain().numpy()
    np.testing.assert_allclose(np.exp(chain).sum(-1), 1)
    for row, (logits, _) in enumerate(question.rows()):
        paths, probabilities = enumeration(logits, question.scores)
        both = np.zeros((LABELS, LABELS))
        for path, probability in zip(paths, probabilities, strict=True):
            both[path[2], path[3]] += probability
        np.testing.assert_allclose(np.exp(chain[row, 3]), both / both.sum(-1, keepdims=True))


def test_without_scores_it_is_a_softmax_for_each_step():
    question = Question("right")
    question.scores = {name: np.zeros_like(value) for name, value in question.scores.items()}
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    there = question.there
    value = CRFLoss(dtype="float64")(question.labels, question.chain())
    assert float(value) == pytest.approx(float(expected(question.labels[there], question.logits[there])))


# -- well-formed spans

SCHEMES = {
    "BIO": (["O", "B-x", "I-x", "B-y", "I-y"], r"(O|Bx(Ix)*|By(Iy)*)*"),
    "BIOES": (["O", "B-x", "I-x", "E-x", "S-x", "B-y", "E-y"], r"(O|Sx|Bx(Ix)*Ex|ByEy)*"),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_constrained_decoding_is_the_best_well_formed_sequence(scheme, mask):
    names, well_formed = SCHEMES[scheme]
    question = Question(mask, labels=len(names), time=4, seed=1)
    decoded = CRFDecoder(names)(question.chain()).numpy()
    free = CRFDecoder()(question.chain()).numpy()
    assert np.any(decoded != free)
    for row, (logits, _) in enumerate(question.rows()):
        best, most = (), -1.0
        for path, probability in zip(*enumeration(logits, question.scores), strict=True):
            spelled = "".join(names[label].replace("-", "") for label in path)
            if probability > most and re.fullmatch(well_formed, spelled):
                best, most = path, probability
        assert tuple(decoded[row, question.there[row]]) == best


# -- against pytorch-crf


@pytest.mark.parametrize("mask", ["none", "right"])
def test_it_is_pytorch_crf(mask):
    torch = pytest.importorskip("torch")
    torchcrf = pytest.importorskip("torchcrf")
    question = Question(mask, labels=6, time=9)
    question.mask, question.there = (x if x is None else x[:-1] for x in (question.mask, question.there))
    question.logits, question.labels = question.logits[:-1], question.labels[:-1]  # it takes no empty row
    theirs = torchcrf.CRF(6, batch_first=True).double()
    names = {"transitions": "transitions", "start_transitions": "start", "end_transitions": "end"}
    theirs.load_state_dict(
        {theirs_name: torch.tensor(question.scores[name]) for theirs_name, name in names.items()}
    )
    logits = torch.tensor(np.nan_to_num(question.logits), requires_grad=True)
    there = torch.tensor(question.there)
    expected = -theirs(logits, torch.tensor(question.labels), mask=there)
    expected.backward()
    layer, ours = question.layer(), tf.constant(np.nan_to_num(question.logits))
    with tf.GradientTape() as tape:
        tape.watch(ours)
        chain = layer(ours, mask=tf.constant(question.there))
        value = CRFLoss(reduction="sum", dtype="float64")(question.labels, chain)
    slopes = tape.gradient(value, [ours, *(getattr(layer, name).value for name in names.values())])
    assert float(value) == pytest.approx(expected.item(), abs=1e-9)
    for ours_slope, theirs_slope in zip(
        slopes, [logits.grad, *(getattr(theirs, name).grad for name in names)], strict=True
    ):
        np.testing.assert_allclose(ours_slope, theirs_slope.numpy(), atol=1e-9)
    for labels, best, here in zip(
        CRFDecoder()(chain).numpy(), theirs.decode(logits, mask=there), question.there, strict=True
    ):
        assert labels[here].tolist() == best


# -- numbers


def test_half_precision_policies_compute_in_single_precision():
    question = Question("right", time=60)
    logits = question.logits.astype("float16")
    chains = {}
    for policy in ("float32", "mixed_float16"):
        chains[policy] = question.layer(policy)(tf.constant(logits), mask=tf.constant(question.mask))
        decoded = CRFDecoder(dtype=policy)(chains[policy])
        marginals = CRFMarginals(dtype=policy)(chains[policy])
        assert chains[policy].dtype == marginals.dtype == "float32" and decoded.dtype == "int32"
        np.testing.assert_allclose(np.sum(marginals, -1), 1, atol=1e-5)
    np.testing.assert_array_equal(chains["mixed_float16"], chains["float32"])


def test_scores_may_be_large():
    question = Question("holes", time=50)
    question.logits *= 1e4
    question.scores["transitions"] *= 1e4
    loss = CRFLoss(reduction="none")(question.labels, question.chain("float32")).numpy()
    assert np.all(np.isfinite(loss)) and np.all(loss >= 0)


def test_a_long_sequence_costs_no_precision():
    question = Question("holes", time=400)
    np.testing.assert_allclose(question.chain("float32"), question.chain(), atol=1e-5)


@pytest.mark.parametrize("lowest", [-np.inf, np.finfo("float32").min, -1e30])
def test_a_label_may_be_ruled_out_by_its_logit(lowest):
    question = Question("right", time=3)
    question.logits[:, 1, -1] = np.where(question.there[:, 1], lowest, np.nan)
    question.logits[0, 2, 0] = lowest
    question.labels[:] = 1
    logits, layer = tf.constant(question.logits), question.layer()
    with tf.GradientTape() as tape:
        tape.watch(logits)
        chain = layer(logits, mask=tf.constant(question.mask))
        value = CRFLoss(reduction="sum", dtype="float64")(question.labels, chain)
    assert float(value) == pytest.approx(negative_log_likelihood(question), abs=1e-9)
    assert np.all(np.isfinite(tape.gradient(value, logits)))
    decoded = CRFDecoder()(chain).numpy()
    for row, (values, _) in enumerate(question.rows()):
        paths, probabilities = enumeration(values, question.scores)
        assert tuple(decoded[row, question.there[row]]) == paths[probabilities.argmax()]


def test_a_label_that_does_not_exist_gives_nan():
    question = Question("right")
    question.labels[0, 1] = LABELS
    question.labels[~question.there] = -1  # of padding, whatever it holds
    loss = CRFLoss(reduction="none")(question.labels, question.chain()).numpy()
    assert np.isnan(loss).sum() == 1 and np.isnan(loss[0, 1])


# -- in models


def tagger(labels=LABELS):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(6, 4, mask_zero=True)(inputs)
    x = keras_gates.GRU(5, return_sequences=True)(x)
    return keras.Model(inputs, CRF()(keras.layers.Dense(labels)(x)))


def sentences(seed=0):
    """Ids, 0 for padding, and labels that depend on the label before: each 1 switches, the others keep it."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 6, size=(64, 8)) * (np.arange(8) < rng.integers(3, 9, size=(64, 1)))
    return ids, np.cumsum(ids == 1, axis=1) % LABELS * (ids > 0)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = tagger()
    model.compile(keras.optimizers.Adam(0.03), CRFLoss(), weighted_metrics=[CRFAccuracy()])
    history = model.fit(*sentences(), batch_size=16, epochs=20, verbose=0).history
    return model, history


def test_fit_learns_and_reports_what_evaluate_reports(trained):
    model, history = trained
    assert history["loss"][-1] < history["loss"][0] / 5
    ids, labels = sentences()
    found = model.evaluate(ids, labels, verbose=0, return_dict=True)
    decoded = keras.Model(model.input, CRFDecoder()(model.output)).predict(ids, verbose=0)
    assert found["accuracy"] == pytest.approx(np.mean((decoded == labels)[ids > 0]), abs=1e-6)
    assert found["accuracy"] > 0.9
    assert np.all(decoded[ids == 0] == 0)


def test_padding_changes_nothing(trained):
    model, _ = trained
    ids, labels = sentences(1)
    wider = [np.pad(array, ((0, 0), (0, 5))) for array in (ids, labels)]
    narrow, wide = (model.evaluate(*given, batch_size=64, verbose=0) for given in ((ids, labels), wider))
    np.testing.assert_allclose(narrow, wide, rtol=1e-5)


def test_a_compiled_model_is_saved_and_trains_on(trained, tmp_path):
    model, _ = trained
    model.save(tmp_path / "tagger.keras")
    loaded = keras.saving.load_model(tmp_path / "tagger.keras")
    data = sentences(2)
    ours, theirs = (one.evaluate(*data, verbose=0, return_dict=True) for one in (model, loaded))
    assert ours == pytest.approx(theirs)
    assert loaded.fit(*data, epochs=5, verbose=0).history["loss"][-1] < theirs["loss"]


def test_an_export_decodes_with_tensorflow_alone(trained, tmp_path):
    model, _ = trained
    names = ["O", "B-x", "I-x"]
    outputs = {"tags": CRFDecoder(names)(model.output), "probabilities": CRFMarginals()(model.output)}
    whole = keras.Model(model.input, outputs)
    whole.save(tmp_path / "whole.keras")
    keras_gates.export(whole, tmp_path / "exported")
    served = tf.saved_model.load(tmp_path / "exported").signatures
    assert "step" not in served  # the best sequence depends on the steps to come
    ids, _ = sentences(3)
    loaded = keras.saving.load_model(tmp_path / "whole.keras")(ids)
    for given in (ids, ids[:1, :4]):
        expected, found = whole(given), served["serving_default"](inputs=tf.constant(given, "int32"))
        np.testing.assert_array_equal(found["tags"], expected["tags"])
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-6)
    np.testing.assert_array_equal(loaded["tags"], whole(ids)["tags"])


# -- errors


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: CRF()(np.zeros((2, 3))), "expects logits of shape (batch, time, labels); got shape (2, 3)"),
        (lambda: CRF()(keras.Input((4, None))), "got shape (None, 4, None)"),
        (lambda: CRFDecoder()(np.zeros((2, 3, 4))), "CRFDecoder expects what CRF returns"),
        (lambda: CRFMarginals()(np.zeros((2, 3, 4, 5))), "CRFMarginals expects what CRF returns"),
        (
            lambda: CRFDecoder(["O", "PER"]),
            "must be O or of the form B-PER, I-PER, E-PER or S-PER; got",
        ),
        (lambda: CRFDecoder(["O", 3]), "I-PER, E-PER or S-PER; got 3"),
        (lambda: CRFDecoder("O"), "`names` must be a list of the labels' names; got 'O'"),
        (lambda: CRFDecoder.from_config({"names": {"a": 1}}), "`names` must be a list of the labels' names"),
        (lambda: CRFDecoder(["O", "B-x"])(np.zeros((1, 2, 3, 3))), "each of the 3 labels; got 2"),
        (lambda: CRFLoss()(np.zeros((2, 3)), np.zeros((2, 3, 4))), "got shapes (2, 3) and (2, 3, 4)"),
    ],
)
def test_bad_input_is_told_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()
