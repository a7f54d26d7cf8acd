"""Pictures of digits put into scenes: moved, turned, distorted, or among pieces of other digits."""

import dataclasses
import functools
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import interpolate, ndimage

from experiments.common import mnist
from experiments.common.batches import Batches
from experiments.common.errors import InputError
from experiments.common.options import Parser, whole
from experiments.common.pictures import LARGEST, read_picture, resized

OF_THE_TEST = re.compile(r"digits:(\d{1,9})")
EVALUATION_BATCH = 100
TRACED = 3  # test digits that --trace shows
PARTS = ("train", "validation", "test")
PIECES, PIECE = 4, 8  # how many pieces of other digits a cluttered scene has, and the pixels of their edge
GRID, BEND = 4, 1.5  # of an elastic scene: control points along an edge, pixels that one is moved by
CORNER = 5.0  # of a projected scene: pixels that a corner is moved by


def plain(scenes, index, rng):
    """The picture itself."""
    return scenes.pictures[index]


def translated(scenes, index, rng):
    """The digit anywhere in a black picture."""
    scene = np.zeros(scenes.shape, "uint8")
    _add(scene, scenes.pictures[index], rng)
    return scene


def cluttered(scenes, index, rng):
    """That, among pieces of other digits (Mnih et al. 2014)."""
    scene = np.zeros(scenes.shape, "uint8")
    for other in scenes.pictures[rng.integers(len(scenes), size=PIECES)]:
        y, x = (rng.integers(edge - PIECE + 1) for edge in other.shape)
        _add(scene, other[y : y + PIECE, x : x + PIECE], rng)
    _add(scene, scenes.pictures[index], rng)
    return scene


def rotated(scenes, index, rng):
    """Turned by up to 90° either way: R of Jaderberg et al. 2015."""
    return _turned(scenes, index, rng.uniform(-90, 90), 1.0, _middle(scenes.shape))


def moved(scenes, index, rng):
    """Turned by up to 45°, scaled by 0.7 to 1.2, anywhere: RTS of Jaderberg et al. 2015."""
    angle, scale = rng.uniform(-45, 45), rng.uniform(0.7, 1.2)
    room = [max(0.0, (edge - scale * own) / 2) for edge, own in zip(scenes.shape, scenes.digit, strict=True)]
    return _turned(scenes, index, angle, scale, _middle(scenes.shape) + rng.uniform(-1, 1, 2) * room)


def projected(scenes, index, rng):
    """Scaled by 0.75 to 1, each corner moved by a normal draw of 5 pixels: P of Jaderberg et al. 2015.

    Corners of which one is inside the triangle of the others, 2 of 100 draws, are drawn again: no view of a
    plane has them.
    """
    corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * (np.array(scenes.digit) - 1)
    middle = _middle(scenes.digit)
    sides = np.zeros(1)
    while not (sides > 0).all():
        there = (corners - middle) * rng.uniform(0.75, 1) + _middle(scenes.shape)
        there = there + rng.normal(0, CORNER, there.shape)
        back = _homography(there, corners)
        sides = np.c_[there, np.ones(4)] @ back[2]
        back, sides = back * np.sign(sides[0]), sides * np.sign(sides[0])  # up to a scale, so to its sign
    rows, columns = np.indices(scenes.shape)
    ones = np.ones_like(rows)
    y, x, depth = np.einsum("ij,jkl->ikl", back, np.stack([rows, columns, ones]))
    seen = depth > 1e-6  # behind the horizon there is nothing
    y, x = (np.divide(at, depth, where=seen, out=np.full_like(depth, -1e6)) for at in (y, x))
    return _sampled(scenes.pictures[index], y, x)


def elastic(scenes, index, rng):
    """Bent by a thin-plate spline, 4 × 4 points moved by normal draws of 1.5 pixels: E of the same."""
    bend = np.einsum("kc,pk->cp", rng.normal(0, BEND, (GRID**2, 2)), _spline(scenes.digit))
    rows, columns = np.indices(scenes.shape)
    top, left = (round(edge) for edge in _middle(scenes.shape) - _middle(scenes.digit))
    y, x = rows - float(top), columns - float(left)
    inside = slice(top, top + scenes.digit[0]), slice(left, left + scenes.digit[1])
    y[inside] += bend[0].reshape(scenes.digit)
    x[inside] += bend[1].reshape(scenes.digit)
    return _sampled(scenes.pictures[index], y, x)


