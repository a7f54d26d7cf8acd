"""Look inside recurrent layers: gates, memories and gradients of every step."""

from keras_gates.introspect.flow import gradient_flow
from keras_gates.introspect.tracing import trace

__all__ = ["gradient_flow", "trace"]
