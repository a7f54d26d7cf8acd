"""Options that belong together: what --preset changes in the defaults."""

PRESETS = {
    # "min-char-rnn" of the lecture notes: a plain recurrent net that learns from one place of the text at a
    # time, forwards, without a stop. Its alphabet is all characters of the text.
    "min-char-rnn": {
        "cell": "simple",
        "units": 100,
        "embedding": 0,
        "dropout": 0.0,
        "initial_deviation": 0.01,
        "batch_size": 1,
        "steps": 25,
        "optimizer": "adagrad",
        "learning_rate": 0.1,
        "clip_each": 5.0,
        "decay": False,
        "patience": 1000,
        "least_count": 1,
    },
    # for the comparison with published figures: about 20 MFLOP for each character in an epoch
    "shakespeare": {
        "dataset": "tiny_shakespeare",
        "units": 512,
        "layers": 2,
        "dropout": 0.4,
        "learning_rate": 2e-3,
        "epochs": 16,
        "patience": 3,
        "cache": 10_000,
    },
}
