"""The task of captions: its data, its network against what it should compute, its runs from the outside."""

import io
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import keras
import sacrebleu
from PIL import Image

import keras_gates
from experiments.captioning import __main__ as captioning
from experiments.captioning import bounds, data, examples, looks, measures, where
from experiments.captioning.captioner import Caption, Captioner
from experiments.captioning.data import glyphs
from experiments.captioning.data.captioned import Captioned, Part
from experiments.captioning.network import Network
from experiments.captioning.problem import prepare
from experiments.captioning.words import END, START, UNKNOWN, Vocabulary
from experiments.common import fitting, training, written
from experiments.common.run_folder import RunFolder, load_network, read_config
from experiments.inspect import __main__ as inspect

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 220), "black": (0, 0, 0)}
PLACES = {"top": (2, 8), "bottom": (14, 8), "left": (8, 2), "right": (8, 14)}
TINY = [
    *("--size", "24x24", "--filters", "8", "--stages", "2", "--units", "24", "--embedding", "12"),
    *("--batch-size", "16", "--epochs", "45", "--learning-rate", "0.01", "--jitter", "0"),
    *("--dropout", "0", "--picture-dropout", "0", "--word-dropout", "0"),
]


def square(colour, place, shift):
    """A coloured square on white, uint8 (24, 24, 3)."""
    picture = np.full((24, 24, 3), 255, "uint8")
    row, column = np.add(PLACES[place], shift)
    picture[row : row + 8, column : column + 8] = COLOURS[colour]
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Squares in the layout of Flickr8k."""
    path = tmp_path_factory.mktemp("squares")
    (path / "Images").mkdir()
    rows = ["image,caption"]
    for colour in COLOURS:
        for place in PLACES:
            for shift in np.ndindex(3, 3):
                name = f"{colour}-{place}-{shift[0]}{shift[1]}.png"
                Image.fromarray(square(colour, place, np.subtract(shift, 1))).save(path / "Images" / name)
                rows.append(f'{name},"A {colour} square , at the {place} ."')
    (path / "captions.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def train(folder, out, *arguments):
    return captioning.main(["--dataset", str(folder), *TINY, *map(str, arguments), "--out", str(out)])


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "squares"
    assert train(folder, out, "--trace") == 0
    return out


@pytest.fixture(scope="module")
def characters():
    return data.read("glyphs", "48x48")


def fails(capsys, *arguments):
    """What a command that cannot be done says, in one line."""
    assert captioning.main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


def options(*arguments):
    return captioning.train_parser().parse_args([*TINY, *arguments])


def test_a_preset_changes_defaults_only():
    chosen = captioning.train_parser("glyphs-best").parse_args(["--preset", "glyphs-best", "--units", "8"])
    assert chosen.units == 8
    assert chosen.attention == "none" and options().attention == "soft"


# -- characters


def test_a_test_picture_was_never_seen(characters):
    seen = {picture.tobytes() for picture in characters.train.pictures}
    assert len(seen) == len(characters.train)
    for part in (characters.validation, *characters.tests.values()):
        assert len(part) > 500
        assert not any(picture.tobytes() in seen for picture in part.pictures)


def test_the_names_are_those_of_what_is_drawn(characters):
    """Every name of a picture belongs to a character that some face draws so, pixel by pixel."""
    for name, part in characters.parts().items():
        faces = [face for face in glyphs.FACES if name == "faces" or face not in glyphs.HELD_OUT]
        for picture, captions in list(zip(part.pictures, part.captions, strict=True))[:10]:
            for caption in captions:
                drawn = [
                    glyphs.draw(unicodedata.lookup(caption), face, (48, 48))
                    for face in (glyphs.FACES if name != "train" else faces)
                ]
                assert any(np.array_equal(each, picture[..., 0]) for each in drawn), caption


def test_unseen_characters_have_known_words_and_new_names(characters):
    learnt = {caption for captions in characters.train.captions for caption in captions}
    words = {word for caption in learnt for word in caption.split()}
    named = [set(captions) for captions in characters.tests["characters"].captions]
    assert not any(names & learnt for names in named if len(names) == 1)
    assert all(any(set(name.split()) <= words for name in names) for names in named)
    known = [set(captions) & learnt for captions in characters.tests["faces"].captions]
    assert all(known)


def test_characters_drawn_alike_have_all_their_names(characters):
    picture = glyphs.draw("A", "DejaVuSans", (48, 48))
    captions = next(
        captions
        for each, captions in zip(characters.train.pictures, characters.train.captions, strict=True)
        if np.array_equal(each[..., 0], picture)
    )
    assert {"LATIN CAPITAL LETTER A", "GREEK CAPITAL LETTER ALPHA", "CYRILLIC CAPITAL LETTER A"} >= {
        caption for caption in captions if caption.split()[0] in ("LATIN", "GREEK", "CYRILLIC")
    }
    assert len(captions) > 1


def test_how_near_drawings_are_to_those_of_other_captions():
    """Of 9 black pixels, the nearest drawing of another caption lacks two, or a fifth of one."""

    def part(captions, *lacking):
        pictures = np.zeros((len(lacking), 3, 3, 1), "uint8")
        for picture, (pixels, grey) in zip(pictures, lacking, strict=True):
            picture.reshape(-1)[:pixels] = grey
        return Part(pictures, captions)

    full = part([("a", "b")], (0, 0))
    train = part([("b", "c"), ("d",)], (1, 255), (2, 255))
    test = Captioned(train, train, {"": full})
    nearest, closest = bounds.compared(full, test)
    assert nearest.tolist() == [True]
    np.testing.assert_allclose(closest, [2 / 9], rtol=1e-6)
    train = part([("b", "c"), ("d",)], (1, 255), (1, 51))
    nearest, closest = bounds.compared(full, Captioned(train, train, {"": full}))
    assert nearest.tolist() == [False]
    np.testing.assert_allclose(closest, [0.2**2 / 9], rtol=1e-6)


def test_which_captions_are_put_together_of_known_ones():
    is_composable = bounds.composable_from(
        {"LATIN LETTER A WITH DOT", "LATIN LETTER B WITH RING AND HOOK", "SMALL C", "PLUS SIGN"}
    )
    composable = ("LATIN LETTER A WITH HOOK AND DOT", "LATIN LETTER B WITH DOT", "SMALL C WITH RING")
    assert all(map(is_composable, composable))
    others = ("PLUS", "SMALL C", "LATIN LETTER A WITH TAIL", "LATIN LETTER D WITH DOT", "A WITH DOT")
    assert not any(map(is_composable, others))
    assert (
        bounds.in_other_case("LATIN SMALL LETTER C WITH SMALL E") == "LATIN CAPITAL LETTER C WITH CAPITAL E"
    )


# -- files


def test_the_layout_of_flickr8k(tmp_path):
    """Five pictures with five captions each, in the form of its captions.txt."""
    (tmp_path / "Images").mkdir()
    names = [f"{number}_{'ab' * 5}.jpg" for number in range(1000268201, 1000268206)]
    lines = ["image,caption"]
    for shade, name in enumerate(names):
        Image.new("RGB", (50 + shade, 40), (shade * 40, 0, 0)).save(tmp_path / "Images" / name)
        lines += [
            f"{name},A child in a pink dress is climbing up a set of stairs in an entry way .",
            f'{name},"A little girl , aged {shade} , climbs ."',
            f'{name},"A sign says ""stop"" ."',
            f"{name},A dog 's ball .",
            f"{name},A dog 's ball .",
        ]
    (tmp_path / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = data.folders.read(tmp_path, (16, 16))
    parts = read.parts().values()
    assert sum(map(len, parts)) == 5
    shades = {}
    for part in parts:
        assert part.pictures.shape[1:] == (16, 16, 3)
        for picture, captions in zip(part.pictures, part.captions, strict=True):
            first, girl, sign, dog = captions
            assert first == "a child in a pink dress is climbing up a set of stairs in an entry way"
            assert (sign, dog) == ("a sign says stop", "a dog s ball")
            shades[girl] = int(picture[8, 8, 0])
    for shade in range(5):
        assert shades[f"a little girl aged {shade} climbs"] == pytest.approx(shade * 40, abs=3)


def test_a_table_of_files_and_captions(tmp_path):
    rows = ["caption,file"]
    for number in range(40):
        Image.new("L", (9, 9), number).save(tmp_path / f"{number}.png")
        rows.append(f"Grey {number}!,{number}.png")
    (tmp_path / "my.csv").write_text("\n".join(rows), encoding="utf-8")
    read = data.read(str(tmp_path / "my.csv"), "8x8", limit=2)
    assert [len(part) for part in read.parts().values()] == [2, 2, 2]
    for part in read.parts().values():
        for picture, captions in zip(part.pictures, part.captions, strict=True):
            assert captions == (f"grey {picture[0, 0, 0]}",)


BAD_TABLES = {
    "no table": (None, "There is no file"),
    "no column": (
        "image,text\na.png,x\n",
        "must have the columns file, or image, and caption; found image, text",
    ),
    "nothing": ("", "found nothing"),
    "no word": ("image,caption\na.png,x\na.png,.\n", "line 3: the caption has no word"),
    "no file": ("image,caption\n,x\n", "line 2: the name of the file is missing"),
    "few columns": ("image,caption\na.png\n", "line 2: the caption has no word"),
    "no picture": ("image,caption\nb.png,x\n", "b.png"),
    "not a picture": ("image,caption\nc.png,x\n", "c.png cannot be read as a picture"),
    "too few": ("image,caption\na.png,x\n", "has too few pictures"),
    "not UTF-8": (b"image,caption\na.png,\xff\n", "is not UTF-8 text"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_folder_is_refused_in_one_sentence(case, tmp_path, capsys):
    table, expected = BAD_TABLES[case]
    (tmp_path / "Images").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "Images" / "a.png")
    (tmp_path / "Images" / "c.png").write_text("no picture", encoding="utf-8")
    if table is not None:
        (tmp_path / "captions.txt").write_bytes(table if isinstance(table, bytes) else table.encode())
    assert expected in fails(capsys, "--dataset", tmp_path, *TINY, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_dataset_is_refused(capsys):
    assert "neither glyphs, coco_captions, a folder nor a .csv file" in fails(capsys, "--dataset", "none")


def test_coco_is_read_through_tensorflow_datasets(monkeypatch):
    """Its parts, with made-up rows in the form of its features."""

    class Rows(list):
        def take(self, count):
            return Rows(self[:count])

    class Builder:
        def as_dataset(self, split, shuffle_files):
            shade = {"train+restval": 10, "val": 20, "test": 30}[split]
            image = np.full((6, 9, 3), shade, "uint8")
            return Rows(
                {"image": image, "captions": {"text": [f"It 's {shade} .".encode(), b"!"]}} for _ in "ab"
            )

    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(data.coco.prepared, "builder", lambda name: Builder())
    monkeypatch.setattr(tfds, "as_numpy", list)
    read = data.read("coco_captions", "8x8", limit=1)
    assert [part.captions for part in read.parts().values()] == [
        [("it s 10",)],
        [("it s 20",)],
        [("it s 30",)],
    ]
    assert [part.pictures.mean() for part in read.parts().values()] == [10, 20, 30]


# -- words and batches


def test_rare_words_are_unknown():
    vocabulary = Vocabulary.of(["a dog", "a cat", "a dog runs"], least_count=2)
    assert vocabulary.names[UNKNOWN + 1 :] == ("a", "dog")
    a, dog = UNKNOWN + 1, UNKNOWN + 2
    assert vocabulary.numbers(["a dog", "dog cat"]) == [[a, dog, END], [dog, UNKNOWN, END]]


def test_a_picture_is_shifted_and_zoomed_by_linear_interpolation():
    """Against NumPy's interpolation, line by line."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (3, 9, 12, 2)).astype("uint8")
    moved = examples.jittered(pictures, 0.3, np.random.default_rng(5))
    draws = np.random.default_rng(5)
    down, right = (draws.uniform(-0.3, 0.3, (2, 3)) for _ in range(2))
    for number, picture in enumerate(pictures.astype(float)):
        for axis, (shift, zoom) in enumerate((down[:, number], right[:, number])):
            size = picture.shape[axis]
            source = (np.arange(size) - (size - 1) / 2) * (1 + zoom) + (size - 1) / 2 + shift * size
            picture = np.apply_along_axis(
                lambda line, at: np.interp(at, range(len(line)), line), axis, picture, source
            )
        np.testing.assert_allclose(moved[number], picture, atol=0.51)


