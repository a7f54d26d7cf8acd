"""Options that belong together: the defaults for a dataset, and what --preset changes in them."""

# for a dataset of words and their sounds, and for any other, of sentences
WORDS = {
    "source_tokens": "characters",
    "lower": "source",
    "least_count": 1,
    "units": 128,
    "embedding": 64,
    "dropout": 0.2,
    "epochs": 6,
    "batch_size": 256,
    "learning_rate": 4e-3,
    "longest": 40,
}
SENTENCES = {
    "source_tokens": "words",
    "lower": "both",
    "least_count": 2,
    "units": 256,
    "embedding": 256,
    "dropout": 0.3,
    "epochs": 8,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "longest": 100,
    "length_penalty": 0.6,  # as Vaswani et al. 2017
}
PRESETS = {
    # for the comparison with published error rates: 29 CPU minutes
    "cmudict-best": {"units": 320, "embedding": 128, "dropout": 0.35, "epochs": 7, "learning_rate": 3e-3},
}


def defaults(dataset, preset):
    """The defaults of the options for a dataset and a preset, or None."""
    of_dataset = WORDS if dataset == "cmudict" else SENTENCES
    return {"bidirectional": True, "decay": True, "patience": 3, **of_dataset, **PRESETS.get(preset, {})}
