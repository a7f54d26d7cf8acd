"""The task made ready for training: digits as batches, the network, and its measures."""

import functools

import numpy as np

import keras_gates
from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.scenes import prepared
from experiments.drawing.data import INK, DrawingBatches, share_of_ink
from experiments.drawing.network import (
    Bound,
    divergence,
    generator,
    metrics,
    network,
    reconstruction,
    serving,
    start_from,
)

GENERATOR = "generator"  # the folder of a run with the model that draws new pictures


def prepare(options):
    """The digits that `options` name as batches, and the network that draws them."""
    if options.layers > 1 or options.dropout:
        raise InputError(
            "Encoder and decoder are one cell each, without dropout: leave out --layers and --dropout."
        )
    make = functools.partial(DrawingBatches, steps=options.steps, latent=options.latent)
    scenes = prepared(options, make)
    ink = share_of_ink(scenes.train.scenes)
    model = network(scenes.shape, options)
    start_from(model, ink)
    return training.Problem(
        train=scenes.train,
        validation=scenes.validation,
        model=model,
        serving=serving,
        test=lambda model: (measure(model, scenes.test, ink), None),
        labels=("ink",),
        facts=scenes.facts,
        texts=scenes.texts,
        loss=Bound(),
        metrics=metrics(),
        files=lambda model: {GENERATOR: functools.partial(keras_gates.export, generator(model))},
        use="write RUN --out sheet.png",
        notes=(
            "A pixel of a digit has ink with its brightness as the probability: drawn anew in every epoch of "
            "training, and once for validation and for the test.",
            f"`{GENERATOR}/` is a SavedModel too: from seeds, whole numbers, to new pictures.",
        ),
        main_measure=training.MainMeasure("test_bound", "lower"),
    )


def measure(model, batches, ink):
    """Nats a picture: minus the lower bound and its two parts, each by one draw of z for every picture.

    The baseline takes the pixels for independent, each with its share of ink in the training part.
    """
    _, pictures = batches.collate(batches.order)
    outputs = model.predict(batches.once(), verbose=0)
    parts = {
        "test_reconstruction": float(np.mean(reconstruction(pictures, outputs))),
        "test_kl": float(np.mean(divergence(pictures, outputs))),
    }
    is_ink = pictures == INK
    independent = -np.where(is_ink, np.log(ink), np.log1p(-ink)).sum(axis=(1, 2)).mean()
    return {"test_bound": sum(parts.values()), **parts, "baseline_bound": float(independent)}