def test_the_jitter_of_an_epoch_depends_on_its_batches_alone(folder):
    part = data.read(str(folder), "24x24", limit=20).train
    vocabulary = Vocabulary.of(part.examples()[1], 1)
    made = examples.batches(part, vocabulary, options(), jitter=0.1)
    first, again, next_epoch = (made.collate(made.epoch(number)[0])[0]["picture"] for number in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, next_epoch)


# -- the network


def network(*arguments):
    keras.utils.set_random_seed(3)
    return Network(9, options(*arguments))


def batch(seed=0):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (4, 24, 24, 3)).astype("uint8")
    heard = np.array([[START, 4, 5, 6], [START, 7, 0, 0], [START, 8, 4, 0], [START, 4, 4, 4]], "int32")
    return {"picture": pictures, "heard": heard}


@pytest.mark.parametrize(
    ("image", "attention"),
    [("none", "none"), ("state", "none"), ("step", "none"), ("none", "soft"), ("state", "hard")],
)
def test_only_the_network_without_a_picture_does_not_depend_on_it(image, attention):
    model = network("--image", image, "--attention", attention, "--layers", "2").serving()
    given, other = batch(0), batch(1)
    other["heard"] = given["heard"]
    same = np.allclose(model(given, training=False), model(other, training=False), atol=1e-6)
    assert same == (image == attention == "none")


