"""Drawings of a pen in three parts: texts in Hershey's fonts, files of sketch-rnn, IAM-OnDB."""

from pathlib import Path

from experiments.common.errors import InputError
from experiments.handwriting.data import files, hershey, iam

HERSHEY = "hershey"


def read(options):
    """The drawings that `options.dataset` names, of each part at most `options.limit`, the first ones.

    Raises `InputError` for a dataset that cannot be read.
    """
    dataset = options.dataset
    if dataset == HERSHEY:
        corpus = hershey.read(options.fonts, options.limit)
    elif Path(dataset).is_dir():
        corpus = iam.read(dataset)
    elif dataset.endswith(".npz") and Path(dataset).is_file():
        corpus = files.read(dataset)
    else:
        raise InputError(
            f"--dataset {dataset} is neither {HERSHEY}, an .npz file that exists nor a folder of IAM-OnDB."
        )
    corpus = corpus.first(options.limit)
    for name, part in corpus.parts().items():
        if not part:
            raise InputError(f"{dataset} is too small: its {name} part has no drawing.")
    if not corpus.unit:
        raise InputError(f"{dataset} shows nothing: the pen never moves in its training part.")
    return corpus
