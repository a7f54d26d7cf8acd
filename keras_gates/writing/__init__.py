"""Models that write: greedy, drawn or by beam search, in any model that hears what it said."""

from keras_gates.writing.api import Written, stream, write
from keras_gates.writing.heads import Bernoulli, Categorical
from keras_gates.writing.strategies import Beam, Greedy, Sampling

__all__ = ["Beam", "Bernoulli", "Categorical", "Greedy", "Sampling", "Written", "stream", "write"]
