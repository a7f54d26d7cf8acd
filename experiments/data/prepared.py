"""Datasets of tensorflow-datasets, with the errors that its users meet said in a sentence."""

import sys

from experiments.errors import InputError


def builder(name):
    """The builder of a dataset that lies prepared in `TFDS_DATA_DIR`, or is downloaded there now."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"--dataset {name} needs tensorflow-datasets: pip install keras_gates[experiments] ({error})."
        ) from error
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
