"""Films, frame by frame: from video files, from folders of pictures, and drawn ones."""

import re
from pathlib import Path

from experiments.common.errors import InputError, reason_of
from experiments.common.pictures import read_picture
from experiments.video.moving_digits import MovingDigits

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
DRAWN = re.compile(r"moving_digits:(\d{1,9})")


def frames_of(source):
    """The frames of a film, one after the other, as uint8 (height, width, 3).

    source: the path of a video file, or of a folder of pictures that are its frames in the order of their
        names; or "moving_digits:N", clip N of the test part of that dataset.

    Raises:
        InputError: there is no frame, or a frame cannot be read.
        OSError: there is no such file.
    """
    if drawn := DRAWN.fullmatch(str(source)):
        number = int(drawn[1])
        yield from MovingDigits("test", number + 1).clip(number).frames
    elif Path(source).is_dir():
        yield from map(read_picture, picture_files(source))
    else:
        yield from _frames_of_file(source)


def picture_files(folder):
    """The pictures in a folder, in the order of their names, numbers in them as numbers.

    Raises `InputError` if there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(f"The folder {folder} holds no picture ({', '.join(SUFFIXES)}).")
    return sorted(files, key=lambda path: [int(part) if part.isdigit() else part for part in _parts(path)])


def _parts(path):
    return re.split(r"(\d+)", path.name)


def _frames_of_file(path):
    with open(path, "rb") as file:  # an error of the system, if there is one, names the file
        try:
            import av
        except ImportError as error:
            raise InputError(
                f"Reading the video file {path} needs PyAV: pip install keras_gates[video] ({error})."
            ) from error
        count = 0
        try:
            with av.open(file) as container:
                for frame in container.decode(video=0):
                    yield frame.to_ndarray(format="rgb24")
                    count += 1
        except (av.FFmpegError, IndexError, ValueError) as error:
            raise InputError(f"{path} cannot be read as a video: {reason_of(error)}.") from error
    if not count:
        raise InputError(f"{path} holds no frame.")
