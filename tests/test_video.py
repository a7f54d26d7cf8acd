"""A label for every frame of a film: drawn films, folders, files, the network, runs, streams, bad input."""

import collections
import csv
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_gates
from experiments.common.errors import InputError
from experiments.inspect import __main__ as inspect
from experiments.video import __main__ as video
from experiments.video import data, moving_digits
from experiments.video.clips import Clip, ClipBatches
from experiments.video.films import frames_of, picture_files
from experiments.video.measures import measure
from experiments.video.network import network

COLOURS = {"red": (220, 30, 30), "blue": (40, 60, 230)}
GREY = (90, 90, 90)
TINY = ["--size", "8x8", "--filters", "4", "--stages", "1", "--units", "8", "--batch-size", "4"]
SHORT = ["--epochs", "12", "--patience", "12", "--learning-rate", "0.03"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 folders of 5 frames: the first has a colour, which is the label of all; the others are grey."""
    path = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    with (path / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["folder", "label"])
        for number in range(30):
            colour = list(COLOURS)[number % 2]
            table.writerow([f"film-{number}", colour])
            (path / f"film-{number}").mkdir()
            for at in range(5):
                tone = GREY if at else COLOURS[colour]
                picture = np.clip(tone + rng.integers(-9, 9, (10, 6, 3)), 0, 255).astype("uint8")
                Image.fromarray(picture).save(path / f"film-{number}" / f"{at}.png")
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "films"
    assert video.main(["--dataset", str(folder), *TINY, *SHORT, "--out", str(out)]) == 0
    return out


def options(*words):
    return video.train_parser().parse_args([*TINY, *words])


# -- digits that move behind a bar


@pytest.fixture(scope="module")
def digits():
    return moving_digits.MovingDigits("test", 500)


def test_the_label_is_known_to_who_saw_the_digit_and_counts_the_flashes(digits):
    exchanges = []
    for index in range(len(digits)):
        clip = digits.clip(index)
        flashes = (clip.frames[:, :, slice(*moving_digits.BAR)] == moving_digits.FLASH).all(axis=(1, 2, 3))
        np.testing.assert_array_equal(clip.labels, (clip.labels[0] + np.cumsum(flashes)) % 10)
        assert clip.hidden[flashes].all()
        assert not clip.hidden[0]
        exchanges.append(flashes.sum())
    assert set(exchanges) == {0, 1, 2}


def test_a_hidden_frame_tells_nothing(digits):
    """Whatever is told from such a frame alone, it is right little more often than one time in ten."""
    labels = collections.defaultdict(list)
    for index in range(len(digits)):
        clip = digits.clip(index)
        beside = np.delete(clip.frames, range(*moving_digits.BAR), axis=2)
        np.testing.assert_array_equal(clip.hidden, ~beside.any(axis=(1, 2, 3)))
        assert clip.hidden.sum() >= 5
        for frame, label in zip(clip.frames[clip.hidden], clip.labels[clip.hidden], strict=True):
            labels[frame.tobytes()].append(label)
    assert len(labels) == 2  # the bar, and the bar that flashes
    best = sum(np.bincount(told).max() for told in labels.values())
    assert best / sum(map(len, labels.values())) < 0.16


def test_the_same_index_draws_the_same_clip_and_parts_share_no_handwriting(digits):
    for mine, other in zip(digits.clip(7), moving_digits.MovingDigits("test", 9).clip(7), strict=True):
        np.testing.assert_array_equal(mine, other)
    drawn = {
        part: {digit.tobytes() for label in moving_digits.MovingDigits(part, 1)._by_label for digit in label}
        for part in ("train", "validation", "test")
    }
    assert len(set.union(*drawn.values())) >= 0.99 * sum(map(len, drawn.values()))
    assert not drawn["train"] & drawn["test"]


# -- clips and their batches


class FewClips:
    lengths = (2, 3)
    endless = False

    def clip(self, index):
        length = self.lengths[index]
        return Clip(
            np.full((length, 2, 2, 3), np.arange(length)[:, None, None, None], "uint8"), np.arange(length)
        )


def test_shorter_clips_go_on_with_their_last_frame_and_weigh_nothing_there():
    ((frames, labels, weights),) = ClipBatches(FewClips(), 2).once()
    assert np.array(frames)[:, :, 0, 0, 0].tolist() == [[0, 1, 1], [0, 1, 2]]
    assert np.array(labels).tolist() == [[0, 1, 1], [0, 1, 2]]
    assert np.array(weights).tolist() == [[1, 1, 0], [1, 1, 1]]


def test_every_epoch_of_drawn_clips_has_clips_of_its_own():
    batches = ClipBatches(moving_digits.MovingDigits("train", 6), 4, seed=0)
    epochs = [np.sort(np.concatenate(batches.epoch(number))).tolist() for number in range(2)]
    assert epochs == [list(range(6)), list(range(6, 12))]
    stream = iter(batches.endless(first_epoch=1))
    some = np.concatenate([np.array(next(stream)[1]) for _ in range(len(batches))])
    expected = np.array([batches.clips.clip(index).labels for index in np.concatenate(batches.epoch(1))])
    np.testing.assert_array_equal(some, expected)


# -- folders and files


def test_a_folder_is_read_as_it_was_written(folder):
    parts = data.from_folder(folder, (10, 6), frames=3)
    assert [part.labels for part in parts] == [("blue", "red")] * 3
    assert set(parts[0].lengths) == {2, 3}
    assert set(parts[2].lengths) == {5}
    assert sum(sum(part.lengths) for part in parts) == 150
    for clip in parts[2].clips:
        name = parts[2].labels[clip.labels[0]]
        np.testing.assert_allclose(clip.frames[0].mean(axis=(0, 1)), COLOURS[name], atol=10)


def test_a_table_may_label_single_frames(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}").mkdir()
        for name in ("2.png", "10.png", "1.PNG"):
            Image.new("L", (3, 3), int(name.split(".")[0])).save(tmp_path / f"{number}" / name)
    rows = [
        f"{number},{frame},{label}" for number in range(10) for frame, label in (("10.png", "b"), ("", "a"))
    ]
    (tmp_path / "labels.csv").write_text("folder,frame,label\n" + "\n".join(rows))
    for part in data.from_folder(tmp_path, (3, 3), frames=9):
        for clip in part.clips:
            assert clip.frames[:, 0, 0, 0].tolist() == [1, 2, 10]  # by number, not by letters
            assert clip.labels.tolist() == [0, 0, 1]


class UCF101:
    """What the builder of UCF101 gives: clip N has 10 frames, which count, and the label N mod 2."""

    info = SimpleNamespace(features={"label": SimpleNamespace(names=["Archery", "Biking"])})

    def as_dataset(self, split, shuffle_files):
        def rows():
            for number in range({"train": 40, "test": 3}[split]):
                frames = np.arange(10, dtype="uint8")[:, None, None, None] * np.ones((6, 4, 3), "uint8")
                yield {"video": frames, "label": number % 2}

        signature = {
            "video": tf.TensorSpec((None, None, None, 3), tf.uint8),
            "label": tf.TensorSpec((), tf.int64),
        }
        return tf.data.Dataset.from_generator(rows, output_signature=signature)


def test_of_ucf101_some_frames_of_each_clip_are_taken(monkeypatch):
    monkeypatch.setattr("experiments.common.prepared.builder", lambda name: UCF101())
    train, validation, test = data.load("ucf101", (6, 4), frames=4)
    assert len(train) + len(validation) == 40
    assert len(validation) > 0
    assert [clip.labels.tolist() for clip in test.clips] == [[0] * 4, [1] * 4, [0] * 4]
    assert test.labels == ("Archery", "Biking")
    assert test.clips[0].frames[:, 0, 0, 0].tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("folder\n1\n", "has no column label"),
        ("folder,label\nfilm,\n", "line 2: the folder or the label is empty"),
        ("folder,label\nabsent,a\n", "There is no folder"),
        ("folder,label\nempty,a\n", "holds no picture"),
        ("folder,frame,label\nfilm,1.png,a\n", "has no label for the frame 2.png of film"),
        ("folder,label\nfilm,a\n", "is too small"),
        (b"\xff\xfe", "is not UTF-8 text (byte 0)"),
    ],
)
def test_a_table_that_is_not_as_expected(tmp_path, capsys, table, sentence):
    for name in ("film", "empty"):
        (tmp_path / name).mkdir()
    for name in ("1.png", "2.png"):
        Image.new("L", (3, 3)).save(tmp_path / "film" / name)
    (tmp_path / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    assert_refused(capsys, ["--dataset", tmp_path, "--out", tmp_path / "run"], sentence)


def assert_refused(capsys, arguments, sentence):
    assert video.main([*map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1, error


def written_video(path, tones):
    """A video file of grey frames, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "bgr0"
        for tone in tones:
            picture = np.full((16, 32, 3), tone, "uint8")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_video_file_is_read_frame_by_frame(tmp_path):
    frames = list(frames_of(written_video(tmp_path / "film.mkv", [0, 100, 200])))
    assert [frame.shape for frame in frames] == [(16, 32, 3)] * 3
    assert [int(frame.max()) for frame in frames] == [0, 100, 200]


def test_what_is_no_film_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "folder").mkdir()
    for name, sentence in (("text.mp4", "cannot be read as a video"), ("folder", "holds no picture")):
        with pytest.raises(InputError, match=sentence) as error:
            list(frames_of(tmp_path / name))
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        list(frames_of(tmp_path / "absent.mp4"))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"needs PyAV: pip install keras_gates\[video\]"):
        list(frames_of(tmp_path / "text.mp4"))


