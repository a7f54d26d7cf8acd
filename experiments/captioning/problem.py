"""The task made ready for training: pictures with captions in batches, and the network that captions them."""

import numpy as np
from PIL import Image

from experiments.captioning import data, looks
from experiments.captioning.captioner import Captioner, writing
from experiments.captioning.examples import batches
from experiments.captioning.measures import measure, measure_of, score
from experiments.captioning.network import Network
from experiments.captioning.words import Vocabulary
from experiments.common import training

SHOWN = 8  # test pictures that the run folder has, with where the network looked
EXAMPLES = "examples"


def prepare(options):
    """The pictures with captions that `options.dataset` names, and the network that captions them."""
    captioned = data.read(options.dataset, options.size, options.limit)
    _, captions = captioned.train.examples()
    vocabulary = Vocabulary.of(captions, options.least_count)
    longest = max(len(caption.split()) for caption in captions)
    network = Network(len(vocabulary), options)
    serving = network.serving()
    captioner = Captioner(serving, vocabulary.names, longest, options.beam)
    validation = captioned.validation
    shown = list(captioned.tests.values())[-1].pictures[:SHOWN]
    return training.Problem(
        train=batches(captioned.train, vocabulary, options, options.jitter),
        validation=batches(validation, vocabulary, options),
        model=network.training(),
        serving=lambda model: serving,
        test=lambda model: (measure(captioner, captioned.tests), None),
        score=lambda model: score(captioner, validation),
        use="predict RUN picture.png",
        main_measure=training.MainMeasure(measure_of(next(iter(captioned.tests)), "exact_match"), "higher"),
        labels=vocabulary.names,
        facts={
            "data": captioned.fingerprint(),
            "examples": {name: len(part) for name, part in captioned.parts().items()},
            "longest": longest,
        },
        files=lambda model: _files(captioner, shown, options.attention != "none"),
        write=writing(vocabulary.names, options.beam),
    )


def _files(captioner, pictures, attends):
    """Some test pictures, and where the network looked as it captioned them."""
    files = {EXAMPLES: lambda path: _save_pictures(pictures, path)}
    if not attends:
        return files
    captions = captioner.write(pictures)
    for suffix in (".png", ".html"):
        files[f"attention{suffix}"] = lambda path, suffix=suffix: looks.save(path, suffix, pictures, captions)
    return files


def _save_pictures(pictures, folder):
    folder.mkdir()
    for number, picture in enumerate(pictures, 1):
        coloured = np.broadcast_to(picture, (*picture.shape[:2], 3))
        Image.fromarray(np.ascontiguousarray(coloured)).save(folder / f"{number}.png")
