"""What a network for texts starts from, other than random weights: vectors in a file, or a language model."""

from pathlib import Path

import keras

from experiments.common import vectors
from experiments.common.cells import plain_name
from experiments.common.errors import InputError, reason_of
from experiments.common.fitting import adam
from experiments.common.layerwise import LayerwiseAdam
from experiments.common.options import positive, whole
from experiments.common.run_folder import load_network, read_config
from keras_gates.cells.inside import cells_inside

FIRST = 2  # row of the first token in a table of vectors, after those of padding and of what is unknown


def add_options(parser):
    """Add the options that say what a network starts from."""
    group = parser.add_argument_group("start")
    group.add_argument(
        "--vectors",
        metavar="FILE",
        help="let the vectors of words start from those of a file in the text format of word2vec, GloVe or "
        "fastText, as it is, .gz or .zip; --embedding is then their width",
    )
    group.add_argument(
        "--from",
        metavar="RUN",
        help="start from the vectors and the recurrent layers of a run of experiments.language, whose cell, "
        "units and width of vectors are then those of the network",
    )
    group.add_argument(
        "--unfreeze-every",
        type=whole(0),
        default=0,
        metavar="EPOCHS",
        help="with --from: train the last recurrent layer only after so many epochs, the one below it after "
        "as many more, and so on down to the vectors, 0 for all at once; unless it is given, --patience is "
        "longer by as many epochs",
    )
    group.add_argument(
        "--lower-rates",
        type=positive,
        default=1.0,
        metavar="FACTOR",
        help="with --from: the learning rate of each layer that starts from the run, as a share of that of "
        "the layer above it, such as 0.4",
    )


def start_of(options, given, reads=None):
    """What the network starts from. What of it the user did not set, is set in the options.

    given: the names of the options that the user gave.
    reads: "words" or "characters", if the network can read nothing else; None if `options.tokens` says it.

    Raises `InputError` if what they start from cannot be read, or does not fit what was given.
    """
    run = getattr(options, "from")
    if run and options.vectors:
        raise InputError("--vectors and --from both say where the vectors start; give one of them.")
    if not run and (options.unfreeze_every or options.lower_rates != 1):
        raise InputError("--unfreeze-every and --lower-rates go with --from.")
    if run:
        return FromRun(options, given, reads)
    return FromVectors(options, given) if options.vectors else Start()


class Start:
    """Random weights.

    facts: entries of config.json; notes: sentences for the model card; metadata: of the saved model.
    """

    def __init__(self):
        self.facts, self.notes, self.metadata = {}, (), {}

    def fill(self, network, layer, tokens):
        """Change weights of the network to those that it starts from.

        layer: the name of the `Embedding` whose rows, from that of `FIRST` on, belong to the tokens.
        """

    def optimizer(self, steps):
        """The optimizer, as `compile_model` takes it. steps: the number of batches in an epoch."""
        return adam


class FromVectors(Start):
    """Vectors of words in the file `options.vectors`."""

    def __init__(self, options, given):
        super().__init__()
        self.path = Path(options.vectors)
        _agree(options, given, {"embedding": vectors.width_of(self.path)}, self.path)

    def fill(self, network, layer, tokens):
        found = vectors.read(self.path, tokens)
        if not found:
            raise InputError(f"{self.path} has none of the {len(tokens):,} words of these data.")
        set_rows(network.get_layer(layer), tokens, found)
        print(f"{self.path} has {len(found):,} of {len(tokens):,} words.", flush=True)
        self.facts = {"vectors": {"file": self.path.name, "found": len(found), "of": len(tokens)}}
        self.metadata = {"vectors": self.path.name}
        self.notes = (
            f"The vectors of its words start from {self.path.name}, which has {len(found):,} of "
            f"{len(tokens):,}; what is unfair there may be unfair here.",
        )


# what is asked of a run of `experiments.language`
LEARNT = ("cell", "units", "layers", "embedding", "tokens")


