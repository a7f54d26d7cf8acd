"""Films with a label for every frame: drawn ones, UCF101, and the user's own folders of frames."""

import csv
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from experiments.common import prepared
from experiments.common.errors import InputError
from experiments.common.pictures import read_picture, resized
from experiments.common.splits import split
from experiments.video import moving_digits
from experiments.video.clips import Clip
from experiments.video.films import picture_files

TABLE = "labels.csv"
UCF101 = "ucf101/ucf101_1"  # the first of its three official splits


@dataclasses.dataclass(frozen=True)
class Stored:
    """Clips that are kept in memory; `labels` holds the labels' names by index."""

    clips: list
    labels: tuple
    endless = False

    def __len__(self):
        return len(self.clips)

    @property
    def lengths(self):
        return [len(clip.labels) for clip in self.clips]

    def clip(self, index):
        return self.clips[index]

    def fingerprint(self):
        digest = hashlib.sha256("\n".join(self.labels).encode())
        for clip in self.clips:
            digest.update(clip.frames.tobytes())
            digest.update(clip.labels.astype("int32").tobytes())
        return digest.hexdigest()


def load(dataset, size, frames, limit=None):
    """The clips of a dataset for training, validation and test, in this order.

    dataset: "moving_digits", "ucf101", or a folder of folders of frames with a file labels.csv.
    size: (height, width) that the frames are given, but for moving_digits, which the network resizes.
    frames: longer clips are cut into such of so many frames for training and validation; of a clip of
        ucf101 so many are taken, evenly spread.
    limit: at most so many clips of each part, the same ones every time.

    Raises `InputError` for a dataset that cannot be had or cannot be learnt from.
    """
    if dataset == "moving_digits":
        return moving_digits.load(limit)
    parts = ucf101(size, frames, limit) if dataset == "ucf101" else from_folder(dataset, size, frames, limit)
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if not len(part):
            raise InputError(f"--dataset {dataset} is too small: its {name} part has no clip.")
    if len(parts[0].labels) < 2:
        raise InputError(f"--dataset {dataset} has only the label {parts[0].labels[0]!r}; two are needed.")
    return parts


def ucf101(size, frames, limit=None):
    """UCF101 (Soomro et al. 2012): every frame has the label of its clip."""
    builder = prepared.builder(UCF101)
    train, test = (_from_tfds(builder, part, size, frames, limit) for part in ("train", "test"))
    labels = tuple(builder.info.features["label"].names)
    apart = train[::10]  # the builder has shuffled them
    kept = [clip for number, clip in enumerate(train) if number % 10]
    return [Stored(clips, labels) for clips in (kept, apart, test)]


def _from_tfds(builder, part, size, frames, limit):
    import tensorflow_datasets as tfds

    clips = []
    for row in tfds.as_numpy(builder.as_dataset(split=part, shuffle_files=False).take(limit or -1)):
        film = row["video"]
        spread = np.linspace(0, len(film) - 1, min(frames, len(film))).round().astype(int)
        pictures = np.stack([resized(film[at], size) for at in spread])
        clips.append(Clip(pictures, np.full(len(spread), row["label"], "int32")))
    return clips


def from_folder(folder, size, frames, limit=None):
    """The folders of frames that FOLDER/labels.csv names, split by a hash of their names.

    The table has the columns folder and label, and perhaps frame, the name of a file: without it, or where it
    is empty, all frames of the folder have the label.
    """
    table = Path(folder) / TABLE
    if not table.is_file():
        raise InputError(
            f"--dataset {folder} is neither moving_digits, ucf101 nor a folder with folders of frames and a "
            f"file {TABLE}."
        )
    labelled = _read_table(table)
    labels = tuple(sorted({label for frame_labels in labelled.values() for label in frame_labels.values()}))
    names = sorted(labelled)
    placed = split(names)
    parts = []
    for part, indices in placed.items():
        clips = [_read_clip(table, names[at], labelled[names[at]], labels, size) for at in indices[:limit]]
        parts.append(Stored(clips if part == "test" else _windows(clips, frames), labels))
    return parts


def _read_table(table):
    """By folder, the label of each frame by the name of its file; that of all others by ""."""
    found = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in ("folder", "label") if name not in (reader.fieldnames or ())]:
                raise InputError(f"{table} has no column {' and no column '.join(missing)}.")
            for row in reader:
                if not row["folder"] or not (row["label"] or "").strip():
                    raise InputError(f"{table}, line {reader.line_num}: the folder or the label is empty.")
                found.setdefault(row["folder"], {})[row.get("frame") or ""] = row["label"].strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8 text (byte {error.start}).") from error
    except csv.Error as error:
        raise InputError(f"{table} is not a table: {error}.") from error
    return found


def _read_clip(table, name, frame_labels, labels, size):
    files = picture_files(table.parent / name)
    of_all = frame_labels.get("")
    for file in files:
        if frame_labels.get(file.name, of_all) is None:
            raise InputError(f"{table} has no label for the frame {file.name} of {name}.")
    frames = np.stack([resized(read_picture(file), size) for file in files])
    numbers = [labels.index(frame_labels.get(file.name, of_all)) for file in files]
    return Clip(frames, np.array(numbers, "int32"))


def _windows(clips, frames):
    """The clips, each cut into such of at most so many frames."""
    return [
        Clip(clip.frames[start : start + frames], clip.labels[start : start + frames])
        for clip in clips
        for start in range(0, len(clip.labels), frames)
    ]
