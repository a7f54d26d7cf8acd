"""Pictures: how their files are read, and the networks that turn them into features.

A picture is a NumPy array of uint8, (height, width, 3), in RGB. Models take batches of them of any height and
width, and resize them themselves; `resized` does the same before training, so that a corpus fits in memory.
"""

import argparse
import hashlib
import io
import json
import math
import re
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import ops
from PIL import Image, ImageOps, UnidentifiedImageError

from experiments.common.errors import InputError, reason_of
from experiments.common.options import whole
from keras_gates._files import written_whole

LARGEST = 1024  # pixels of an edge to which a network may resize pictures
NO_BACKBONE = "small"
# Formats read from strangers: Pillow gives others to programs outside, or to large libraries.
SAFE = ("PNG", "JPEG", "GIF", "WEBP", "BMP")


# -- files


def read_picture(path):
    """The picture in a file of any format and colour mode that Pillow reads.

    What is transparent becomes white, 16 bits become 8, a rotation that a camera noted is applied, and of an
    animation the first frame is taken.

    Raises:
        InputError: the file holds no picture, a damaged one, or one of so many pixels that Pillow takes it
            for an attack on the memory (about 90 million).
        OSError: there is no such file, or it cannot be opened.
    """
    try:
        return _read(path)
    except Exception as error:  # a damaged file may raise anything: OSError, SyntaxError, ValueError, …
        if isinstance(error, OSError) and error.strerror is not None:
            raise
        raise InputError(f"{path} cannot be read as a picture: {reason_of(error)}.") from error


def picture_in(content, most_pixels):
    """The picture in bytes that a stranger sent, as `read_picture` reads it, in one of `SAFE` formats.

    Raises `InputError` if there is none, a damaged one, or one of more than `most_pixels`.
    """
    try:
        return _read(io.BytesIO(content), SAFE, most_pixels)
    except UnidentifiedImageError:
        raise InputError(f"This is no picture; {', '.join(SAFE)} are read.") from None
    except Exception as error:  # as above
        raise InputError(f"The picture cannot be read: {reason_of(error)}.") from error


def _read(file, formats=None, most_pixels=math.inf):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=formats) as image:
            if image.width * image.height > most_pixels:
                raise ValueError(
                    f"it has {image.width} × {image.height} pixels, at most {most_pixels:,} are read"
                )
            return _rgb(ImageOps.exif_transpose(image))


