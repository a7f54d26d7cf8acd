"""What clients send, checked: everything in it that cannot be answered is a `RequestError`."""

import json

from experiments.serve.limits import MOST_BYTES, MOST_TEXTS


class RequestError(ValueError):
    """The request cannot be answered; the message is the sentence that the client gets."""

    status = 400  # of HTTP


def parsed(content):
    """The JSON object in a message, given as bytes."""
    if len(content) > MOST_BYTES:
        raise RequestError(f"The message is larger than {MOST_BYTES} bytes.")
    try:
        message = json.loads(content.decode())
    except UnicodeDecodeError as error:
        raise RequestError("The message is not UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise RequestError("The message is not JSON.") from error
    if not isinstance(message, dict):
        raise RequestError("The message must be a JSON object.")
    return message


def texts_in(message):
    """The texts to predict: `{"texts": [...]}`."""
    texts = message.get("texts")
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
        raise RequestError('Send {"texts": [...]}, a list of texts that are not empty.')
    if len(texts) > MOST_TEXTS:
        raise RequestError(f"At most {MOST_TEXTS} texts at once.")
    for text in texts:
        check_characters(text)
    return texts


def pushed_in(message, by_character):
    """The text to push onto a stream: `{"push": "..."}`; None if the message only resets the stream."""
    pushed = message.get("push")
    if pushed is None and flag_in(message, "reset"):
        return None
    if not isinstance(pushed, str) or not (pushed if by_character else pushed.strip()):
        raise RequestError('Send {"push": "some words"} or {"reset": true}.')
    check_characters(pushed)
    return pushed


def flag_in(message, name):
    """Whether an option that is true or false, and false by default, is set."""
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f'"{name}" must be true or false.')
    return value


def check_characters(text):
    """JSON can escape one half of a surrogate pair, such as "\\ud800", which stands for no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])[1:-1]
        raise RequestError(f"The text holds {half}, half a surrogate pair, which is no character.") from error
