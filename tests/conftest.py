"""Settings that must stand before TensorFlow starts."""

import os

# XLA compiles the models of the tests to see what they compute, not how fast: optimizing them takes longer
# than everything else that is done with them.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
