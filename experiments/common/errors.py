"""What ends a command with a sentence instead of a traceback."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that says what and why."""


def sentence_of(error):
    """What an `OSError` says, in a sentence: those of the system carry a reason and perhaps a path."""
    if error.strerror is None:
        return str(error)
    return f"Cannot use {error.filename or 'the disk'}: {error.strerror}."
