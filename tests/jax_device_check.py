"""Trains on one of two host devices of JAX, then on both, and writes losses and weights as JSON.

KERAS_BACKEND=jax python tests/jax_device_check.py FILE
"""

import json
import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import keras
import numpy as np

import keras_gates


def trained():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            keras.layers.Masking(),
            keras_gates.PeepholeLSTM(4),
            keras.layers.Dense(2),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.05, clipnorm=0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(1)
    x = (
        rng.normal(size=(24, 5, 3)).astype("float32")
        * (np.arange(5) < rng.integers(1, 6, (24, 1)))[..., None]
    )
    y = rng.integers(0, 2, 24)
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    shards = {len(variable.value.sharding.device_set) for variable in model.trainable_variables}
    weights = np.concatenate([np.ravel(value) for value in model.get_weights()])
    return {"loss": history["loss"], "weights": weights.tolist(), "devices": sorted(shards)}


one = trained()
keras.distribution.set_distribution(
    keras.distribution.DataParallel(devices=keras.distribution.list_devices())
)
Path(sys.argv[1]).write_text(json.dumps({"one": one, "two": trained()}))
