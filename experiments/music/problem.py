"""A corpus made ready for training."""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from experiments.common import training
from experiments.common.batches import Batches, pad
from experiments.music import data
from experiments.music.network import FrameLoss, foretelling, independent, network
from experiments.music.picture import save_picture

TRACED = 2  # test pieces that --trace shows
EVALUATION_BATCH = 16
FRAMES = tf.TensorSpec((None, None, data.KEYS), tf.float32)
SIGNATURE = (FRAMES, FRAMES, tf.TensorSpec((None, None), tf.float32))
# Nats a frame of the test part, each key foretold by itself: Chung et al. 2014, Table 2; Bai et al. 2018.
PUBLISHED = {
    "Nottingham": "tanh 3.13, GRU 3.23, LSTM 3.20 (Chung); RNN 4.05, GRU 3.46, LSTM 3.29 (Bai)",
    "JSB_Chorales": "tanh 9.10, GRU 8.54, LSTM 8.67 (Chung); RNN 8.91, GRU 8.43, LSTM 8.45 (Bai)",
    "MuseData": "tanh 6.23, GRU 5.99, LSTM 6.23 (Chung)",
    "Piano_midi": "tanh 9.03, GRU 8.82, LSTM 9.03 (Chung)",
}


def prepare(options):
    """The corpus in the file `options.dataset`, and the network that foretells its frames."""
    corpus = data.read(options.dataset, options.limit)
    windows = [part for piece in corpus.train for part in cut(piece, options.window)]
    test = batches_of(corpus.test, EVALUATION_BATCH)
    baseline = independent(corpus.train)

    def measure(model):
        measures = {
            "test_nll": nll(model, test),
            "baseline_nll": nll(lambda frames: np.broadcast_to(baseline, frames.shape), test),
        }
        published = PUBLISHED.get(Path(options.dataset).stem) if options.mixtures == 1 else None
        return measures | ({"published": published} if published else {}), None

    return training.Problem(
        train=batches_of(windows, options.batch_size, options.seed),
        validation=batches_of(corpus.validation, EVALUATION_BATCH),
        model=network(options),
        serving=foretelling,
        test=measure,
        labels=tuple(data.names_of(np.eye(data.KEYS)[key]) for key in range(data.KEYS)),
        facts={
            "data": corpus.fingerprint(),
            "examples": {name: len(part) for name, part in corpus.parts().items()},
            "frames": {name: sum(map(len, part)) for name, part in corpus.parts().items()},
        },
        texts=tuple(map(str, range(min(TRACED, len(corpus.test))))),
        loss=FrameLoss(),
        metrics=(),
        main_measure=training.MainMeasure("test_nll", "lower"),
        files=lambda model: {"piece.png": functools.partial(save_picture, model, corpus.test[0])},
    )


def cut(piece, window):
    """A piece in parts of at most `window` + 1 frames; each begins with the last frame of the one before."""
    return [piece[start : start + window + 1] for start in range(0, len(piece) - 1, window)]


def batches_of(pieces, batch_size, seed=0):
    """Batches of (frames, the next frames, weights), where the last frame of a piece is only a target."""

    def collate(indices):
        lengths = np.array([len(pieces[index]) - 1 for index in indices])
        given = pad([pieces[index][:-1] for index in indices], dtype="float32")
        wanted = pad([pieces[index][1:] for index in indices], dtype="float32")
        return given, wanted, (np.arange(given.shape[1]) < lengths[:, None]).astype("float32")

    return Batches([len(piece) for piece in pieces], collate, SIGNATURE, batch_size, seed)


def nll(logits_of, batches):
    """The negative log-likelihood of a frame, the mean over all frames that have one before them.

    logits_of: a function from frames to logits.
    """
    loss, total, frames = FrameLoss(), 0.0, 0.0
    for given, wanted, weights in batches.once():
        count = float(weights.numpy().sum())
        total += count * float(loss(wanted, logits_of(given), sample_weight=weights))
        frames += count
    return total / frames