@pytest.mark.parametrize("cell", ["slstm", "clockwork"])  # the one normalises, the other counts its steps
def test_any_cell_captions(cell):
    model = network("--cell", cell, "--layers", "2").serving()
    captioner = Captioner(model, ("", "[START]", "[END]", "[UNK]", *"abcde"), longest=3, beam=2)
    (caption,) = captioner.write(batch()["picture"][:1])
    assert set(caption.words) <= {*"abcde", "[UNK]", "[START]", ""}
    assert caption.looked.shape == (len(caption.words), 6, 6)


def test_hard_attention_looks_at_one_place():
    alignment = keras_gates.trace(network("--attention", "hard").serving(), batch())["decoder"]["alignment"]
    assert set(np.unique(alignment[0])) == {0, 1}
    np.testing.assert_array_equal(alignment[0].sum(axis=-1), 1)


@pytest.mark.parametrize("image", ["none", "state"])
def test_the_doubly_stochastic_loss_is_that_of_the_paper(image):
    """Xu et al. 2015, eq. 14, from alignments that are traced in the model which is saved."""
    made = network("--doubly-stochastic", "0.3", "--image", image)
    given, said = batch(), np.array([[4, 5, 6, END], [7, END, 0, 0], [8, 4, END, 0], [4, 4, 4, END]])
    serving, training = made.serving(), made.training()
    fitting.compile_model(training, options(), steps=1)
    counts = given["heard"] != 0
    found = training.evaluate(given, said, sample_weight=counts.astype("float32"), verbose=0)
    probabilities = keras.ops.convert_to_numpy(serving(given, training=False))
    chosen = np.take_along_axis(probabilities, said[..., None], axis=-1)[..., 0]
    alignment = keras_gates.trace(serving, given)["decoder"]["alignment"]
    looked = np.where(counts[..., None], alignment, 0).sum(axis=1)
    expected = -np.log(chosen[counts]).mean() + 0.3 * ((1 - looked) ** 2).sum(axis=-1).mean()
    assert found[0] == pytest.approx(expected, rel=1e-4)


