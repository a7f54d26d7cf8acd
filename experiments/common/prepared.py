"""Datasets of tensorflow-datasets, whose errors are reported in one sentence."""

import difflib
import sys

from experiments.common.errors import InputError, reason_of


def builder(name):
    """The builder of a dataset that is prepared in `TFDS_DATA_DIR`; if not, it is downloaded there."""
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
        raise InputError(
            f"Cannot download {name} ({reason_of(error)}); "
            "set TFDS_DATA_DIR to a folder where it is prepared."
        ) from error
    return found


def check_part(name, builder_class):
    """Raise `InputError` if the dataset has several parts and the name is not that of one of them."""
    parts = list(builder_class.builder_configs)
    _, _, part = name.partition("/")
    if len(parts) < 2 or part.partition(":")[0] in parts:
        return
    like = ", ".join(difflib.get_close_matches(part, parts, 5, cutoff=0) if part else parts[:5])
    what = f"has no {part}" if part else "has many parts; name one of them"
    raise InputError(f"--dataset {name} {what}: there are {like} and others, {len(parts)} in all.")
