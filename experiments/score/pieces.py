"""Files of texts, cut into pieces of rows that are read, and written with their answers, one by one.

Every file is read once before anything is scored, so that an error in any of them is known at the beginning.
A piece knows where in its file it lies; whoever scores it reads that part alone.
"""

import csv
import glob
import io
import json
from pathlib import Path
from typing import NamedTuple

from experiments.common.errors import InputError, reason_of

LABEL, PROBABILITY = "predicted_label", "predicted_probability"  # the columns that are added
MOST_BYTES = 2**24  # of a piece of a .csv or .jsonl file, unless it is a single row


class Piece(NamedTuple):
    """A part of a file.

    path: the file.
    start, stop: bytes of a .csv or .jsonl file; of a .parquet file, rows of the row group `group`.
    rows: how many there are.
    columns: names of the columns of a .csv file.
    """

    path: str
    start: int
    stop: int
    rows: int
    group: int = 0
    columns: tuple = ()


class Answer(NamedTuple):
    """The most probable label of a text, and its probability; None and None for a row without a text."""

    label: str | None
    probability: float | None


def files_of(patterns):
    """The files that paths and patterns such as part-*.csv name, and the module's functions for their format.

    Raises `InputError` if there is none, or they have not all the same known format.
    """
    files = []
    for pattern in patterns:
        found = [pattern] if Path(pattern).is_file() else sorted(filter(_is_file, glob.glob(pattern)))
        if not found:
            raise InputError(f"There is no file {pattern}.")
        files += found
    files = list(dict.fromkeys(files))
    formats = {Path(file).suffix.lower() for file in files}
    if len(formats) > 1:
        raise InputError(
            f"The files of --input are {' and '.join(sorted(formats))}: give those of one format."
        )
    (found,) = formats
    if found not in FORMATS:
        raise InputError(f"{files[0]} is not a {', '.join(FORMATS)} file.")
    return files, FORMATS[found]


def _is_file(path):
    return Path(path).is_file()


def check_columns(path, columns, text):
    """Raise `InputError` unless there is a column of texts, and none of the names that are added."""
    if text not in columns:
        found = ", ".join(columns) or "nothing"
        raise InputError(f"{path} has no column {text}; found {found}; name it with --text-column.")
    for name in (LABEL, PROBABILITY):
        if name in columns:
            raise InputError(
                f"{path} has a column {name}, which is the name of one that is added: rename it."
            )


# -- rows that are lines of text


def _lines(path, file):
    """The lines of a file as text, each with the number of its bytes."""
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8"), len(line)
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, line {number}: not UTF-8 text (byte {error.start}).") from error


class _Place:
    """How far a reader has come in the lines of a file."""

    def __init__(self, lines):
        self.lines, self.bytes, self.number = lines, 0, 0

    def __iter__(self):
        for line, length in self.lines:
            self.bytes += length
            self.number += 1
            yield line


def _cut(path, place, rows, most, columns=()):
    """Pieces of at most `most` of the rows that a reader gives, of which `place` tells where it is."""
    pieces, start, count, end = [], place.bytes, 0, place.bytes
    for _ in rows:
        if count and (count == most or place.bytes - start > MOST_BYTES):
            pieces.append(Piece(path, start, end, count, columns=columns))
            start, count = end, 0
        count, end = count + 1, place.bytes
    if count:
        pieces.append(Piece(path, start, end, count, columns=columns))
    return pieces


def _content(piece):
    with open(piece.path, "rb") as file:
        file.seek(piece.start)
        return file.read(piece.stop - piece.start).decode("utf-8-sig" if piece.start == 0 else "utf-8")


class Csv:
    """Files in which fields are separated by commas and may be in double quotes; the first row has names."""

    @classmethod
    def cut(cls, path, text, most):
        with open(path, "rb") as file:
            place = _Place(_lines(path, file))
            rows = cls._rows(path, place)
            columns = tuple(next(rows, ()))
            check_columns(path, columns, text)
            return _cut(path, place, cls._as_long(path, place, rows, columns), most, columns)

    @staticmethod
    def _rows(path, lines):
        """The rows that are not empty."""
        csv.field_size_limit(2**31 - 1)  # a long text is no error
        reader = csv.reader(iter(lines), strict=True)
        try:
            yield from filter(None, reader)
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: not a row of a table ({error}).") from error

    @staticmethod
    def _as_long(path, place, rows, columns):
        for row in rows:
            if len(row) != len(columns):
                raise InputError(
                    f"{path}, line {place.number}: expected {len(columns)} fields, got {len(row)}."
                )
            yield row

    @classmethod
    def read(cls, piece):
        return list(cls._rows(piece.path, io.StringIO(_content(piece), newline="\n")))

    @staticmethod
    def texts(piece, rows, text):
        at = piece.columns.index(text)
        return [row[at] for row in rows]

    @staticmethod
    def write(piece, rows, answers, path):
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*piece.columns, LABEL, PROBABILITY])
            writer.writerows([*row, *answer] for row, answer in zip(rows, answers, strict=True))


