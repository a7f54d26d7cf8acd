"""Errors that end a command with one sentence instead of a traceback."""

# Begins the message of a run that diverged, by which `experiments.compare` knows one.
DIVERGED = "The loss was no longer finite"


class InputError(ValueError):
    """The user's input cannot be used; the message is one sentence that says which and why."""


def sentence_of(error):
    """The message of an `OSError` as a sentence: one of the system has a reason and perhaps a path."""
    if error.strerror is None:
        return str(error)
    return f"Cannot use {error.filename or 'the disk'}: {error.strerror}."


def reason_of(error):
    """The first line of an exception's message without its full stop, or its type if there is no message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