# -- measures


def test_edits_to_the_nearest_caption():
    assert written.edit_distance("kitten", "sitting") == 3
    assert written.edit_distance("", "abc") == written.edit_distance("abc", "") == 3
    # the second is nearest to its second reference: one substitution among three words
    assert written.error_rate(["a b", "a b d"], [("a b",), ("x y", "a b c")]) == pytest.approx(1 / 5)


def test_which_words_say_where():
    def said(text):
        words = text.split()
        return {(words[at], half) for at, half in where.halves(words)}

    assert said("LATIN SMALL LETTER A WITH ACUTE") == {("ACUTE", "upper")}
    assert said("LATIN SMALL LETTER D WITH CIRCUMFLEX BELOW") == {("CIRCUMFLEX", "lower"), ("BELOW", "lower")}
    assert said("LATIN SMALL LETTER E WITH CEDILLA AND BREVE") == {("CEDILLA", "lower"), ("BREVE", "upper")}
    assert said("LATIN SMALL LETTER L WITH MIDDLE TILDE") == set()
    assert said("GREEK CAPITAL LETTER ALPHA WITH MACRON") == set()


def test_the_attention_in_the_right_half():
    looked = np.zeros((6, 4, 4))
    looked[5, 0] = 0.2
    looked[5, 3] = 0.05
    acute = Caption(["LATIN", "SMALL", "LETTER", "A", "WITH", "ACUTE"], 0.0, looked)
    below = Caption(["LATIN", "SMALL", "LETTER", "A", "WITH", "CEDILLA"], 0.0, looked)
    assert where.masses([acute, below]) == pytest.approx({"above": 0.8, "below": 0.2, "right_half": 0.5})
    assert where.masses([Caption(acute.words, 0.0, None)]) == {}