def _rgb(image):
    """A Pillow image as a picture."""
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow would cut off what is above 255
        grey = np.asarray(image).astype("int64")
        return np.repeat(np.clip(grey // 257, 0, 255).astype("uint8")[..., None], 3, axis=-1)
    if image.mode == "F":
        raise ValueError("its numbers are floats, of which no scale is known")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def resized(picture, size):
    """A picture in another size, as a network resizes it, but for the rounding to whole numbers.

    size: (height, width).
    """
    if picture.shape[:2] == tuple(size):
        return picture
    return np.round(ops.convert_to_numpy(_resize(picture[None], size))[0]).astype("uint8")


def _resize(pictures, size):
    """Pictures of uint8 in another size, in float32.

    Nothing is rounded here: a rounding error before would become a step, and whole films and their frames
    one by one would differ.
    """
    # antialias: without it a large picture becomes a few of its pixels
    return ops.image.resize(ops.cast(pictures, "float32"), size, antialias=True)


# -- networks


def add_options(parser, size, filters=16, stages=3):
    """Add the options that `encoder` reads to a parser, with these defaults."""
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--size",
        type=size_text,
        default=size,
        metavar="HEIGHTxWIDTH",
        help="size to which pictures are resized",
    )
    group.add_argument(
        "--backbone",
        default=NO_BACKBONE,
        metavar="NAME",
        help=f"{NO_BACKBONE}: blocks of convolution, batch normalisation and max pooling; or a network of "
        "keras.applications, such as MobileNetV2",
    )
    group.add_argument(
        "--filters",
        type=whole(1),
        default=filters,
        help=f"features of the first block of {NO_BACKBONE}; each further block has twice as many",
    )
    group.add_argument("--stages", type=whole(1, 8), default=stages, help=f"blocks of {NO_BACKBONE}")
    group.add_argument(
        "--backbone-weights",
        metavar="FILE",
        help="weights to start the backbone from: a .weights.h5 or .h5 file of it without its top, or "
        "imagenet to download them",
    )
    group.add_argument(
        "--frozen",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="do not train the backbone further",
    )


def size_text(text):
    """The type of a size, such as 64x64; it stays text, as a run folder keeps it. See `size_of`."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text) or max(size_of(text)) > LARGEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size of pictures: expected HEIGHTxWIDTH, such as 64x64, at most {LARGEST}"
        )
    return text


def size_of(text):
    """(height, width) of a size such as "64x64"."""
    height, width = text.split("x")
    return int(height), int(width)


def encoder(options):
    """The network from pictures to a grid of features, with the options of `add_options`.

    It takes uint8 (batch, height, width, 3), of any height and width, and returns (batch, L, D): D features
    at L places, row by row. `grid_of` tells how many rows and columns the places form.

    Raises `InputError` for a backbone that does not exist, or weights that are not its own.
    """
    pictures = keras.Input((None, None, 3), dtype="uint8", name="pictures")
    size = size_of(options.size)
    # The layer `Resizing` would let batch normalisation take batches for training ones: its own `call` has
    # training=True by default, which Keras passes on to the layers after it.
    numbers = _resize(pictures, size)
    if options.backbone == NO_BACKBONE:
        grid = _small(numbers, options)
    else:
        grid = _backbone(options.backbone, options.backbone_weights, size)(numbers)
    features = keras.layers.Reshape((-1, grid.shape[-1]), name="grid")(grid)
    network = keras.Model(pictures, features, name="encoder")
    network.trainable = not options.frozen
    return network


def grid_of(network):
    """(rows, columns) of the places of an encoder."""
    return network.get_layer("grid").input.shape[1:3]


def features_of(network, pictures, folder="runs/features"):
    """What an encoder that is not trained gives for pictures, computed once and kept on disk.

    pictures: uint8 (pictures, height, width, 3).
    folder: where the features are kept, in a file named after a hash of the pictures, the encoder's layers
        and its weights.

    Returns float16 (pictures, L, D), which is read from the disk where it is used.
    """
    path = Path(folder) / f"{_digest(network, pictures)}.npy"
    if not path.exists():
        features = network.predict(pictures, batch_size=32, verbose=0)
        with written_whole(path, "file of features", replace=True) as partial:
            np.save(partial, features.astype("float16"))
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged ({reason_of(error)}); remove it.") from error


def _digest(network, pictures):
    digest = hashlib.sha256(json.dumps([network.to_json(), pictures.shape]).encode())
    for array in (pictures, *network.get_weights()):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def _small(numbers, options):
    if options.backbone_weights or options.frozen:
        raise InputError(f"--backbone-weights and --frozen need a --backbone other than {NO_BACKBONE}.")
    size = size_of(options.size)
    if min(size) < 2**options.stages:
        raise InputError(f"--size {options.size} is too small to be halved {options.stages} times.")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(numbers)
    for stage in range(options.stages):
        filters = options.filters * 2**stage
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"convolution_{stage + 1}")(
            x
        )
        x = keras.layers.BatchNormalization(name=f"normalization_{stage + 1}")(x)
        x = keras.layers.ReLU(name=f"relu_{stage + 1}")(x)
        x = keras.layers.MaxPooling2D(name=f"pooling_{stage + 1}")(x)
    return x


def _backbone(name, weights, size):
    """A network of keras.applications without its top, after its own scaling of pixels."""
    make, scale = _application(name)
    numbers = keras.Input((*size, 3), name="numbers")
    try:
        network = make(include_top=False, weights=weights, input_shape=(*size, 3))
    except Exception as error:  # no archive, another network's weights, too small a size, …
        raise InputError(
            f"Cannot make --backbone {name} of size {size[0]}x{size[1]}"
            f"{f' with the weights {weights}' if weights else ''}: {reason_of(error)}."
        ) from error
    return keras.Model(numbers, network(scale(numbers)), name="backbone")


def _application(name):
    """The function that makes a network of keras.applications, and the one that scales pixels for it."""
    make = getattr(keras.applications, name, None)
    if not callable(make):
        raise InputError(f"--backbone {name} is neither {NO_BACKBONE} nor a network of keras.applications.")
    home = make.__module__.rpartition(".")[2]
    return make, getattr(keras.applications, home).preprocess_input
