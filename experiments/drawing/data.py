"""Digits as they are drawn: pixels with ink and without, and the noise by which they are encoded."""

import numpy as np
import tensorflow as tf

from experiments.common.scenes import SceneBatches

INK = 255
TOGETHER = 1_000  # scenes that are drawn at once to count their ink


class DrawingBatches(SceneBatches):
    """Batches of ({"pictures", "noise"}, pictures): pictures of 0 and 255 alone, from scenes of any grey.

    A pixel has ink with its brightness as the probability (Salakhutdinov & Murray 2008). The ink and the
    noise depend only on the seed, the part and the index of the scene: they are new in every epoch of
    training, and always the same in validation and test.

    scenes: an `experiments.common.scenes.Scenes`.
    steps, latent: of the noise, (batch, steps, latent).
    """

    def __init__(self, scenes, batch_size, seed=0, *, steps, latent):
        super().__init__(scenes, batch_size, seed)
        self.scenes, self.noise = scenes, (steps, latent)
        pictures, _ = self.signature
        noise = tf.TensorSpec((None, steps, latent), tf.float32)
        self.collate, self.signature = self.drawn, ({"pictures": pictures, "noise": noise}, pictures)

    def drawn(self, indices):
        grey, _ = self.scenes.batch(indices)
        pictures, noise = np.empty_like(grey), np.empty((len(grey), *self.noise), "float32")
        for row, index in enumerate(indices):
            rng = np.random.default_rng([self.seed, self.scenes.seed, index])
            pictures[row] = np.where(rng.random(grey.shape[1:]) * INK < grey[row], INK, 0)
            noise[row] = rng.standard_normal(self.noise, "float32")
        return {"pictures": pictures, "noise": noise}, pictures


def share_of_ink(scenes):
    """The probability of ink of each pixel, (height, width): (sum of brightness + ½) / (scenes + 1).

    So it is never 0 nor 1.
    """
    total = np.zeros(scenes.shape)
    for start in range(0, len(scenes), TOGETHER):
        grey, _ = scenes.batch(range(start, min(start + TOGETHER, len(scenes))))
        total += grey.sum(axis=0, dtype=float) / INK
    return (total + 0.5) / (len(scenes) + 1)
