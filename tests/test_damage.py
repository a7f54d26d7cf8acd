"""A damaged SavedModel is refused with one sentence, or answers as if nothing had happened."""

import functools
import os
import random
import shutil

import keras
import numpy as np
import pytest

import keras_gates
from benchmarks import soak

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is written with the TensorFlow backend", allow_module_level=True)

SAMPLE = 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An exported model of text, and what it answers."""
    path = tmp_path_factory.mktemp("whole") / "model"
    keras_gates.export(soak.small_model(), path, metadata={"classes": ["bad", "good"]})
    return path, soak.answers(keras_gates.load(path))


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "model")


def put(name, content, copy):
    (copy / name).write_bytes(content)


def assert_refused(path, sentence="is damaged"):
    with pytest.raises(ValueError, match=sentence) as error:
        keras_gates.load(path)
    assert str(error.value).startswith(f"The SavedModel at {path} is damaged: ")
    assert "\n" not in str(error.value)


# -- the damages that were seen, by name, in a model without a list of digests as well

WEIGHTS = "variables/variables.data-00000-of-00001"
NAMED = {
    "weights cut short": lambda copy: os.truncate(copy / WEIGHTS, 100),
    "weights emptied": functools.partial(put, WEIGHTS, b""),
    "weights missing": lambda copy: (copy / WEIGHTS).unlink(),
    "no folder of weights": lambda copy: shutil.rmtree(copy / "variables"),
    "index missing": lambda copy: (copy / "variables/variables.index").unlink(),
    "a folder for the index": lambda copy: soak.become_folder(copy / "variables/variables.index"),
    "a folder for metadata.json": lambda copy: soak.become_folder(copy / "metadata.json"),
    "graph emptied": functools.partial(put, "saved_model.pb", b""),
    "graph cut short": lambda copy: os.truncate(copy / "saved_model.pb", 5000),
    "graph of garbage": functools.partial(put, "saved_model.pb", random.Random(0).randbytes(9000)),
    "no functions": lambda copy: rewritten(copy, lambda graph: graph.graph_def.ClearField("library")),
    "functions renamed": lambda copy: rewritten(copy, rename_functions),
    **{f"metadata {text[:16]!r}": functools.partial(put, "metadata.json", text) for text in soak.METADATA},
}


def rewritten(copy, change):
    """Parse the graph of a SavedModel, change it and write it back."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes())
    change(saved.meta_graphs[0])
    (copy / "saved_model.pb").write_bytes(saved.SerializeToString())


def rename_functions(graph):
    for function in graph.graph_def.library.function:
        function.signature.name += "_other"


@pytest.mark.parametrize("digests", [True, False], ids=["listed", "unlisted"])
@pytest.mark.parametrize("name", NAMED)
def test_known_damages_are_one_sentence(copy, name, digests):
    NAMED[name](copy)
    if not digests:
        (copy / "SHA256SUMS").unlink()
    assert_refused(copy)


def test_what_is_damaged_is_named(copy):
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[:-1])
    assert_refused(copy, f"{WEIGHTS} is not as it was written.$")
    (copy / WEIGHTS).unlink()
    assert_refused(copy, f"{WEIGHTS} is missing.$")
    (copy / "metadata.json").write_text("[]")
    (copy / "SHA256SUMS").unlink()
    assert_refused(copy, "metadata.json is not a dict")


def test_a_weight_changed_where_tensorflow_sees_nothing_is_refused(copy):
    """Other numbers, written by TensorFlow with checksums of its own: only the digest tells."""
    saved = tf.saved_model.load(str(copy))
    saved.signatures["serve"].variables[0].assign_add(tf.ones_like(saved.signatures["serve"].variables[0]))
    other = copy.with_name("other")
    tf.saved_model.save(saved, str(other), signatures=saved.signatures)
    shutil.copytree(other / "variables", copy / "variables", dirs_exist_ok=True)
    assert_refused(copy, "variables/variables.data")
    (copy / "SHA256SUMS").unlink()
    keras_gates.load(copy)


# -- any damage


def test_a_sample_of_all_damages_is_refused_or_without_effect(whole, tmp_path):
    path, expected = whole
    cases = random.Random(0).sample(list(soak.damages(path, flips=8)), SAMPLE)
    found = {what: soak.after_damage(path, damage, expected) for what, damage in cases}
    assert set(found.values()) == {"as before", "refused"}, found


def test_every_damage_of_a_file_that_is_read_is_refused(whole, tmp_path):
    """But for README.txt, which is for people, and the list itself, without which a model loads unchecked."""
    path, expected = whole
    for what, damage in soak.damages(path, flips=1):
        if not what.startswith("README.txt") and what != "SHA256SUMS: removed":
            copy = shutil.copytree(path, tmp_path / "copy")
            damage(copy)
            assert soak.outcome(copy, expected) == "refused", what
            shutil.rmtree(copy)


# -- what is no damage


def test_files_of_the_user_s_own_are_left_alone(whole, copy):
    """As TensorFlow Serving has them, and notes in README.txt."""
    (copy / "assets.extra").mkdir()
    (copy / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"\x00\x01")
    (copy / "notes.txt").write_text("mine")
    with (copy / "README.txt").open("a") as readme:
        readme.write("Trained on a Tuesday.")
    assert soak.outcome(copy, whole[1]) == "as before"


def test_a_model_without_a_list_of_digests_loads(whole, copy):
    (copy / "SHA256SUMS").unlink()
    assert soak.outcome(copy, whole[1]) == "as before"


def test_a_saved_model_of_another_program_loads(tmp_path):
    module = tf.Module()
    module.twice = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None], name="x")])
    tf.saved_model.save(module, str(tmp_path / "model"), {"serving_default": module.twice})
    served = keras_gates.load(tmp_path / "model")
    assert served.metadata == {}
    np.testing.assert_array_equal(served([1.0, 2.0]), [2.0, 4.0])


def test_a_path_without_a_model_is_not_found(tmp_path):
    (tmp_path / "file").write_text("text")
    for path in ("missing", "file", "file/model", ".", "a\0b", "n" * 300):
        with pytest.raises(FileNotFoundError, match="There is no SavedModel at ") as error:
            keras_gates.load(tmp_path / path)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
@pytest.mark.parametrize("name", ["saved_model.pb", WEIGHTS, "metadata.json", "SHA256SUMS", "variables"])
@pytest.mark.parametrize("digests", [True, False], ids=["listed", "unlisted"])
def test_a_file_that_may_not_be_read_is_one_sentence(copy, name, digests):
    if not digests:
        (copy / "SHA256SUMS").unlink()
    if not (copy / name).exists():
        pytest.skip("that file was removed")
    (copy / name).chmod(0)
    if os.access(copy / name, os.R_OK):
        pytest.skip("this user may read everything")
    try:
        assert_refused(copy)
    finally:
        (copy / name).chmod(0o755)
