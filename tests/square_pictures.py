"""Pictures whose label can be seen: which of four corners has a bright square."""

import numpy as np


def square_pictures(count, seed, edge, square):
    """(uint8 (count, edge, edge), labels): the square has so many pixels along its edge."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    pictures = rng.integers(0, 40, (count, edge, edge))
    for picture, label in zip(pictures, labels, strict=True):
        y, x = (edge - square) * (label // 2), (edge - square) * (label % 2)
        picture[y : y + square, x : x + square] = 255
    return pictures.astype("uint8"), labels


def saved(path, train, test):
    """The path, where both parts stand as an .npz file has them."""
    np.savez(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    return path
