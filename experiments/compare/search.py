"""The settings that a search tries: learning rate, dropout and, unless a budget gives them, units.

Each point follows from the seed of the search, its number and, for TPE, the results of the points before it:
not from the number of workers, nor from the time at which any of them was killed.
"""

import shlex

import numpy as np

from experiments.compare.study import import_optuna

SAMPLERS = ("random", "tpe")
# By option of the task: the least and the largest value, and whether its logarithm is drawn. Units are those
# of Greff et al. 2017; the learning rate is that of Adam, theirs was that of SGD.
RANGES = {"learning-rate": (1e-4, 1e-1, True), "dropout": (0.0, 0.5, False), "units": (20, 200, True)}
DIGITS = 3  # of a number on the command line


def space(trial):
    """Optuna's distributions of the options that are searched: not those that the task's line gives."""
    distributions = import_optuna().distributions
    given = {word.partition("=")[0] for word in shlex.split(trial.task)}
    names = [name for name in RANGES if f"--{name}" not in given and (name != "units" or not trial.budget)]
    found = {}
    for name in names:
        least, most, log = RANGES[name]
        kind = "IntDistribution" if isinstance(least, int) else "FloatDistribution"
        found[name] = getattr(distributions, kind)(least, most, log=log)
    return found


def settings_of(trial, earlier):
    """The options that a trial of a search tries, by name.

    earlier: of the trials of the same search with lower numbers, in their order, the settings and the
        validation cost, None if it diverged; a random search does not look at them.
    """
    optuna = import_optuna()
    of_sampler = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    (seed,) = np.random.SeedSequence([trial.seed, trial.number]).generate_state(1)
    study = optuna.create_study(sampler=of_sampler[trial.sampler](seed=int(seed)))
    distributions = space(trial)
    for settings, cost in earlier:
        study.add_trial(
            optuna.trial.create_trial(
                params=settings,
                distributions=distributions,
                value=cost,
                state=optuna.trial.TrialState.PRUNED if cost is None else optuna.trial.TrialState.COMPLETE,
            )
        )
    return {name: _short(value) for name, value in study.ask(distributions).params.items()}


def _short(value):
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def importance(results):
    """The share of the variance of the cost that each setting explains, by fANOVA (Hutter et al. 2014).

    results: trials of one task, their settings and costs. Where there are several cells, the cell is a
        setting too.

    Empty where nothing varies.
    """
    optuna = import_optuna()
    cells = sorted({trial.cell for trial, _, _ in results})
    if len({cost for *_, cost in results}) < 2:
        return {}
    of_cell = {"cell": optuna.distributions.CategoricalDistribution(cells)} if len(cells) > 1 else {}
    study = optuna.create_study()
    for trial, settings, cost in results:
        study.add_trial(
            optuna.trial.create_trial(
                params={**settings, **({"cell": trial.cell} if of_cell else {})},
                distributions={**space(trial), **of_cell},
                value=cost,
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