def test_a_caption_is_right_if_it_is_one_of_those_of_the_picture():
    captions = [("a", "b"), ("c d",), ("e f",)]
    said = [Caption(text.split(), 0.0, None) for text in ("b", "c d", "c")]
    found = measures.compare(said, captions)
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert found["exact_match_of_one_caption"] == pytest.approx(1 / 2)
    assert found["word_accuracy"] == pytest.approx(1 - 2 / 5)
    long = ["a small cat sat on the mat", "two dogs run in the snow"]
    said = [Caption(text.split(), 0.0, None) for text in long]
    assert measures.compare(said, [("no such words", long[0]), (long[1],)])["bleu"] == pytest.approx(100)
    assert measures.compare(said, [("no such words",), (long[1],)])["bleu"] < 80


# -- runs


def test_a_run_learns_and_its_folder_is_whole(run):
    assert {path.name for path in run.iterdir()} == {
        *("README.md", "config.json", "metrics.json", "history.csv", "learning_curve.png", "checkpoint.npz"),
        *("model.keras", "saved_model", "examples", "attention.png", "attention.html", "inspection"),
    }
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_exact_match"] > 0.8  # by chance one in sixteen
    assert metrics["test_bleu"] > 80
    assert (run / "inspection" / "text-1.html").is_file()
    page = (run / "attention.html").read_text(encoding="utf-8")
    assert page.count("<img") == 8
    assert ">square</button>" in page
    assert Image.open(run / "attention.png").format == "PNG"


def test_the_best_epoch_has_the_best_captions_for_validation(run, folder):
    """Most of them right, and of equally many the highest BLEU."""
    problem = prepare(options("--dataset", str(folder)))
    trained = load_network(run)
    problem.model.set_weights(trained.get_weights())
    part = data.read(str(folder), "24x24").validation
    said = [caption.text for caption in Captioner.of_run(trained, read_config(run)).write(part.pictures)]
    expected = sacrebleu.corpus_bleu(said, [[caption for (caption,) in part.captions]]).score
    exact = np.mean([text in right for text, right in zip(said, part.captions, strict=True)])
    assert expected > 50 and exact > 0.5
    assert problem.score(problem.model) == pytest.approx(exact + expected / 1e6, abs=1e-9)