SCENES = {
    scene.__name__: scene for scene in (plain, translated, cluttered, rotated, moved, projected, elastic)
}


class Scenes:
    """Digits in scenes, which are drawn when they are asked for.

    digits: an `experiments.common.mnist.Part`.
    kind: one of `SCENES`.
    edge: pixels of the edge of a scene that is not plain; at least that of a digit.
    part: "train", "validation" or "test": a scene depends on it and on its index alone. An index beyond the
        last digit is another scene of the digit with that remainder.

    Raises `InputError` if the digits are larger than the scene.
    """

    def __init__(self, digits, kind, edge, part):
        self.pictures, self.labels = digits.pictures, digits.labels
        self.kind, self.edge = kind, edge
        self.seed = PARTS.index(part)
        if max(self.digit) > min(self.shape):
            raise InputError(f"--edge must be at least {max(self.digit)}, that of the digits; got {edge}.")

    def __len__(self):
        return len(self.labels)

    @property
    def digit(self):
        """(height, width) of a digit."""
        return self.pictures.shape[1:]

    @property
    def shape(self):
        """(height, width) of a scene."""
        return self.digit if self.kind == "plain" else (self.edge, self.edge)

    def batch(self, indices):
        """The scenes with these indices, and their labels."""
        own, draw = np.asarray(indices) % len(self), SCENES[self.kind]
        drawn = [
            draw(self, at, np.random.default_rng([self.seed, index]))
            for at, index in zip(own, indices, strict=True)
        ]
        return np.stack(drawn), self.labels[own]


class SceneBatches(Batches):
    """Batches of scenes; those of each epoch are drawn anew."""

    def __init__(self, scenes, batch_size, seed=0):
        signature = (
            tf.TensorSpec((None, *scenes.shape), tf.uint8),
            tf.TensorSpec((None,), tf.int32),
        )
        super().__init__(np.ones(len(scenes), int), scenes.batch, signature, batch_size, seed)

    def epoch(self, number):
        # the scenes of `once`, those of validation and test, are the first of each digit
        return [indices + (number + 1) * len(self.lengths) for indices in super().epoch(number)]


def add_options(group, scene, edge):
    """The options that say of which digits, and in which scenes.

    scene, edge: the defaults.
    """
    group.add_argument(
        "--dataset",
        default="digits",
        help="digits (5,000 of MNIST, nothing to download), mnist (through tensorflow-datasets), or an .npz "
        "file with x_train, y_train, x_test and y_test",
    )
    group.add_argument("--test-on", metavar="DATASET", help="another one of these, for its test part")
    group.add_argument(
        "--scene",
        choices=SCENES,
        default=scene,
        help="plain: the digit as it is; in a larger picture, translated: anywhere; cluttered: there among "
        "pieces of other digits; rotated: by up to 90 degrees; moved: rotated by up to 45 degrees, scaled, "
        "anywhere; projected: as from a slant; elastic: bent",
    )
    group.add_argument(
        "--train-scene",
        choices=SCENES,
        help="another scene for the digits of training alone, such as elastic, which makes many of few",
    )
    group.add_argument(
        "--edge", type=whole(1, LARGEST), default=edge, help="pixels of the edge of that larger picture"
    )


def corpus_of(options):
    """The digits that a run's options, a dict, name."""
    corpus = mnist.load(options["dataset"], options["limit"])
    if options["test_on"] is None:
        return corpus
    return dataclasses.replace(corpus, test=mnist.load(options["test_on"], options["limit"]).test)


class Prepared(NamedTuple):
    """The digits that a run's options name, in scenes.

    train, validation, test: `SceneBatches`, or what a task makes of the scenes.
    shape: (height, width) of a scene.
    labels: their names.
    facts, texts: as `training.Problem` takes them.
    """

    train: SceneBatches
    validation: SceneBatches
    test: SceneBatches
    shape: tuple
    labels: tuple
    facts: dict
    texts: tuple