# -- the network


@pytest.mark.parametrize(
    ("words", "earlier", "later"),
    [(["--frame-by-frame"], False, False), ([], True, False), (["--bidirectional"], True, True)],
    ids=["frame by frame", "one way", "both ways"],
)
def test_which_frames_a_label_depends_on(words, earlier, later):
    model = network(3, options(*words))
    films = np.random.default_rng(0).integers(0, 256, (1, 5, 8, 8, 3), dtype="uint8")
    before = model.predict(films, verbose=0)
    films[0, 2] = 255 - films[0, 2]
    changed = np.abs(model.predict(films, verbose=0) - before).max(axis=-1)[0] > 1e-6
    assert changed.tolist() == [later, later, True, earlier, earlier]


def test_hidden_and_visible_frames_are_counted_apart():
    clips = moving_digits.MovingDigits("validation", 5)
    model = network(10, options())
    measures, confusion = measure(model, ClipBatches(clips, 2), clips.labels)
    right, hidden = [], []
    for index in range(5):
        clip = clips.clip(index)
        right.append(model.predict(clip.frames[None], verbose=0)[0].argmax(axis=-1) == clip.labels)
        hidden.append(clip.hidden)
    right, hidden = np.concatenate(right), np.concatenate(hidden)
    assert measures["test_accuracy"] == pytest.approx(right.mean())
    assert measures["test_hidden_accuracy"] == pytest.approx(right[hidden].mean())
    assert measures["test_visible_accuracy"] == pytest.approx(right[~hidden].mean())
    assert confusion.sum() == len(right)


