"""The task made ready for training: pictures with captions in batches, and the network that captions them."""

import keras_gates
from experiments.captioning import data
from experiments.captioning.examples import batches
from experiments.captioning.measures import measure
from experiments.captioning.network import Network
from experiments.captioning.words import END, START, Vocabulary
from experiments.common import training


def prepare(options):
    """The pictures with captions that `options.dataset` names, and the network that captions them."""
    captioned = data.read(options)
    _, captions = captioned.train.examples()
    vocabulary = Vocabulary.of(captions, options.least_count)
    network = Network(len(vocabulary), options)
    model, serving = network.training(), network.serving()
    longest = max(len(caption.split()) for caption in captions)
    return training.Problem(
        train=batches(captioned.train, vocabulary, options, options.jitter),
        validation=batches(captioned.validation, vocabulary, options),
        model=model,
        serving=lambda model: serving,
        test=lambda model: (measure(serving, captioned.tests, vocabulary, longest, options.beam), None),
        labels=vocabulary.names,
        facts={
            "data": captioned.fingerprint(),
            "longest": longest,
            "examples": {name: len(part) for name, part in captioned.parts().items()},
        },
        write={
            "over": "heard",
            "start": START,
            "stop": END,
            "how": strategy(options.beam),
            "vocabulary": list(vocabulary.names),
        },
    )


def strategy(beam):
    """How captions are written: greedily, or by a beam search of more than one."""
    return keras_gates.Greedy() if beam == 1 else keras_gates.Beam(beam, length_penalty=0.6)