def test_the_network_that_does_not_look_is_at_chance(folder, tmp_path):
    out = tmp_path / "blind"
    assert train(folder, out, "--image", "none", "--attention", "none", "--epochs", 5) == 0
    assert json.loads((out / "metrics.json").read_text())["test_exact_match"] < 0.3
    assert not (out / "attention.png").exists()


def predicted(capsys, *arguments):
    capsys.readouterr()
    assert captioning.main(["predict", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def saved(picture, path, mode):
    image = Image.fromarray(picture)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype("uint16") * 257)
    elif mode == "RGBA":
        image.putalpha(Image.fromarray(np.where((picture == 255).all(axis=-1), 0, 255).astype("uint8")))
    else:
        image = image.convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "I;16"])
def test_a_picture_of_any_mode_is_captioned(mode, run, tmp_path, capsys):
    path = saved(square("black", "left", (0, 0)), tmp_path / "picture.png", mode)
    assert predicted(capsys, run, path) == f"{path}: a black square at the left\n"


def test_a_large_and_a_tiny_picture_are_captioned(run, tmp_path, capsys):
    big, tiny = tmp_path / "big.jpg", tmp_path / "tiny.png"
    Image.fromarray(square("green", "top", (0, 0))).resize((700, 700), Image.Resampling.NEAREST).save(big)
    Image.new("L", (1, 1), 255).save(tiny)
    lines = predicted(capsys, run, big, tiny, "--format", "json", "--beam", "3").splitlines()
    assert json.loads(lines[0])["caption"] == "a green square at the top"
    assert set(json.loads(lines[1])) == {"image", "caption", "log_probability"}


@pytest.mark.parametrize("suffix", looks.SUFFIXES)
def test_where_the_network_looked_is_drawn_into_a_file(suffix, run, tmp_path, capsys):
    drawn = tmp_path / f"drawn{suffix}"
    predicted(capsys, run, run / "examples" / "1.png", "--attention", drawn)
    beginnings = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!DOCTYPE html>"}
    assert drawn.read_bytes().startswith(beginnings[suffix])


BAD_PICTURES = {
    "no picture": lambda path: path.write_text("no picture", encoding="utf-8"),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(truncated()),
    "a folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
}


def truncated():
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype("uint8")
    Image.fromarray(noise).save(stream, "png")
    return stream.getvalue()[:900]


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_a_bad_picture_is_refused_in_one_sentence(case, run, tmp_path, capsys):
    path = tmp_path / "bad.png"
    BAD_PICTURES[case](path)
    assert str(path) in fails(capsys, "predict", run, path)


def test_bad_options_are_refused_in_one_sentence(run, tmp_path, capsys):
    picture = run / "examples" / "1.png"
    assert "is not a file named" in fails(capsys, "predict", run, picture, "--attention", "drawn.txt")
    assert "is not a finished run" in fails(capsys, "predict", tmp_path, picture)


ALONE = """
import sys
import numpy as np
import tensorflow as tf

write = tf.saved_model.load(sys.argv[1]).signatures["write"]
picture = tf.constant(np.load(sys.argv[2]))
written = write(
    picture=picture,
    prompt=tf.zeros([len(picture), 0], tf.int32),
    prompt_lengths=tf.zeros([len(picture)], tf.int32),
    length=tf.constant(8),
)
assert not {name for name in sys.modules if name.split(".")[0] in ("keras_gates", "experiments")}
print(*(text.decode() for text in written["text"].numpy()), sep="\\n")
"""


