"""Look inside recurrent layers: gates, memories and gradients of every step."""

from keras_gates.introspect import plots
from keras_gates.introspect.callback import GateLog
from keras_gates.introspect.gradients import gradient_flow
from keras_gates.introspect.pages import page
from keras_gates.introspect.statistics import Unit, gates_of, rank_units, saturation, summary, time_constants
from keras_gates.introspect.tracing import trace

__all__ = [
    "GateLog",
    "Unit",
    "gates_of",
    "gradient_flow",
    "page",
    "plots",
    "rank_units",
    "saturation",
    "summary",
    "time_constants",
    "trace",
]
