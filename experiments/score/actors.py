"""The actors of a Ray cluster that score pieces."""

import logging

from experiments.common.errors import InputError
from experiments.score.scorer import Scorer


def scored(ray, run, items, text, folder, actors):
    """Score pieces; yields what `Scorer` says of each as it is finished.

    items: of the pieces, as `scorer.items` gives them.
    actors: how many, each of one core; if None, as many as the cluster has cores.

    Raises `InputError` if an actor fails otherwise than by the loss of its machine.
    """
    if not items:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    cores = int(ray.cluster_resources().get("CPU", 1))
    answered = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Scorer,
        fn_constructor_args=(run, text, folder),
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=min(actors or cores, len(items))),
    )
    try:
        yield from answered.iter_rows()
    except ray.exceptions.RayError as error:
        raise InputError(f"An actor failed: {str(error).strip().splitlines()[-1]}") from error
