"""Models that write, exported: the same text as in Python, where only TensorFlow and NumPy are installed."""

import importlib
import json
import textwrap
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_gates

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is written with the TensorFlow backend", allow_module_level=True)

models = importlib.import_module("test_writing")
run = importlib.import_module("test_saved_model").run
PROMPTS, STOP = models.PROMPTS, models.STOP
SAMPLING = keras_gates.Sampling(temperature=0.7)


def words(texts, split="whitespace"):
    layer = keras.layers.TextVectorization(split=split, standardize=None)
    layer.adapt(texts)
    return layer


def translator():
    """From strings to strings, with attention."""
    source, target = words(["der hund", "die katze"]), words(["<s> the dog </s>", "a cat </s>"])
    heard, said = (keras.Input((), dtype="string", name=name) for name in ("heard", "said"))
    x = keras.layers.Embedding(source.vocabulary_size(), 3, mask_zero=True)(source(heard))
    memory = keras.layers.Bidirectional(keras_gates.GRU(3, return_sequences=True))(x)
    x = keras.layers.Embedding(target.vocabulary_size(), 3)(target(said))
    cell = keras_gates.LuongCell(keras_gates.GRUCell(4))
    x = keras_gates.AttentionRNN(cell, return_sequences=True, name="decoder")(x, memory=memory)
    return models.randomized(keras.Model([heard, said], keras.layers.Dense(target.vocabulary_size())(x)))