class FromRun(Start):
    """Vectors and recurrent layers of a run of `experiments.language`, the option --from."""

    def __init__(self, options, given, reads):
        super().__init__()
        self.path, self.options, self.depths = Path(getattr(options, "from")), options, {}
        learnt = read_config(self.path, "language")["options"]
        if missing := [name for name in LEARNT if name not in learnt]:
            raise InputError(f"The config.json of {self.path} is damaged: it has no option {missing[0]!r}.")
        if options.parameters is not None:
            raise InputError("--from takes the units of its run; leave out --parameters.")
        if not learnt["embedding"]:
            raise InputError(f"{self.path} has no vectors of {learnt['tokens']} to start from.")
        if reads not in (None, learnt["tokens"]):
            raise InputError(f"{self.path} has read {learnt['tokens']}; this network reads {reads}.")
        own = ("cell", "units", "embedding", *(() if reads else ("tokens",)))
        _agree(options, given, {name: learnt[name] for name in own}, self.path)
        if options.layers > learnt["layers"]:
            raise InputError(f"--layers {options.layers} is more than {self.path} has, {learnt['layers']}.")
        if "patience" not in given:
            # the layer that begins next may be what makes the network better
            options.patience += options.unfreeze_every

    def fill(self, network, layer, tokens):
        try:
            found, kind = self._copy(load_network(self.path), network, layer, tokens)
        except (ValueError, TypeError, AttributeError, StopIteration) as error:
            if isinstance(error, InputError):
                raise
            reason = reason_of(error)
            raise InputError(
                f"{self.path} has not the layers that its config.json says: {reason}."
            ) from error
        print(f"{self.path} has {len(found):,} of {len(tokens):,} {kind}.", flush=True)
        waited = self.options.unfreeze_every * (self.options.layers + 1)
        if waited >= self.options.epochs:
            print(
                f"The vectors begin to learn after {waited} epochs: give more --epochs than "
                f"{self.options.epochs} to train them.",
                flush=True,
            )
        self.facts = {"from": {"run": self.path.name, "found": len(found), "of": len(tokens)}}
        self.metadata = {"from": self.path.name}
        self.notes = (
            f"Its recurrent layers and the vectors of {len(found):,} of {len(tokens):,} {kind} start from "
            f"the language model {self.path.name}; what is unfair there may be unfair here.",
        )

    def _copy(self, source, network, layer, tokens):
        """The vectors of the tokens that the source has, which are set as its layers are; and their kind."""
        kind = next(each for each in source.layers if isinstance(each, keras.layers.TextVectorization))
        known = enumerate(kind.get_vocabulary(include_special_tokens=False), FIRST)
        rows = {token: row for row, token in known}
        table = source.get_layer("embedding").embeddings.numpy()
        found = {token: table[row] for token in tokens if (row := _row_of(token, rows)) is not None}
        set_rows(network.get_layer(layer), tokens, found)
        levels = self.options.layers
        self.depths = {network.get_layer(layer).embeddings.path: levels + 1}
        for level in range(1, levels + 1):
            name = f"{plain_name(self.options.cell)}_{level}"
            cell = self._layer(network, name, level).cell
            _set_weights(cells_inside(cell)[-1], source.get_layer(name).cell)
            self.depths |= dict.fromkeys((weight.path for weight in cell.weights), levels + 1 - level)
        return found, kind.name

    def _layer(self, network, name, level):
        """The recurrent layer of that level, the one that reads forward if there are two."""
        if self.options.bidirectional:
            return network.get_layer(f"both_ways_{level}").forward_layer
        return network.get_layer(name)

    def optimizer(self, steps):
        how = {
            "depths": self.depths,
            "factor": self.options.lower_rates,
            "wait": self.options.unfreeze_every * steps,
        }
        return lambda rate, options: LayerwiseAdam(rate, clipnorm=options.clip, **how)


def _row_of(token, rows):
    """The row of a token, whose case may differ; words of a language model have a space before them."""
    forms = (f" {token}", token, f" {token.capitalize()}", token.capitalize())
    return next((rows[form] for form in forms if form in rows), None)


def _set_weights(cell, learnt):
    """Give a cell the weights of another of its kind, which may have had only the first of its inputs."""
    for variable, weight in zip(cell.weights, learnt.weights, strict=True):
        values = variable.numpy().copy()
        values[: weight.shape[0]] = weight.numpy()
        variable.assign(values)


def set_rows(embedding, tokens, found):
    """Set the vectors of the tokens that are found; the others stay as they are."""
    table = embedding.embeddings.numpy().copy()
    for row, token in enumerate(tokens, FIRST):
        if token in found:
            table[row] = found[token]
    embedding.embeddings.assign(table)


def _agree(options, given, needed, source):
    """Set options to what the source needs. Raises `InputError` if one of them was given otherwise."""
    for name, value in needed.items():
        if name in given and getattr(options, name) != value:
            raise InputError(
                f"--{name} {getattr(options, name)} does not fit {source}, which needs {value}; leave it out."
            )
    vars(options).update(needed)
