"""How much of a training step of translation the attending decoder takes, and how much of that its products.

    python benchmarks/attention.py [--attention general additive] [--rounds 7]

Processor time of a step, of its decoder and of the decoder's matrix products by themselves, forwards and
backwards: those of all steps at once, which no kernel for the decoder could spare. Texts are as long as the
mean of the data set, and the sizes are the defaults for it.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))  # the experiments are not installed

import keras
import numpy as np
import tensorflow as tf

from experiments.translation import presets
from experiments.translation.network import Network

# The options, the sizes of both vocabularies, the lengths of a text and of its translation.
CASES = {"cmudict": (presets.WORDS, 30, 45, 7, 8), "Multi30k": (presets.SENTENCES, 5500, 4500, 13, 14)}


def whole_step(model, inputs, targets):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = [variable.value for variable in model.trainable_variables]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            total = loss(targets, model(inputs, training=True))
        return tape.gradient(total, weights)

    return step


def decoder_alone(decoder, features, memory):
    weights = [variable.value for variable in decoder.trainable_variables]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch([features, memory])
            y = decoder(features, memory=memory, training=True)
            total = tf.reduce_sum(y * y)
        return tape.gradient(total, [features, memory, *weights])

    return step


def products_alone(decoder, of_steps, of_positions):
    """One product forwards and two backwards for each matrix, with as many rows as it is multiplied by."""
    pairs = []
    for variable in decoder.trainable_variables:
        if len(variable.shape) == 2:
            rows = of_positions if variable.name == "memory_kernel" else of_steps
            pairs.append((variable.value, *(tf.random.normal((rows, size)) for size in variable.shape)))

    @tf.function
    def step():
        return [
            (left @ matrix, gradient @ tf.transpose(matrix), tf.transpose(left) @ gradient)
            for matrix, left, gradient in pairs
        ]

    return step


def runs_of(name, attention):
    options, source_size, target_size, positions, steps = CASES[name]
    options = SimpleNamespace(
        **options, cell="lstm", layers=1, attention=attention, hard=False, bidirectional=True
    )
    network, batch = Network(source_size, target_size, options), options.batch_size
    model, decoder, rng = network.on_numbers(), network.decoders[-1], np.random.default_rng(0)
    source = tf.constant(rng.integers(1, source_size, (batch, positions)), "int32")
    said = tf.constant(rng.integers(1, target_size, (batch, steps)), "int32")
    features = tf.random.normal((batch, steps, options.embedding))
    memory = tf.random.normal((batch, positions, 2 * options.units))
    return {
        "step": whole_step(model, [source, said], said),
        "decoder": decoder_alone(decoder, features, memory),
        "products": products_alone(decoder, batch * steps, batch * positions),
    }


def interleaved(runs, rounds):
    """Milliseconds of processor time by name, medians over rounds."""
    for run in runs.values():
        run()
    seconds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    return {name: 1e3 * statistics.median(taken) for name, taken in seconds.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scores = ["general", "additive"]
    parser.add_argument("--attention", nargs="+", choices=scores, default=scores)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print("| data set | attention | step, ms | decoder, ms | its products, ms |\n|---|---|---|---|---|")
    for name in CASES:
        for attention in options.attention:
            taken = interleaved(runs_of(name, attention), options.rounds)
            print(f"| {name} | {attention} | " + " | ".join(f"{ms:.1f}" for ms in taken.values()) + " |")


if __name__ == "__main__":
    main()
