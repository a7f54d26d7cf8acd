"""How a run of this task is read; `experiments.common.reading` says what for.

A text is the path of a picture and a question about it, with ": " between them.
"""

import numpy as np

from experiments.common import words
from experiments.common.errors import InputError
from experiments.common.pictures import read_picture, resized, size_of
from experiments.common.reading import Reading
from experiments.common.run_folder import check_labels

TAKES_PATHS = True


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
