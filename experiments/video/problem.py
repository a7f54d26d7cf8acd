"""The task made ready for training: films as batches of clips, the network, and its measures."""

from experiments.common import training
from experiments.common.pictures import size_of
from experiments.video import data
from experiments.video.clips import ClipBatches
from experiments.video.measures import measure
from experiments.video.network import network, serving

EVALUATION_BATCH = 16
TRACED = 3  # test films that --trace shows


def prepare(options):
    """The films that `options.dataset` names as batches of clips, and the network that watches them."""
    parts = data.load(options.dataset, size_of(options.size), options.frames, options.limit)
    train, validation, test = parts
    names = train.labels
    test_batches = ClipBatches(test, EVALUATION_BATCH)
    return training.Problem(
        train=ClipBatches(train, options.batch_size, options.seed),
        validation=ClipBatches(validation, EVALUATION_BATCH),
        model=network(len(names), options),
        serving=lambda model: serving(model, names),
        test=lambda model: measure(model, test_batches, names),
        labels=names,
        facts={
            "data": [part.fingerprint() for part in parts],
            "examples": {
                name: len(part) for name, part in zip(("train", "validation", "test"), parts, strict=True)
            },
        },
        texts=tuple(f"moving_digits:{number}" for number in range(TRACED)),
        use="predict RUN film.mp4",
        main_measure=training.ACCURACY,
    )