TEXTS = ["der hund", "die die katze", "hund"]
TRANSLATOR = {"over": "said", "start": "<s>", "stop": "</s>", "how": SAMPLING}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The translator, and where it is exported to."""
    model, path = translator(), tmp_path_factory.mktemp("translator") / "model"
    keras_gates.export(model, path, (), write=TRANSLATOR)
    return model, path


def assert_same(ours, theirs):
    for name in "tokens", "lengths", "stopped":
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-5)
    assert ours.alignments.keys() == theirs.alignments.keys()
    for name, alignment in ours.alignments.items():
        np.testing.assert_allclose(alignment, theirs.alignments[name], rtol=0, atol=1e-5)
    assert ours.text == theirs.text


def test_strings_go_in_and_come_out(exported):
    model, path = exported
    served = keras_gates.load(path)
    how = keras_gates.Sampling(temperature=0.7, seed=3)
    written = keras_gates.write(model, context=TEXTS, length=12, **{**TRANSLATOR, "how": how})
    assert_same(served.write(TEXTS, length=12, temperature=0.7, seed=3), written)
    assert len(set(written.text)) == 3 and "decoder" in written.alignments
    told = keras_gates.write(model, context=TEXTS, prompt=["the", "", "a cat"], **{**TRANSLATOR, "how": how})
    assert_same(served.write(TEXTS, ["the", "", "a cat"], temperature=0.7, seed=3), told)
    assert served.write(TEXTS, seed=3).text != served.write(TEXTS, seed=4).text
    keras.utils.set_random_seed(1)
    assert served.write(TEXTS).text != served.write(TEXTS).text


@pytest.fixture(scope="module")
def elsewhere(exported):
    """What two processes print that have TensorFlow alone; the first runs the code of README.txt before."""
    _, path = exported
    text = (path / "README.txt").read_text()
    text = text.split("\nSignatures\n")[0].replace("THIS FOLDER", str(path))
    readme = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    code = f"""
        import json, tensorflow as tf
        write = tf.saved_model.load({str(path)!r}).signatures["write"]
        written = write(
            heard=tf.constant({TEXTS!r}), prompt=tf.constant(["", "", ""]), length=tf.constant(12),
            temperature=tf.constant(0.7), seed=tf.constant(3),
        )
        texts = [text.decode() for text in written["text"].numpy()]
        print(json.dumps([texts, written["tokens"].numpy().tolist()]))
    """
    code = textwrap.dedent(code)
    return [run(each).splitlines() for each in (f"{readme}\nprint(tokens.shape)\n{code}", code)]


def test_it_writes_where_only_tensorflow_is_and_the_same_in_two_processes(exported, elsewhere):
    model, _ = exported
    one, two = (json.loads(printed[-1]) for printed in elsewhere)
    how = keras_gates.Sampling(temperature=0.7, seed=3)
    written = keras_gates.write(model, context=TEXTS, length=12, **{**TRANSLATOR, "how": how})
    assert one == two == [written.text, written.tokens.tolist()]


def test_readme_says_how_and_its_code_runs(elsewhere):
    assert elsewhere[0][-2].endswith("(2, 1)")


def test_a_stream_yields_the_same_as_it_writes(exported):
    _, path = exported
    served = keras_gates.load(path)
    whole = served.write(TEXTS, length=12, seed=5)
    steps = list(served.write_stream(TEXTS, length=12, seed=5))
    assert all(step.tokens.shape == (3, 1) for step in steps)
    np.testing.assert_array_equal(np.concatenate([step.tokens for step in steps], 1), whole.tokens)
    np.testing.assert_array_equal(sum(step.lengths for step in steps), whole.lengths)
    gap = [" ".join(step.text[k] for step in steps if step.lengths[k]) for k in range(3)]
    assert gap == whole.text


@pytest.mark.parametrize("kind", [models.stack, models.tutorial])
@pytest.mark.parametrize("how", ["greedy", keras_gates.Beam(3, 0.6, n_best=2)], ids=str)
def test_tokens_go_in_and_come_out(kind, how, tmp_path):
    model, context = kind()
    options = {"over": "said", "stop": STOP, "how": how}
    keras_gates.export(model, tmp_path / "model", (), write=options)
    served = keras_gates.load(tmp_path / "model")
    ours = keras_gates.write(model, context=context, prompt=PROMPTS, length=8, **options)
    theirs = served.write(context, PROMPTS, length=8)
    assert {name.replace("/", "_") for name in ours.alignments} == set(theirs.alignments)
    alignments = dict(zip(theirs.alignments, ours.alignments.values(), strict=True))
    assert_same(replace(ours, alignments=alignments), theirs)


def test_values_that_are_no_classes_are_written(tmp_path):
    model = models.piano_roll()
    keras_gates.export(model, tmp_path / "model", (), write={"how": "sampling"})
    first = np.ones((2, 3, 4), "float32")
    served = keras_gates.load(tmp_path / "model")
    ours = keras_gates.write(model, prompt=first, length=6, how=keras_gates.Sampling(seed=8))
    assert_same(ours, served.write(prompt=first, length=6, seed=8))


def test_a_vocabulary_beside_the_model_is_exported_with_it(tmp_path):
    layer = keras.layers.TextVectorization(vocabulary=["</s>", "<s>", "a", "b"], standardize=None)
    options = {"start": "<s>", "stop": "</s>", "vocabulary": layer}
    keras_gates.export(models.small_language_model(), tmp_path / "model", (), write=options)
    served = keras_gates.load(tmp_path / "model")
    ours = keras_gates.write(models.small_language_model(), prompt=["a", "b a"], length=7, **options)
    assert_same(ours, served.write(prompt=["a", "b a"], length=7))


def test_what_is_wrong_is_said_in_a_sentence(tmp_path, exported):
    model = models.small_language_model()
    for options, match in (
        ({"above": "said"}, "`write` must be a dict of 'over', 'start', .*; got 'above'"),
        (True, "`write` must be a dict of .*; got bool"),
        ({"stop": 9}, "`stop` must be classes from 0 to 5; got 9"),
        ({"start": 9}, "must be from 0 to 5; got"),
        ({"over": "heard"}, "`over` must be an input of the model"),
    ):
        with pytest.raises(ValueError, match=match):
            keras_gates.export(model, tmp_path / "model", write=options)
    assert not (tmp_path / "model").exists()
    keras_gates.export(model, tmp_path / "model", (), write={"how": "beam"})
    served = keras_gates.load(tmp_path / "model")
    for given, match in (
        ({"prompt": None}, "Nothing would be heard: give a `prompt`"),
        ({"prompt": [[1], []]}, "Nothing would be heard: give a `prompt`"),
        ({"prompt": [[1]], "length": 0}, "`length` must be a positive integer; got 0"),
        ({"prompt": [[1]], "context": {"heard": 1}}, "takes a dict of .*; got heard"),
    ):
        with pytest.raises(ValueError, match=match):
            served.write(**given)
    with pytest.raises(ValueError, match="no endpoint 'write_begin'"):
        served.write_stream(prompt=[[1]])
    served = keras_gates.load(exported[1])
    with pytest.raises(ValueError, match=r"as many rows; got .*'heard': 3, 'prompt': 1"):
        served.write(TEXTS, "the")
    with pytest.raises(TypeError, match="`heard` must be strings"):
        served.write([1, 2])
    with pytest.raises(ValueError, match=r"takes a dict of heard"):
        served.write({"said": TEXTS})
