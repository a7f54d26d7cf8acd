"""The model card of a run: what a stranger should know before using the model."""

import shlex

MOST_LABELS = 50  # that are listed


def model_card(run, config, metrics, notes, command, use):
    """The text of README.md in a run folder.

    run: the path of the folder.
    config, metrics: the content of config.json and metrics.json.
    notes: further sentences about the split and the limits.
    command: the command line that trained the model.
    use: the words after the task's name that use the model, with RUN for the folder; "" if there are none.
    """
    options, task = config["options"], config["task"]
    labels = list(config["labels"])
    some = ", ".join(f"`{label if label.isprintable() else repr(label)}`" for label in labels[:MOST_LABELS])
    more = f" and {len(labels) - MOST_LABELS} more, in config.json" if len(labels) > MOST_LABELS else ""
    examples = ", ".join(f"{number:,} {part}" for part, number in metrics["examples"].items())
    using = f"python -m experiments.{task} {use.replace('RUN', shlex.quote(str(run)))}\n" if use else ""
    if "continues" in config:
        notes = (*notes, f"It continues the run {config['continues']}, with the optimizer as it was there.")
    return f"""# {run.name}

A recurrent network of the task `{task}` (cell `{options["cell"]}`, {metrics["parameters"]:,} parameters),
trained with `keras_gates` on `{options["dataset"]}`.

- Examples: {examples}.
- {len(labels)} labels: {some}{more}.
- Epochs: {metrics["epochs"]}; the weights are those of epoch {metrics["best_epoch"]}, by validation loss.
{"".join(f"- {note}{chr(10)}" for note in notes)}
## Figures of the test part

| measure | value |
|---|---|
{"".join(f"| {name.replace('_', ' ')} | {_shown(value)} |{chr(10)}" for name, value in _measures(metrics))}
## Limits

It has learnt from these data alone. On others, of another kind, time or language, it may be wrong more often
than here. It answers whatever it is given, with probabilities that are not calibrated. What is unfair in the
data is likely to be unfair in the answers: look at each kind of answer before you rely on it.

## Commands

```sh
{command}
{using}```

`saved_model/` needs only TensorFlow: its README.txt says how to call it, its metadata.json names the labels.
"""


def _measures(metrics):
    """The figures among the metrics: measures of the test part, and those of simpler ways to answer."""
    return [
        (name, value)
        for name, value in metrics.items()
        if isinstance(value, int | float)
        and name.startswith(("test", "baseline", "majority", "unseen", "bits", "perplexity"))
    ]


def _shown(value):
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
