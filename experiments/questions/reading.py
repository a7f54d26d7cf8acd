"""How a run of this task is read; `experiments.common.reading` says what for.

A text is the path of a picture and a question about it, with ": " between them.
"""

import numpy as np

from experiments.common import words
from experiments.common.errors import InputError
from experiments.common.pictures import read_picture, resized, size_of
from experiments.common.reading import Reading, Seen
from experiments.common.run_folder import check_labels
from keras_gates.layers.text import standardize_words

TAKES_PATHS = True
ASKS = True
PLACES = 8  # rows and columns of places that are covered to find out what the network looks at
COVER = 1 / 8  # how far a cover reaches from the middle of its place, as a share of the picture


def read(model, config, texts):
    """Words, and after each of them how probable the final answer is, had the question ended there."""
    check_labels(config, model.output["probabilities"].shape[-1])
    size = size_of(config["options"]["size"])
    files, questions = zip(*map(file_and_question, texts), strict=True)
    pictures = np.array([resized(read_picture(file), size) for file in files])
    tokens = words.tokens(model.get_layer("words"), questions)
    if not all(tokens):
        raise InputError(f"There is no word in the question {questions[tokens.index([])]!r}.")
    so_far = [probability_so_far(model, *pair) for pair in zip(pictures, tokens, strict=True)]
    inputs = [pictures, np.array(questions, object)]
    return Reading(inputs, tokens, {"the final answer so far": so_far}, opens_on_swing=True)


def file_and_question(text):
    file, _, question = text.partition(": ")
    if not question.strip():
        raise InputError(f"Expected a picture and a question, such as 'a.png: what is red?'; got {text!r}.")
    return file, question


def probability_so_far(model, picture, question):
    prefixes = [" ".join(question[: number + 1]) for number in range(len(question))]
    pictures = np.repeat(picture[None], len(prefixes), axis=0)
    answered = model([pictures, np.array(prefixes, object)], training=False)["probabilities"].numpy()
    return answered[:, answered[-1].argmax()]


def see(model, config, picture, question):
    """The answer to a question about a picture, and the places without which it would be less sure.

    Each place is covered in turn by the picture's most frequent colour, as Zeiler and Fergus 2014 did; what
    counts is how far the log odds of the answer fall.
    """
    check_words(question, config)
    picture = resized(picture, size_of(config["options"]["size"]))
    pictures = np.concatenate([picture[None], covered(picture)])
    answered = model([pictures, np.array([question] * len(pictures), object)], training=False)
    probabilities = answered["probabilities"].numpy().astype("float64")
    sure = probabilities[:, probabilities[0].argmax()]
    odds = np.log(np.maximum(sure, 1e-12)) - np.log(np.maximum(1 - sure, 1e-12))
    falls = np.maximum(odds[0] - odds[1:], 0).reshape(1, PLACES, PLACES)
    return Seen([answered["answers"].numpy()[0].decode()], float(sure[0]), falls)


def covered(picture):
    """The picture once for each place, row by row, with this place covered."""
    height, width = picture.shape[:2]
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    middles = (np.arange(PLACES) + 0.5) / PLACES
    rows, columns = (
        abs((np.arange(size) + 0.5) / size - middles[:, None]) <= COVER for size in (height, width)
    )
    hidden = (rows[:, None, :, None] & columns[None, :, None, :]).reshape(-1, height, width, 1)
    return np.where(hidden, colours[counts.argmax()], picture)


def check_words(question, config):
    """Raise `InputError` if the network knows no word of a question."""
    known = config.get("words")
    asked = standardize_words([question]).numpy()[0].decode().split()
    if not asked:
        raise InputError(f"There is no word in the question {question!r}.")
    if known and not set(asked) & set(known):
        raise InputError(
            f"The network knows no word of the question {question!r}; it knows {', '.join(known[:12])}, …"
        )
