"""The one exception that ends a command with a sentence instead of a traceback."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence that says what and why."""
