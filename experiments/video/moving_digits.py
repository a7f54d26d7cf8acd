"""Films that are drawn: a digit goes behind a bar, may be exchanged there, and comes out again.

The label of a frame is the digit in play, also while nothing of it can be seen. In the middle of the picture
stands a bar. A digit comes from the left or the right, stays behind the bar for 5 to 9 frames, and comes out
on one of its sides. While it is hidden the bar may flash, up to twice: with each flash the digit is exchanged
for the next one (0 for 9), another handwriting of it, and this is what comes out.

A frame in which the digit is hidden shows a bar, flashing or not, and nothing else: it tells nothing about
the label, and guesses are right one time in ten. Who saw the digit and counted the flashes knows it.
"""

import numpy as np
from PIL import Image

from experiments.common.digits import digits
from experiments.common.splits import split
from experiments.video.clips import Clip

FRAMES, HEIGHT, WIDTH, DIGIT = 24, 24, 64, 16
BAR = (22, 42)  # columns of the bar, wider than a digit
BAR_COLOUR, FLASH = (70, 70, 140), (255, 220, 0)
LABELS = tuple("0123456789")
EXCHANGES = 2  # at most
CLIPS = {"train": 1500, "validation": 150, "test": 500}
PARTS = ("train", "validation", "test")


class MovingDigits:
    """Films of the digits of one part, drawn one by one; those of two parts share no handwriting.

    part: "train", "validation" or "test".
    count: how many clips there are; a clip of any higher index can be drawn too, and is another one.
    """

    labels = LABELS
    endless = True

    def __init__(self, part, count):
        self.part, self.count = part, count
        pictures, labels = digits("moving_digits")
        chosen = split([picture.tobytes().hex() for picture in pictures])[part]
        self._by_label = [
            [_small(pictures[at]) for at in chosen if labels[at] == label] for label in range(len(LABELS))
        ]

    def __len__(self):
        return self.count

    @property
    def lengths(self):
        return [FRAMES] * self.count

    def clip(self, index):
        """The clip of that index, always the same."""
        rng = np.random.default_rng([PARTS.index(self.part), index])
        label = int(rng.integers(len(LABELS)))
        picture = self._draw(label, rng)
        x, waiting = _path(rng)
        y = _bounced(rng.integers(HEIGHT - DIGIT + 1), rng.choice((-1, 0, 1)))
        flashes = rng.choice(waiting[1:], rng.integers(EXCHANGES + 1), replace=False)
        frames, labels = np.zeros((FRAMES, HEIGHT, WIDTH, 3), "uint8"), np.zeros(FRAMES, "int32")
        for t, frame in enumerate(frames):
            if t in flashes:
                label = (label + 1) % len(LABELS)
                picture = self._draw(label, rng)
            frame[y[t] : y[t] + DIGIT, x[t] : x[t] + DIGIT] = picture[..., None]
            frame[:, slice(*BAR)] = 0
            labels[t] = label
        hidden = ~frames.any(axis=(1, 2, 3))
        frames[:, :, slice(*BAR)] = BAR_COLOUR
        frames[flashes, :, slice(*BAR)] = FLASH
        return Clip(frames, labels, hidden)

    def fingerprint(self):
        return f"{self.part}: {self.count} drawn clips"

    def _draw(self, label, rng):
        return self._by_label[label][rng.integers(len(self._by_label[label]))]


def load(limit=None):
    """The three parts, of at most `limit` clips each."""
    return [MovingDigits(part, min(count, limit or count)) for part, count in CLIPS.items()]


def _small(picture):
    return np.asarray(Image.fromarray(picture).resize((DIGIT, DIGIT), Image.Resampling.BILINEAR))


def _path(rng):
    """The left edge of the digit in each frame, and the numbers of the frames in which it waits."""
    speed = rng.integers(3, 6)
    coming = np.arange(rng.integers(0, 5), BAR[0], speed)
    waiting = len(coming) + np.arange(rng.integers(5, 10))
    going = np.maximum(BAR[0] - speed * np.arange(1, FRAMES), 0)
    middle = np.full(len(waiting), (BAR[0] + BAR[1] - DIGIT) // 2)
    from_right, to_right = rng.random(2) < 0.5
    coming, going = (
        WIDTH - DIGIT - x if right else x for x, right in ((coming, from_right), (going, to_right))
    )
    return np.concatenate([coming, middle, going])[:FRAMES], waiting


def _bounced(start, step):
    """A height for each frame, moving up or down evenly, and back at the edges."""
    most = HEIGHT - DIGIT
    way = (start + step * np.arange(FRAMES)) % (2 * most)
    return np.where(way > most, 2 * most - way, way)
