"""Tasks for the cells, a folder each: `python -m experiments.sentiment`. What they share is in `common`."""

import os


def _import_tensorflow_quietly():
    """Import TensorFlow without the lines it writes before it reads its log level.

    They come from native code, so only the file descriptor can hold them back; a failed import still
    raises. Whoever sets TF_CPP_MIN_LOG_LEVEL sees what they asked for.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


_import_tensorflow_quietly()