class JsonLines:
    """Files with an object a line; blank lines are passed over."""

    @classmethod
    def cut(cls, path, text, most):
        with open(path, "rb") as file:
            place = _Place(_lines(path, file))
            return _cut(path, place, cls._checked(path, place, text), most)

    @classmethod
    def _checked(cls, path, place, text):
        for line in place:
            if not line.strip():
                continue
            row = cls._object(f"{path}, line {place.number}", line)
            check_columns(f"{path}, line {place.number}", row, text)
            cls._check_text(f"{path}, line {place.number}", row[text], text)
            yield row

    @staticmethod
    def _object(place, line):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: not JSON ({reason_of(error)}).") from error
        if not isinstance(row, dict):
            raise InputError(f"{place}: not an object.")
        return row

    @staticmethod
    def _check_text(place, value, text):
        if not isinstance(value, str | None):
            raise InputError(f"{place}: expected {text} to be a string or null, got {str(value)[:30]}.")
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{place}: {text} holds half a surrogate pair, which is no character."
            ) from error

    @staticmethod
    def read(piece):
        return [json.loads(line) for line in _content(piece).split("\n") if line.strip()]

    @staticmethod
    def texts(piece, rows, text):
        return [row[text] for row in rows]

    @staticmethod
    def write(piece, rows, answers, path):
        with open(path, "w", encoding="utf-8") as file:
            for row, answer in zip(rows, answers, strict=True):
                added = {LABEL: answer.label, PROBABILITY: answer.probability}
                file.write(json.dumps({**row, **added}, ensure_ascii=False) + "\n")


# -- Parquet


class Parquet:
    """Parquet files, whose column of texts holds strings."""

    @classmethod
    def cut(cls, path, text, most):
        arrow, parquet = _pyarrow(path)
        try:
            with parquet.ParquetFile(path) as file:
                check_columns(path, file.schema_arrow.names, text)
                kind = file.schema_arrow.field(text).type
                if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)):
                    raise InputError(f"{path}: expected the column {text} to hold strings, it holds {kind}.")
                for batch in file.iter_batches(columns=[text]):
                    _check_utf8(arrow, path, text, batch)
                groups = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
        except arrow.ArrowException as error:
            raise InputError(f"{path} is not a readable Parquet file: {reason_of(error)}.") from error
        return [
            Piece(path, start, stop, stop - start, group)
            for group, number in enumerate(groups)
            for start in range(0, number, most)
            for stop in [min(start + most, number)]
        ]

    @staticmethod
    def read(piece):
        arrow, parquet = _pyarrow(piece.path)
        with parquet.ParquetFile(piece.path) as file:
            # batches before the piece are decoded and dropped, so that no more than one is in memory
            batches, at = [], 0
            for batch in file.iter_batches(batch_size=piece.rows, row_groups=[piece.group]):
                first, end = max(0, piece.start - at), min(piece.stop - at, len(batch))
                if first < end:
                    batches.append(batch.slice(first, end - first))
                at += len(batch)
                if at >= piece.stop:
                    break
            return arrow.Table.from_batches(batches, file.schema_arrow)

    @staticmethod
    def texts(piece, rows, text):
        return rows[text].to_pylist()

    @staticmethod
    def write(piece, rows, answers, path):
        arrow, parquet = _pyarrow(piece.path)
        labels = arrow.array([answer.label for answer in answers], arrow.string())
        probabilities = arrow.array([answer.probability for answer in answers], arrow.float64())
        parquet.write_table(rows.append_column(LABEL, labels).append_column(PROBABILITY, probabilities), path)


def _check_utf8(arrow, path, text, batch):
    try:
        batch.validate(full=True)
    except arrow.ArrowInvalid as error:
        raise InputError(f"{path}: the column {text} is not UTF-8 text: {reason_of(error)}.") from error


def _pyarrow(path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{path} needs pyarrow: pip install keras_gates[tables] ({error}).") from error
    return pyarrow, pyarrow.parquet


FORMATS = {".csv": Csv, ".jsonl": JsonLines, ".parquet": Parquet}
