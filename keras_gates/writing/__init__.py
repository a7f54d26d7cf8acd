"""Models that write: greedy, drawn or by beam search, in any model that hears what it said."""

from keras_gates.layers.mixture_density import Mixture
from keras_gates.writing.api import stream, write
from keras_gates.writing.heads import Bernoulli, Categorical
from keras_gates.writing.strategies import Beam, Greedy, Sampling
from keras_gates.writing.training import ScheduledSampling, teacher_forcing
from keras_gates.writing.written import Written

__all__ = [
    "Beam",
    "Bernoulli",
    "Categorical",
    "Greedy",
    "Mixture",
    "Sampling",
    "ScheduledSampling",
    "Written",
    "stream",
    "teacher_forcing",
    "write",
]
