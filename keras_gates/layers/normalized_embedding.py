"""Vectors of tokens that a network cannot make large."""

import keras
from keras import ops

from keras_gates.cells.base import register

TINY = 1e-6  # added to a variance


@register()
class NormalizedEmbedding(keras.layers.Embedding):
    r"""`keras.layers.Embedding` whose vectors have mean zero and variance one in every feature.

        v̂_k = (v_k − m) / s        m = Σ_j f_j v_j        s² = Σ_j f_j (v_j − m)²

    f_j is the share of the token j in the training data. So a perturbation of the vectors of a certain norm
    stays as strong as it is, while the network learns: it cannot make the vectors larger instead.

    Takes the arguments of `keras.layers.Embedding`. Besides `embeddings` it has the weight `frequencies`,
    shape `(input_dim,)`, which is not trained: how often each token occurs, all alike at first. Set it before
    training; that of a token that stands for padding should be 0.

    Call arguments:
        inputs: whole numbers, shape `(batch, time)`.

    Returns:
        Shape `(batch, time, output_dim)`.
    """

    source = (
        "Miyato, Dai & Goodfellow 2017, Adversarial training methods for semi-supervised text classification"
    )

    def build(self, input_shape=None):
        if not self.built:
            super().build(input_shape)
            self.frequencies = self.add_weight(
                shape=(self.input_dim,), name="frequencies", initializer="ones", trainable=False
            )

    def call(self, inputs):
        mean, scale = (ops.cast(each, self.compute_dtype) for each in self._moments())
        return (super().call(inputs) - mean) * scale

    def _moments(self):
        """m and 1 / s, each of shape `(output_dim,)`."""
        table = ops.convert_to_tensor(self.embeddings)
        shares = ops.convert_to_tensor(self.frequencies) / ops.sum(self.frequencies)
        mean = ops.matmul(shares, table)
        variance = ops.matmul(shares, ops.square(table - mean))
        return mean, ops.rsqrt(variance + TINY)

    def folded(self):
        """A built `keras.layers.Embedding` of the same name whose vectors are v̂.

        Once training has ended, the mean and variance of all vectors need not be computed in each call.
        """
        embedding = keras.layers.Embedding(
            self.input_dim, self.output_dim, mask_zero=self.mask_zero, name=self.name, dtype=self.dtype_policy
        )
        embedding.build()
        mean, scale = self._moments()
        embedding.set_weights([(ops.convert_to_tensor(self.embeddings) - mean) * scale])
        return embedding

    # As any layer: `Embedding` saves and loads its own weight alone.

    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)