# -- runs


def test_what_was_seen_before_is_remembered(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.9  # who sees one frame knows 1 in 5, and guesses the others


def test_a_stream_gives_what_the_whole_film_gives(run, folder, capsys):
    served = keras_gates.load(run / "saved_model")
    frames = np.stack(list(frames_of(folder / "film-3")))
    whole = served(frames[None])
    stream = served.stream()
    for t, frame in enumerate(frames):
        step = stream.push(frame[None])
        np.testing.assert_allclose(step["probabilities"], whole["probabilities"][:, t], atol=1e-5)
        assert step["labels"].numpy() == whole["labels"].numpy()[:, t]
    assert video.main(["predict", str(run), str(folder / "film-3")]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "2", "3", "4"]
    assert [line[1] for line in lines] == [label.decode() for label in whole["labels"].numpy()[0]]


def test_films_are_drawn_with_their_labels(run, folder, tmp_path, capsys):
    strip, film = tmp_path / "strip.png", tmp_path / "film.gif"
    arguments = ["predict", str(run), str(folder / "film-1"), "--strip", str(strip), "--film", str(film)]
    assert video.main(arguments) == 0
    capsys.readouterr()
    with Image.open(strip) as image:
        assert image.width > image.height
    with Image.open(film) as image:
        assert image.n_frames == 5
    assert_refused(capsys, [*arguments[:3], "--strip", tmp_path / "no" / "a.png"], "There is no folder")


def test_a_network_that_looks_ahead_answers_whole_films(folder, tmp_path, capsys):
    out = tmp_path / "both"
    arguments = ["--dataset", str(folder), *TINY, "--epochs", "1", "--limit", "4", "--bidirectional"]
    assert video.main([*arguments, "--out", str(out)]) == 0
    capsys.readouterr()
    film = written_video(tmp_path / "film.mkv", [0, 100, 200])
    assert video.main(["predict", str(out), str(film)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_run_is_inspected_frame_by_frame(run, folder, tmp_path):
    films = [str(folder / "film-0"), "moving_digits:1", str(written_video(tmp_path / "film.mkv", [0, 90]))]
    out = tmp_path / "inspection"
    assert inspect.main([str(run), *films, "--out", str(out)]) == 0
    assert {"text-1.html", "text-2.html", "text-3.html"} <= {path.name for path in out.iterdir()}


SERVE = """
import sys
sys.modules.update(dict.fromkeys(("keras", "keras_gates", "experiments", "PIL")))  # none can be imported
import numpy as np
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures
for size in ((8, 8), (1, 1), (20, 33)):
    films = np.random.default_rng(0).integers(0, 256, (2, 3, *size, 3), dtype="uint8")
    whole = answer["serving_default"](inputs=tf.constant(films))
    states = answer["initial_state"](batch_size=tf.constant(2))
    for t in range(3):
        outputs = answer["step"](inputs=tf.constant(films[:, t]), **states)
        states = {name: outputs[name] for name in states}
        np.testing.assert_allclose(outputs["probabilities"], whole["probabilities"][:, t], atol=1e-5)
        assert (outputs["labels"].numpy() == whole["labels"].numpy()[:, t]).all()
print("served")
"""


def test_the_saved_model_takes_raw_frames_of_any_size_where_only_tensorflow_is(run):
    done = subprocess.run(
        [sys.executable, "-c", SERVE, run / "saved_model"],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.stdout == "served\n", done.stderr


def test_bad_input_is_one_sentence(run, folder, tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "cut").mkdir()
    whole = (folder / "film-0" / "0.png").read_bytes()
    (tmp_path / "cut" / "0.png").write_bytes(whole[: len(whole) // 2])
    assert_refused(capsys, ["predict", run, tmp_path / "text.mp4"], "cannot be read as a video")
    assert_refused(capsys, ["predict", run, tmp_path / "cut"], "0.png cannot be read as a picture")
    assert_refused(capsys, ["predict", run, tmp_path / "absent"], "No such file")
    assert_refused(capsys, ["predict", tmp_path / "none", folder / "film-0"], "is not a finished run")
    assert_refused(capsys, ["--dataset", tmp_path], "is neither moving_digits, ucf101 nor a folder")
    assert_refused(capsys, ["--frame-by-frame", "--bidirectional"], "leave out --bidirectional")
    assert_refused(capsys, ["--dataset", folder, "--trace"], "--trace shows films of moving_digits")


def test_frames_have_the_order_of_their_numbers(tmp_path):
    for name in ("frame10.png", "frame9.png", "frame1.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in picture_files(tmp_path)] == [
        "frame1.png",
        "frame9.png",
        "frame10.png",
    ]
