"""Datasets of tensorflow-datasets, with the errors that its users meet said in a sentence."""

import difflib
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
    _check_config(name, tfds.builder_cls(name.partition("/")[0]))
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


def _check_config(name, builder_class):
    """Raise an InputError unless a dataset of many configs is named with one that it has."""
    configs = list(builder_class.builder_configs)
    _, _, config = name.partition("/")
    if not configs or config.partition(":")[0] in configs:
        return
    like = difflib.get_close_matches(config, configs, 5, cutoff=0) if config else configs[:5]
    what = f"has no {config}" if config else "has many parts; name one of them"
    raise InputError(
        f"--dataset {name} {what}: there are {', '.join(like)} and others, {len(configs)} in all."
    )
