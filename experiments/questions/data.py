"""Pictures with questions and answers: of the package easy-vqa, CLEVR, and the user's own."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from experiments.common import prepared
from experiments.common.errors import InputError
from experiments.common.packages import packaged_file
from experiments.common.pictures import read_picture, resized
from experiments.common.splits import VALIDATION, position, split

YES_NO = ("yes", "no")
TABLE = "questions.jsonl"
COLUMNS = ("image", "question", "answer")


@dataclasses.dataclass(frozen=True)
class Part:
    """Pictures, and questions about them.

    pictures: uint8 (pictures, height, width, 3).
    files: the path of each picture; empty where they do not come from files.
    questions: strings.
    answers: strings, one for each question.
    about: for each question the index of its picture.
    """

    pictures: np.ndarray
    files: list
    questions: list
    answers: list
    about: list

    def __len__(self):
        return len(self.questions)

    def of_each_picture(self):
        """For each picture the indices of the questions about it."""
        found = [[] for _ in self.pictures]
        for index, picture in enumerate(self.about):
            found[picture].append(index)
        return found


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Pictures and questions in three parts, of which no two share a picture."""

    train: Part
    validation: Part
    test: Part

    def parts(self):
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def names(self):
        """All answers, in order."""
        return tuple(sorted({answer for part in self.parts().values() for answer in part.answers}))

    def fingerprint(self):
        """A hash of all pictures, questions and answers: tells whether two runs saw the same data."""
        digest = hashlib.sha256()
        for part in self.parts().values():
            digest.update(part.pictures.tobytes())
            digest.update(json.dumps([part.questions, part.answers, part.about]).encode())
        return digest.hexdigest()


def load(dataset, size, limit=None):
    """The corpus of that name, or in that folder.

    dataset: "easy_vqa", "clevr", or a folder with pictures and a file questions.jsonl.
    size: (height, width) that the pictures are given.
    limit: at most so many pictures of each part, the same ones every time.

    Raises `InputError` for a dataset that cannot be had or cannot be learnt from.
    """
    known = {"easy_vqa": easy_vqa, "clevr": clevr}
    read = known.get(dataset) or (lambda size, limit: from_folder(dataset, size, limit))
    corpus = read(size, limit)
    for name, part in corpus.parts().items():
        if not len(part):
            raise InputError(f"--dataset {dataset} is too small: its {name} part has no question.")
    if len(corpus.names) < 2:
        raise InputError(f"--dataset {dataset} has only the answer {corpus.names[0]!r}; two are needed.")
    return corpus


def easy_vqa(size, limit=None):
    """The 5,000 pictures of one shape each that the package easy-vqa carries, with its own test part."""
    parts = {}
    for part in ("train", "test"):
        table = packaged_file("easy-vqa", f"{part}/questions.json", "easy_vqa")
        rows = json.loads(table.read_text(encoding="utf-8"))
        folder = table.parent / "images"
        parts[part] = [(folder / f"{image}.png", question, answer) for question, answer, image in rows]
    inside = [position(path.name) < VALIDATION for path, _, _ in parts["train"]]
    train, validation = (
        [row for row, is_inside in zip(parts["train"], inside, strict=True) if is_inside == validates]
        for validates in (False, True)
    )
    return Corpus(*(_from_files(rows, size, limit) for rows in (train, validation, parts["test"])))


def clevr(size, limit=None):
    """CLEVR (Johnson et al. 2017). Its test part has no answers: its validation part is the test here."""
    builder = prepared.builder("clevr")
    train, test = (_from_tfds(builder, name, size, limit) for name in ("train", "validation"))
    tenths = [index % 10 for index in range(len(train.pictures))]  # the builder has shuffled them
    kept = [index for index, tenth in enumerate(tenths) if tenth]
    apart = [index for index, tenth in enumerate(tenths) if not tenth]
    return Corpus(_with_pictures(train, kept), _with_pictures(train, apart), test)


def from_folder(folder, size, limit=None):
    """Pictures of a folder, and the questions and answers in its questions.jsonl, split by the picture."""
    table = Path(folder) / TABLE
    if not table.is_file():
        raise InputError(
            f"--dataset {folder} is neither easy_vqa, clevr nor a folder with pictures and a file {TABLE}."
        )
    rows = list(_rows(table))
    images = sorted({image for image, _, _ in rows})
    parts = split([image.name for image in images])
    placed = {images[at]: name for name, indices in parts.items() for at in indices}
    return Corpus(
        *(
            _from_files([row for row in rows if placed[row[0]] == name], size, limit)
            for name in ("train", "validation", "test")
        )
    )


def _rows(table):
    """(path of the picture, question, answer) of each line of a table of JSON Lines."""
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8 text (byte {error.start}).") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{table}, line {number}: not JSON ({error}).") from error
        values = [row.get(column) for column in COLUMNS] if isinstance(row, dict) else []
        if not values or not all(isinstance(value, str) and value.strip() for value in values):
            raise InputError(
                f'{table}, line {number}: expected {{"image": …, "question": …, "answer": …}}, three texts.'
            )
        yield table.parent / values[0], values[1], values[2].strip()


def _from_files(rows, size, limit):
    """A part from (path of the picture, question, answer)."""
    numbers = {}
    for path, _, _ in rows:
        if path not in numbers and len(numbers) != limit:
            numbers[path] = len(numbers)
    rows = [row for row in rows if row[0] in numbers]
    pictures = [resized(read_picture(path), size) for path in numbers]
    return Part(
        pictures=_stacked(pictures, size),
        files=[str(path) for path in numbers],
        questions=[question for _, question, _ in rows],
        answers=[answer for _, _, answer in rows],
        about=[numbers[path] for path, _, _ in rows],
    )


def _from_tfds(builder, name, size, limit):
    import tensorflow_datasets as tfds

    read = tfds.as_numpy(builder.as_dataset(split=name, shuffle_files=False).take(limit or -1))
    pictures, questions, answers, about = [], [], [], []
    for number, row in enumerate(read):
        pictures.append(resized(row["image"], size))
        asked = row["question_answer"]
        questions += [question.decode() for question in asked["question"]]
        answers += [answer.decode() for answer in asked["answer"]]
        about += [number] * len(asked["question"])
    return Part(_stacked(pictures, size), [], questions, answers, about)


def _with_pictures(part, pictures):
    """Some pictures of a part, and the questions about them."""
    numbers = {picture: number for number, picture in enumerate(pictures)}
    kept = [index for index, picture in enumerate(part.about) if picture in numbers]
    return Part(
        pictures=part.pictures[pictures],
        files=[],
        questions=[part.questions[index] for index in kept],
        answers=[part.answers[index] for index in kept],
        about=[numbers[part.about[index]] for index in kept],
    )


def _stacked(pictures, size):
    return np.array(pictures, "uint8").reshape(-1, *size, 3)
