"""Finished runs of a task that answer together, by the mean of their probabilities, and their measures."""

import argparse

from experiments.common import results
from experiments.common.errors import InputError, reason_of
from experiments.common.options import Parser
from experiments.common.run_folder import check_labels, load_run


def load_together(task, paths, output):
    """The configs and the saved models of finished runs.

    output: the name of the models' output that has a number for each label.

    Raises `InputError` if their labels differ, or a model does not have the labels of its config.
    """
    configs, models = zip(*(load_run(task, path) for path in paths), strict=True)
    for path, config, model in zip(paths, configs, models, strict=True):
        if config["labels"] != configs[0]["labels"]:
            raise InputError(
                f"Runs that answer together need the same labels: {paths[0]} has "
                f"{', '.join(configs[0]['labels'])}; {path} has {', '.join(config['labels'])}."
            )
        outputs = model.signature("serving_default").structured_outputs
        if output not in outputs:
            raise InputError(f"{path} holds no model of experiments.{task}: it has no output {output!r}.")
        check_labels(config, outputs[output].shape[-1])
    return configs, models


def corpus_of(paths, configs, read):
    """The corpus on which all of the runs were trained.

    read: a function from the options of a run to its corpus.

    Raises `InputError` if the data cannot be read, have changed, or differ between the runs.
    """
    options = configs[0]["options"]
    try:
        corpus = read(argparse.Namespace(**options))
    except InputError as error:
        raise InputError(f"The data of {paths[0]} cannot be read again: {error}") from error
    except (AttributeError, TypeError) as error:
        raise InputError(f"The options of {paths[0]} are damaged: {reason_of(error)}.") from error
    for path, config in zip(paths, configs, strict=True):
        if (config.get("data"), config["labels"]) != (corpus.fingerprint(), list(corpus.names)):
            raise InputError(f"{path} was not trained on {options['dataset']} as it is now.")
    return corpus


def positions(labels, names, path):
    """Where in the list `names` each label stands. Raises `InputError` for the first that is not there.

    path: where the labels come from.
    """
    index = {name: position for position, name in enumerate(names)}
    unknown = next((label for label in labels if label not in index), None)
    if unknown is not None:
        raise InputError(f"{path} has the label {unknown!r}; the runs know {', '.join(names)}.")
    return [index[label] for label in labels]


def evaluate_command(task, evaluate, add_form_options):
    """The command `evaluate`: its parser, and what it does, as `options.command_line` takes them.

    evaluate: a function of the paths of the runs, the path of test data or None, and the options that say
        how these are written where it is not as the data of the first run, by name; returns the measures.
    add_form_options: adds the latter options to a group of a parser.
    """
    parser = Parser(
        prog=f"python -m experiments.{task} evaluate",
        description="Print the measures of a finished run on its test part, or on other data; of several "
        "runs, which answer together, by the mean of their probabilities.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--test", metavar="PATH", help="measure on these data instead of the test part")
    add_form_options(parser.add_argument_group("how --test is written, by default as the run's own data"))
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_args(["RUN"]))))

    def action(_, options):
        form = {name: value for name, value in vars(options).items() if value is not None}
        runs, test = form.pop("runs"), form.pop("test", None)
        if form and test is None:
            raise InputError(f"--{next(iter(form)).replace('_', '-')} says how --test is written; give both.")
        print(results.summary(evaluate(runs, test, form)))

    return parser, action
