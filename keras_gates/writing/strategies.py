"""How the next value is chosen."""

from dataclasses import dataclass

from keras_gates._arguments import check_size


@dataclass(frozen=True)
class Greedy:
    """The most probable value at every step."""


@dataclass(frozen=True)
class Sampling:
    """A value drawn from what the model says.

    Args:
        temperature: the logits are divided by it first: below 1 the probable becomes more probable, above 1
            less. Greater than 0.
        top_k: of classes, draw among the k most probable only.
        top_p: of classes, draw among the fewest that together have this probability, in (0, 1]
            (Holtzman et al. 2020). Temperature applies first, then `top_k`, then `top_p`.
        seed: a whole number, 0 or greater, less than 2³¹; the same one writes the same, on the same backend.
            None for another each time, from Python's `random`, which `keras.utils.set_random_seed` sets.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self):
        if not _is_number(self.temperature) or not self.temperature > 0:
            raise ValueError(f"`temperature` must be a number greater than 0; got {self.temperature!r}.")
        if self.top_k is not None:
            check_size("top_k", self.top_k)
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise ValueError(f"`top_p` must be a number greater than 0, at most 1; got {self.top_p!r}.")
        is_whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        if self.seed is not None and not (is_whole and 0 <= self.seed < 2**31):
            raise ValueError(f"`seed` must be a whole number from 0 to 2**31 - 1; got {self.seed!r}.")


@dataclass(frozen=True)
class Beam:
    """The most probable of several texts that are followed side by side (beam search).

    Finished texts stay in the beam and compete with those still being written, as in the `BeamSearchDecoder`
    of TensorFlow Addons. All are ranked by log p / ((5 + n) / 6)^α, n being the number of tokens written, the
    stop token included (Wu et al. 2016, eq. 14, without the coverage term). This is a text's score.

    Args:
        width: how many are followed.
        length_penalty: α; 0 ranks by log p alone, which favours short texts.
        n_best: how many are given back, the best first; at most `width`.
    """

    width: int = 5
    length_penalty: float = 0.0
    n_best: int = 1

    def __post_init__(self):
        check_size("width", self.width)
        check_size("n_best", self.n_best)
        if self.n_best > self.width:
            raise ValueError(f"`n_best` must be at most `width`, {self.width}; got {self.n_best}.")
        if not _is_number(self.length_penalty) or self.length_penalty < 0:
            raise ValueError(f"`length_penalty` must be a number, 0 or greater; got {self.length_penalty!r}.")


def strategy_of(how):
    """The strategy that `how` names: itself, or `"greedy"`, `"sampling"` or `"beam"` with its defaults."""
    named = {"greedy": Greedy, "sampling": Sampling, "beam": Beam}
    if isinstance(how, tuple(named.values())):
        return how
    if not isinstance(how, str) or how not in named:
        raise ValueError(
            "`how` must be 'greedy', 'sampling', 'beam', or a keras_gates.Greedy, Sampling or Beam; "
            f"got {how!r}."
        )
    return named[how]()


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