def prepared(options, make=SceneBatches):
    """The `Prepared` scenes of a run.

    make: a function from `Scenes`, the size of a batch and a seed, 0 by default, to batches.
    """
    corpus = corpus_of(vars(options))
    train, validation, test = (
        Scenes(part, options.scene, options.edge, name) for name, part in corpus.parts().items()
    )
    if options.train_scene:
        train = Scenes(corpus.train, options.train_scene, max(test.shape), "train")
        if train.shape != test.shape:
            raise InputError(
                f"--train-scene {options.train_scene} gives pictures of {train.shape}, --scene "
                f"{options.scene} of {test.shape}; they must be of one size."
            )
    return Prepared(
        train=make(train, options.batch_size, options.seed),
        validation=make(validation, EVALUATION_BATCH),
        test=make(test, EVALUATION_BATCH),
        shape=train.shape,
        labels=tuple(map(str, range(corpus.classes))),
        facts={
            "data": corpus.fingerprint(),
            "examples": {name: len(part.labels) for name, part in corpus.parts().items()},
            "shape": list(train.shape),
        },
        texts=tuple(f"digits:{number}" for number in range(TRACED)),
    )


def predict_parser(task, description="Print what digit a picture shows, and its probability."):
    """The parser of `predict`, to which a task adds its pictures."""
    parser = Parser(prog=f"python -m experiments.{task} predict", description=description)
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "pictures",
        metavar="PICTURE",
        nargs="+",
        help="a picture file, or digits:N for a picture of the test part",
    )
    return parser


def picture_of(source, config):
    """The picture that a run is asked about, uint8 (height, width), as its network takes it.

    source: the path of a picture, whose colours are inverted if its edge is bright, since digits are white
        on black here; or "digits:N", picture N of the test part of the run's own digits, in a scene as in
        training.

    Raises:
        InputError: there is no such picture, or it cannot be read.
        OSError: there is no such file.
    """
    options, shape = config["options"], config["shape"]
    if asked := OF_THE_TEST.fullmatch(source):
        digits = corpus_of(options).test
        if int(asked[1]) >= len(digits.labels):
            raise InputError(f"The test part has {len(digits.labels)} pictures, from 0; got {source}.")
        scenes = Scenes(digits, options["scene"], options["edge"], "test")
        return scenes.batch([int(asked[1])])[0][0]
    grey = resized(read_picture(source), shape).mean(axis=-1).round().astype("uint8")
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return 255 - grey if edge.mean() > 127 else grey


def _add(scene, picture, rng):
    """Put a picture anywhere into a scene; the brighter of two pixels stays."""
    y, x = (rng.integers(whole - part + 1) for whole, part in zip(scene.shape, picture.shape, strict=True))
    place = scene[y : y + picture.shape[0], x : x + picture.shape[1]]
    np.maximum(place, picture, out=place)


def _middle(shape):
    """Row and column of the middle of a picture of that shape."""
    return (np.array(shape) - 1) / 2


def _turned(scenes, index, angle, scale, centre):
    """A digit, turned by an angle in degrees, scaled, with its middle at that row and column of the scene."""
    turn = np.deg2rad(angle)
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    offset = _middle(scenes.digit) - back @ centre
    return ndimage.affine_transform(scenes.pictures[index], back, offset, output_shape=scenes.shape, order=1)


def _homography(points, images):
    """The 3 × 3 matrix that maps four (row, column) points to their images, up to a scale."""
    rows = []
    for (y, x), (v, u) in zip(points, images, strict=True):
        rows += [[y, x, 1, 0, 0, 0, -v * y, -v * x], [0, 0, 0, y, x, 1, -u * y, -u * x]]
    solved, *_ = np.linalg.lstsq(np.array(rows), np.asarray(images, float).ravel(), rcond=None)
    return np.append(solved, 1.0).reshape(3, 3)


@functools.cache
def _spline(shape):
    """Weights (pixels, control points): how far a pixel is moved by each control point of a spline."""
    points = np.stack(np.meshgrid(*(np.linspace(0, edge - 1, GRID) for edge in shape), indexing="ij"), -1)
    pixels = np.indices(shape).reshape(2, -1).T
    spline = interpolate.RBFInterpolator(points.reshape(-1, 2), np.eye(GRID**2), kernel="thin_plate_spline")
    return spline(pixels)


def _sampled(picture, y, x):
    """The picture at these rows and columns, bilinearly; black outside."""
    return ndimage.map_coordinates(picture, [y, x], order=1)
