"""What tasks with pictures share: files of every mode read right, and encoders of pictures of any size."""

import argparse

import keras
import numpy as np
import pytest
from PIL import Image

from experiments.common import pictures
from experiments.common.errors import InputError
from experiments.common.options import Parser

RED, WHITE = (255, 0, 0), (255, 255, 255)


def options(*words):
    parser = Parser()
    pictures.add_options(parser, size="16x24", filters=4, stages=2)
    return parser.parse_args(words)


# -- files


def saved(path, image, **kwargs):
    image.save(path, **kwargs)
    return path


def test_every_mode_becomes_the_same_picture(tmp_path):
    red = Image.new("RGB", (5, 3), RED)
    files = [
        saved(tmp_path / "rgb.png", red),
        saved(tmp_path / "palette.gif", red.convert("P")),
        saved(tmp_path / "opaque.png", red.convert("RGBA")),
        saved(tmp_path / "cmyk.tiff", red.convert("CMYK")),
        saved(tmp_path / "bitmap.bmp", red),
    ]
    for path in files:
        picture = pictures.read_picture(path)
        assert picture.dtype == "uint8"
        assert picture.shape == (3, 5, 3)
        assert (picture == RED).all(), path


def test_transparent_pixels_are_white(tmp_path):
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    files = [saved(tmp_path / "rgba.png", image), saved(tmp_path / "palette.png", image.quantize())]
    assert Image.open(files[1]).mode == "P"
    for path in files:
        assert pictures.read_picture(path).tolist() == [[list(RED), list(WHITE)]]


@pytest.mark.parametrize("kind", ["uint16", "uint8"])
def test_grey_of_8_and_of_16_bits_keeps_its_tones(tmp_path, kind):
    tones = np.array([[0, 51, 128, 255]], "uint8")
    array = tones.astype("uint16") * 257 if kind == "uint16" else tones
    picture = pictures.read_picture(saved(tmp_path / "grey.png", Image.fromarray(array)))
    np.testing.assert_array_equal(picture, np.repeat(tones[..., None], 3, axis=-1))


def test_a_noted_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees to see it upright
    assert pictures.read_picture(saved(tmp_path / "turned.png", image, exif=exif)).shape == (4, 2, 3)


def test_what_is_no_picture_is_one_sentence(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    whole = saved(tmp_path / "whole.png", Image.effect_noise((60, 60), 50)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    saved(tmp_path / "huge.png", Image.new("1", (10_000, 10_000)))
    saved(tmp_path / "float.tiff", Image.new("F", (2, 2)))
    for name in ("text.png", "empty.png", "cut.png", "huge.png", "float.tiff"):
        with pytest.raises(InputError) as error:
            pictures.read_picture(tmp_path / name)
        assert f"{tmp_path / name} cannot be read as a picture" in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        pictures.read_picture(tmp_path / "absent.png")


# -- networks


def test_an_encoder_takes_pictures_of_any_size():
    network = pictures.encoder(options())
    rows, columns = pictures.grid_of(network)
    assert (rows, columns) == (4, 6)
    for shape in ((16, 24), (1, 1), (50, 7)):
        features = network.predict(np.zeros((2, *shape, 3), "uint8"), verbose=0)
        assert features.shape == (2, rows * columns, 8)


def test_the_grid_has_the_order_of_the_picture():
    network = pictures.encoder(options("--stages", "1"))
    black = np.zeros((1, 16, 24, 3), "uint8")
    dotted = black.copy()
    dotted[0, 2, 20] = 255  # row 1, column 10 of the 8 x 12 grid
    change = np.abs(network(dotted) - network(black)).sum(axis=-1)[0].reshape(pictures.grid_of(network))
    changed = np.argwhere(change > 1e-4)  # 3 x 3 pixels see the dot, in places of 2 x 2 pixels
    assert changed.size
    assert (changed >= [0, 9]).all()
    assert (changed <= [1, 10]).all()


def test_resizing_before_is_resizing_inside_but_for_rounding():
    network = pictures.encoder(options())
    rescaled = keras.Model(network.input, network.get_layer("rescaling").output)
    picture = np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype="uint8")
    small = pictures.resized(picture, (16, 24))
    assert small.shape == (16, 24, 3)
    np.testing.assert_array_equal(pictures.resized(small, (16, 24)), small)
    np.testing.assert_allclose(rescaled(small[None]), rescaled(picture[None]), atol=0.501 / 127.5)


def test_a_backbone_of_keras_applications_starts_from_a_file(tmp_path):
    original = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / "mobile.weights.h5"
    original.save_weights(path)
    words = ["--size", "32x32", "--backbone", "MobileNetV2", "--backbone-weights", str(path), "--frozen"]
    network = pictures.encoder(options(*words))
    assert not network.trainable_variables
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype="uint8")
    scaled = keras.applications.mobilenet_v2.preprocess_input(picture.astype("float32"))
    expected = np.reshape(original(scaled, training=False), (1, -1, 1280))
    np.testing.assert_allclose(network(picture), expected, atol=1e-4)


def test_every_network_of_keras_applications_has_its_scaling():
    names = [name for name in dir(keras.applications) if name[0].isupper()]
    assert len(names) > 30
    for name in names:
        make, scale = pictures._application(name)
        assert make is getattr(keras.applications, name)
        assert scale.__module__ == make.__module__


def test_features_are_computed_once_for_pictures_and_weights(tmp_path):
    network = pictures.encoder(options())
    some = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype="uint8")
    first = pictures.features_of(network, some, tmp_path)
    np.testing.assert_allclose(first, network.predict(some, verbose=0), atol=1e-2)
    (file,) = tmp_path.iterdir()
    np.save(file, np.zeros((1, 2, 3), "float16"))
    assert pictures.features_of(network, some, tmp_path).shape == (1, 2, 3)  # read, not computed
    pictures.features_of(network, some[:2], tmp_path)
    network.set_weights([weight + 1 for weight in network.get_weights()])
    pictures.features_of(network, some, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--size", "4x4", "--stages", "3"], "--size 4x4 is too small to be halved 3 times"),
        (["--backbone", "ResNet5000"], "ResNet5000 is neither small nor a network of keras.applications"),
        (["--backbone", "MobileNetV2", "--backbone-weights", "absent.h5"], "with the weights absent.h5"),
        (["--frozen"], "need a --backbone other than small"),
    ],
)
def test_a_network_that_cannot_be_made_is_one_sentence(words, sentence):
    with pytest.raises(InputError, match=sentence):
        pictures.encoder(options(*words))


@pytest.mark.parametrize("text", ["64", "0x4", "4x", "axb", "4x4x4", "9999x9"])
def test_a_size_that_is_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match="HEIGHTxWIDTH"):
        pictures.size_text(text)
