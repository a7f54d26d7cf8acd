"""Datasets of tensorflow-datasets, with the errors that its users meet said in a sentence."""

import difflib
import sys

from experiments.common.errors import InputError


def builder(name):
    """The builder of a dataset that lies prepared in `TFDS_DATA_DIR`, or is downloaded there now."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"--dataset {name} needs tensorflow-datasets: pip install keras_gates[experiments] ({error})."
        ) from error
    check_part(name, tfds.builder_cls(name.partition("/")[0]))
    found = tfds.builder(name)
    if found.info.splits:
        return found
    print(
        f"Downloading {name} to {found.data_dir}; without a network this gives up in minutes.",
        file=sys.stderr,
    )
    try:
        found.download_and_prepare()
    except Exception as error:  # whatever the network, the mirror, the checksums or the disk may raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"Cannot download {name} ({reason}); point TFDS_DATA_DIR at a folder where it lies prepared."
        ) from error
    return found


def check_part(name, builder_class):
    """Raise an InputError if the dataset has several parts, and the name is that of none."""
    parts = list(builder_class.builder_configs)
    _, _, part = name.partition("/")
    if len(parts) < 2 or part.partition(":")[0] in parts:
        return
    like = ", ".join(difflib.get_close_matches(part, parts, 5, cutoff=0) if part else parts[:5])
    what = f"has no {part}" if part else "has many parts; name one of them"
    raise InputError(f"--dataset {name} {what}: there are {like} and others, {len(parts)} in all.")