def test_the_saved_model_takes_raw_pictures_and_writes_strings(run, tmp_path, capsys):
    """In a process with TensorFlow and NumPy alone, of another size, and what the command writes."""
    pictures = [square(colour, place, (0, 0)) for colour, place in (("red", "top"), ("blue", "right"))]
    large = np.kron(np.array(pictures), np.ones((1, 2, 2, 1), "uint8"))
    np.save(tmp_path / "large.npy", large)
    served = subprocess.run(
        [sys.executable, "-c", ALONE, run / "saved_model", tmp_path / "large.npy"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    paths = [saved(each, tmp_path / f"{number}.png", "RGB") for number, each in enumerate(large)]
    said = predicted(capsys, run, *paths)
    assert served.stdout.splitlines() == [line.partition(": ")[2] for line in said.splitlines()]
    assert served.stdout == "a red square at the top\na blue square at the right\n"


def test_the_ladder_trains_every_way_to_see_thrice_and_prints_a_table(tmp_path, monkeypatch, capsys):
    trained = []

    def train(task, prepare, look, parser, options):
        trained.append((options.image, options.attention, options.seed, options.units))
        metrics = {"parameters": 1000, "test_faces_exact_match": options.seed / 10, "test_signature": "x"}
        if options.attention != "none":
            metrics["test_faces_attention_above"] = 0.5
        options.out = Path(options.out)
        options.out.mkdir(parents=True)
        (options.out / "metrics.json").write_text(json.dumps(metrics))

    monkeypatch.setattr(training, "train", train)
    command = ["ladder", "--units", "7", "--seed", "4", "--out", str(tmp_path)]
    assert captioning.main(command) == 0
    sees = [("none", "none"), ("state", "none"), ("step", "none"), ("step", "soft"), ("step", "hard")]
    assert trained == [(*how, seed, 7) for how in sees for seed in (4, 5, 6)]
    table = capsys.readouterr().out.splitlines()
    assert table[0].split(" | ")[1:] == [
        "parameters",
        "test faces exact match",
        "test faces attention above |",
    ]
    assert table[2] == "| nothing | 1,000 | 0.500 ± 0.100 |  |"
    assert table[6].endswith("| 1,000 | 0.500 ± 0.100 | 0.500 ± 0.000 |")
    assert captioning.main(command) == 0
    assert len(trained) == 15


def test_an_interrupted_run_resumes_to_the_same_bits(folder, tmp_path, monkeypatch):
    """With dropout and jitter, which are drawn anew in every step."""
    chosen = ["--dataset", str(folder), "--limit", "20", "--epochs", "2", "--jitter", "0.1"]
    chosen = options(*chosen, "--dropout", "0.3", "--word-dropout", "0.2", "--picture-dropout", "0.2")
    keep = fitting.Keeper.on_epoch_end

    def stop(keeper, epoch, logs=None):
        keep(keeper, epoch, logs)
        raise KeyboardInterrupt

    def fitted(name, create=RunFolder.create):
        keras.utils.set_random_seed(chosen.seed)
        problem, run = prepare(chosen), create(tmp_path / name)
        run.write_json("config.json", {})
        fitting.compile_model(problem.model, chosen, steps=len(problem.train) * chosen.epochs)
        fitting.fit(problem, chosen, run)
        return problem.model.get_weights()

    whole = fitted("whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fitting.Keeper, "on_epoch_end", stop)
        fitted("stopped")
    for one, another in zip(fitted("stopped", RunFolder.reopen), whole, strict=True):
        np.testing.assert_array_equal(one, another)


def test_a_run_can_be_looked_into(run, tmp_path):
    out = tmp_path / "inside"
    assert inspect.main([str(run), str(run / "examples" / "1.png"), "--out", str(out)]) == 0
    assert (out / "index.html").is_file()
    assert "square" in (out / "text-1.html").read_text(encoding="utf-8")


def test_the_options_of_a_network_that_does_not_attend(folder, tmp_path, capsys):
    said = fails(capsys, "--dataset", folder, "--attention", "none", "--doubly-stochastic", "1")
    assert "--doubly-stochastic needs --attention soft or hard" in said
