"""Texts that the network writes: one after each epoch on the screen, and some in the run folder."""

import keras

import keras_gates
from experiments.language.tokens import HEAD

WHILE_LEARNING, AT_THE_END = 200, 1000  # tokens
TEMPERATURES = (0.2, 0.5, 0.8, 1.0, 1.2)


def sample(model, prompt, length, temperature=1.0, seed=0):
    """The prompt and what the model writes after it."""
    how = keras_gates.Sampling(temperature=temperature, seed=seed)
    return prompt + keras_gates.write(model, prompt=[prompt], length=length, how=how, head=HEAD).text[0]


def save_samples(model, prompt, seed, path):
    """Write a text for each of several temperatures into a file."""
    texts = (
        f"--- temperature {temperature}\n{sample(model, prompt, AT_THE_END, temperature, seed)}\n"
        for temperature in TEMPERATURES
    )
    path.write_text("\n".join(texts), encoding="utf-8")


class Samples(keras.callbacks.Callback):
    """Prints a text after each epoch."""

    def __init__(self, network, prompt, seed):
        super().__init__()
        self.network, self.prompt, self.seed = network, prompt, seed

    def on_epoch_end(self, epoch, logs=None):
        print(f"\n{sample(self.network, self.prompt, WHILE_LEARNING, seed=self.seed + epoch)}\n", flush=True)
