"""Tables of labelled texts in the forms in which people have them.

A table is read from a file (.csv, .tsv, .tab, .txt, .json, .jsonl, .ndjson or .parquet, each also as .gz or
.zip) or from a folder with a folder of .txt files for each label. What the user does not say, such as the
delimiter or the columns, is found by looking, and printed in a line.
"""

import argparse
import csv
import dataclasses
import gzip
import io
import json
import zipfile
from pathlib import Path

from experiments.common.errors import InputError, reason_of
from experiments.common.scripts import BY_CHARACTER

FORMATS = (".csv", ".tsv", ".tab", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")
DELIMITERS = ",\t;|"
MOST_LABELS = 100  # a column with more different values is not guessed to hold labels
FEW = 0.01  # a larger share of empty texts is an error: it is probably the wrong column
# what unpacking a damaged file raises
DAMAGES = (gzip.BadGzipFile, EOFError, zipfile.BadZipFile, zipfile.zlib.error)
LOOKED_AT = 5_000  # rows by which columns are guessed


@dataclasses.dataclass(frozen=True)
class Form:
    """How a table is written, as far as the user says so; None leaves it to be found.

    text_column, label_column: names of columns, or numbers as strings, which count from 1.
    header: whether the first row holds the names of the columns.
    delimiter: the character between fields.
    quoting: whether fields may be in double quotes.
    encoding: as Python names it.
    skip_bad_rows: leave out rows that cannot be read, and count them, instead of raising an error.
    """

    text_column: str | None = None
    label_column: str | None = None
    header: bool | None = None
    delimiter: str | None = None
    quoting: bool | None = None
    encoding: str = "utf-8-sig"
    skip_bad_rows: bool = False

    @classmethod
    def of(cls, options):
        """The form that the options of `add_options` describe."""
        return cls(**{field.name: getattr(options, field.name) for field in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows of a file.

    columns: the names of the columns.
    rows: pairs of a row's number in the file and its values, one for each column; None for an absent one.
    bad: a sentence for each row that could not be read.
    place: what precedes the number of a row, such as "reviews.csv, line".
    """

    columns: list
    rows: list
    bad: list
    place: str


def read_labelled(path, form=Form()):
    """The texts and the labels of a file or of a folder per label: two lists of strings.

    Raises `InputError`, which names the line and the field, if there is none, it is not a table, a row has
    too many or too few fields, a label is empty, or more than `FEW` of the texts are.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, form)
    table = read(path, form)
    text_at, label_at = _columns(path, table, form)
    texts, labels, bad, empty = [], [], list(table.bad), []
    for number, values in table.rows:
        text, label = _written(values[text_at]), _written(values[label_at])
        if not label:
            bad.append(f"{table.place} {number}: the {table.columns[label_at]} is empty.")
        elif not text:
            empty.append(f"{table.place} {number}: the {table.columns[text_at]} is empty.")
        else:
            texts.append(text)
            labels.append(label.strip())
    if len(empty) > FEW * len(table.rows):
        bad += empty
    elif empty:
        print(f"{path}: {len(empty)} of {len(table.rows):,} rows are left out, as their text is empty.")
    if bad:
        _refuse(bad, form)
        number = len(table.rows) + len(table.bad)
        print(f"{path}: {len(bad)} of {number:,} rows are left out; the first: {bad[0]}")
    return texts, labels


def _refuse(bad, form):
    """Raise `InputError` for the first bad row, unless bad rows may be left out."""
    if not form.skip_bad_rows:
        raise InputError(f"{bad[0]} --skip-bad-rows leaves such rows out.")


def _written(value):
    """A value as text, "" if it is absent, blank or no value of its own, such as a list."""
    if not isinstance(value, str | int | float) or value != value:
        return ""
    text = str(value)
    return "" if text.isspace() else text


def read(path, form=Form()):
    """The `Table` of a file. Raises `InputError` if there is none, or it is not one of `FORMATS`."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    name, content = unpacked(path)
    suffix = Path(name).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path} is not a {', '.join(FORMATS)} file, nor one of these as .gz or .zip.")
    if suffix == ".parquet":
        return _read_parquet(path, content)
    text = decoded(path, content, form.encoding)
    if suffix in (".json", ".jsonl", ".ndjson"):
        return _read_json(path, text, suffix)
    return _read_delimited(path, text, suffix, form)


def is_table(name):
    """Whether a file of this name may hold a table."""
    name = str(name).lower().removesuffix(".gz")
    return Path(name).suffix in (*FORMATS, ".zip")


# -- files


def unpacked(path):
    """The name and the bytes of a file; of what it holds if it is a .gz or .zip."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".gz":
            return path.stem, gzip.decompress(path.read_bytes())
        if suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                name = only_member(path, archive)
                return name, archive.read(name)
    except DAMAGES as error:
        raise InputError(f"{path} cannot be unpacked: {reason_of(error)}.") from error
    return path.name, path.read_bytes()


def only_member(path, archive):
    """The name of the one file in an archive. Raises `InputError` if there are none or several."""
    names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
    if len(names) != 1:
        some = ", ".join(names[:5]) or "nothing"
        raise InputError(f"{path} must hold one file, not {len(names)} ({some}): unpack it.")
    return names[0]


def decoded(path, content, encoding):
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise InputError(f"--encoding {encoding} is none that Python knows.") from error
    except UnicodeDecodeError as error:
        named = "UTF-8" if encoding == Form.encoding else encoding
        raise InputError(
            f"{path} is not {named} text (byte {error.start}); name its encoding with --encoding."
        ) from error


def _read_folder(folder, form):
    """Texts and labels of a folder that has a folder of .txt files for each label."""
    paths = [
        path
        for path in sorted(folder.glob("*/**/*.txt"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not paths:
        raise InputError(f"There is no file in a folder of {folder}: expected LABEL/….txt for each label.")
    texts = [decoded(path, path.read_bytes(), form.encoding) for path in paths]
    pairs = [
        (text, path.relative_to(folder).parts[0])
        for path, text in zip(paths, texts, strict=True)
        if text.strip()
    ]
    if len(pairs) < len(paths):
        print(f"{folder}: {len(paths) - len(pairs)} of {len(paths):,} files are left out, as they are empty.")
    return [text for text, _ in pairs], [label for _, label in pairs]


# -- delimited text


def _read_delimited(path, text, suffix, form):
    text = text.replace("\r\n", "\n")
    text = text.replace("\r", " " if "\n" in text else "\n")
    delimiter = form.delimiter or _delimiter(text.partition("\n")[0], suffix)
    quoted = suffix == ".csv" if form.quoting is None else form.quoting
    rows, bad = _fields(path, text, delimiter, quoted)
    if bad and form.quoting is None and not quoted and '"' in text:
        # a text with line ends inside quotes has bad rows if it is read as unquoted
        rows, bad = min((rows, bad), _fields(path, text, delimiter, True), key=lambda read: len(read[1]))
    columns, rows = _headed(path, rows, form)
    return Table(columns, rows, bad, f"{path}, line")


def _delimiter(line, suffix):
    """The delimiter that cuts the first line into most fields; of several, that of the file's suffix."""
    usual = "," if suffix == ".csv" else "\t"
    return max([usual, *DELIMITERS], key=line.count)


def _fields(path, text, delimiter, quoted):
    """Rows of as many fields as the first, as pairs of line and fields, and a sentence for each other row."""
    csv.field_size_limit(2**31 - 1)  # a long text is no error
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, quoting=quoting, strict=True)
    rows, bad, first = [], [], None
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return rows, bad
        except csv.Error as error:
            bad.append(f"{path}, line {line}: not a row of a table ({error}).")
            continue
        if not fields:
            continue
        first = first or fields
        if len(fields) == len(first):
            rows.append((line, fields))
        else:
            bad.append(f"{path}, line {line}: {_misfit(fields, first)}.")


def _misfit(fields, first):
    """How a row differs from the first one in its number of fields."""
    if len(fields) < len(first):
        return (
            f"the {first[len(fields)]} is empty, as the row has {len(fields)} field{'s' * (len(fields) > 1)} "
            f"instead of {len(first)}"
        )
    return f"field {len(first) + 1} ({_short(fields[len(first)])}) is one too many: expected {len(first)}"


def _short(text):
    return repr(text if len(text) <= 30 else f"{text[:29]}…")


def _headed(path, rows, form):
    """The names of the columns, and the rows below them."""
    if not rows:
        return [], []
    (line, first), below = rows[0], rows[1:]
    if form.header is None and _looks_like_data(first, below, form):
        print(f"{path}: line {line} is taken for a row like those below it; --header says otherwise.")
    elif form.header is not False:
        return [name.strip() for name in first], below
    return [str(number) for number in range(1, len(first) + 1)], rows


def _looks_like_data(first, below, form):
    """Whether a first row holds a label that occurs below it, and no name that is known for a column."""
    names = {form.text_column or "text", form.label_column or "label"}
    if names & set(map(str.strip, first)):
        return False
    sample = [fields for _, fields in below[:LOOKED_AT]]
    columns = zip(first, zip(*sample, strict=True), strict=True) if sample else ()
    return any(_is_label_like(values) and value in values for value, values in columns)


# -- JSON and Parquet


def _read_json(path, text, suffix):
    """A list of objects, or one object a line, which files that end in .json may hold too."""
    if suffix == ".json" and text.lstrip().startswith("["):
        try:
            return _of_objects(enumerate(json.loads(text), 1), [], f"{path}, entry")
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON ({reason_of(error)}).") from error
    entries, bad = [], []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                entries.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            bad.append(f"{path}, line {number}: not JSON ({reason_of(error)}).")
    return _of_objects(entries, bad, f"{path}, line")


def _of_objects(entries, bad, place):
    """The table of pairs of a number and an object."""
    objects, bad = [], list(bad)
    for number, entry in entries:
        if isinstance(entry, dict):
            objects.append((number, entry))
        else:
            bad.append(f'{place} {number}: not an object like {{"text": …, "label": …}}.')
    columns = list(dict.fromkeys(name for _, entry in objects for name in entry))
    rows = [(number, [entry.get(name) for name in columns]) for number, entry in objects]
    return Table(columns, rows, bad, place)


def _read_parquet(path, content):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{path} needs pyarrow: pip install keras_gates[tables] ({error}).") from error
    try:
        read = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except pyarrow.ArrowException as error:
        raise InputError(f"{path} is not a Parquet file: {reason_of(error)}.") from error
    rows = zip(*(column.to_pylist() for column in read.columns), strict=True)
    return Table(read.column_names, list(enumerate(rows, 1)), [], f"{path}, row")


# -- columns


def _columns(path, table, form):
    """The positions of the texts and of the labels."""
    if table.bad:
        _refuse(table.bad, form)
    text = _position(table, form.text_column, "text", "--text-column")
    label = _position(table, form.label_column, "label", "--label-column")
    guessed = []
    if text is None:
        text = _only(table, _is_text_like, {label}, "--text-column")
        guessed += [] if text is None else [f"the texts from the column {table.columns[text]}"]
    if label is None:
        label = _only(table, _is_label_like, {text}, "--label-column")
        guessed += [] if label is None else [f"the labels from the column {table.columns[label]}"]
    missing = [name for name, position in (("text", text), ("label", label)) if position is None]
    if missing:
        raise InputError(
            f"{table.place} 1: no column {' and no column '.join(missing)}; "
            f"found {', '.join(table.columns) or 'nothing'}; "
            f"give {' and '.join(f'--{name}-column' for name in missing)}."
        )
    if guessed:
        print(f"{path}: takes {' and '.join(guessed)}.")
    return text, label


def _position(table, column, usual, option):
    """The position of the column that the user names, by name or number, or of the usual name, if any."""
    if column is None:
        return table.columns.index(usual) if usual in table.columns else None
    if column in table.columns:
        return table.columns.index(column)
    if column.isdecimal() and 1 <= int(column) <= len(table.columns):
        return int(column) - 1
    found = ", ".join(table.columns) or "nothing"
    raise InputError(f"{table.place} 1: no column {column} for {option}; found {found}.")


def _only(table, is_like, taken, option):
    """The position of the only column whose values are as expected; None if there is no such column."""
    rows = [values for _, values in table.rows[:LOOKED_AT]]
    columns = [list(map(_written, values)) for values in zip(*rows, strict=True)]
    found = [at for at, values in enumerate(columns) if at not in taken and is_like(values)]
    if len(found) > 1:
        names = " or ".join(table.columns[at] for at in found)
        raise InputError(f"{table.place} 1: the column may be {names}; say which with {option}.")
    return found[0] if found else None


def _is_text_like(values):
    """Whether most values differ, and most have several words or are of a script that needs no spaces."""
    texts = [
        value
        for value in values
        if any(map(str.isalpha, value)) and (len(value.split()) > 1 or BY_CHARACTER.search(value))
    ]
    return 2 * len(texts) > len(values) and 2 * len(set(values)) > len(values)


def _is_label_like(values):
    """Whether there are few different values, each of which occurs twice on average."""
    return 2 <= len(set(values)) <= min(MOST_LABELS, len(values) / 2)


# -- options


def add_options(group):
    """The options of a command line that describe a `Form`."""
    group.add_argument(
        "--text-column", metavar="COLUMN", help="name or number of the column of texts; found by looking"
    )
    group.add_argument(
        "--label-column", metavar="COLUMN", help="name or number of the column of labels; found by looking"
    )
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether the first row of a table names the columns; it does, unless it looks like the others",
    )
    group.add_argument(
        "--delimiter",
        type=_character,
        metavar="CHARACTER",
        help="what separates the fields of a row (\\t is a tab); found by looking at the first row",
    )
    group.add_argument(
        "--quoting",
        action=argparse.BooleanOptionalAction,
        help="whether fields may be in double quotes; in a .csv they may, in a .tsv or .txt they are not",
    )
    group.add_argument("--encoding", default=Form.encoding, help="encoding of the texts, such as cp949")
    group.add_argument(
        "--skip-bad-rows",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="leave out the rows of a table that cannot be read, and count them",
    )


def _character(text):
    """The type of a delimiter."""
    character = "\t" if text == "\\t" else text
    if len(character) != 1 or character in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not a single character that can separate fields")
    return character
