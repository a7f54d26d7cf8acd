"""Examples that are named by their number, in tasks that read no texts."""

from experiments.common.errors import InputError


def number_of(text, count):
    """The number of an example, from 0 to below `count`. Raises `InputError` if the text is none."""
    if not text.strip().isdecimal() or int(text) >= count:
        raise InputError(f"{text!r} is not the number of a test example: expected 0 to {count - 1}.")
    return int(text)
