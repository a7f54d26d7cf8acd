"""Adam with a rate and a beginning for each layer: what a network knows should change later and less."""

import keras
from keras import ops


class LayerwiseAdam(keras.optimizers.Adam):
    """Adam whose learning rate falls from layer to layer, and whose lower layers begin to learn later.

    Howard & Ruder 2018, Universal language model fine-tuning for text classification: discriminative rates
    and gradual unfreezing.

    depths: of weights, by their path: how many layers there are above; 0 for those that are not named.
    factor: the rate of a layer as a share of that of the layer above it.
    wait: steps after which the layer below also begins to learn.
    """

    def __init__(self, *arguments, depths=None, factor=1.0, wait=0, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.depths, self.factor, self.wait = depths or {}, factor, wait

    def build(self, variables):
        super().build(variables)
        self.depth_of = [self.depths.get(variable.path, 0) for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        depth = self.depth_of[self._get_variable_index(variable)]
        begun = ops.cast(self.iterations >= depth * self.wait, learning_rate.dtype)
        super().update_step(gradient, variable, learning_rate * self.factor**depth * begun)

    def get_config(self):
        own = {"depths": self.depths, "factor": self.factor, "wait": self.wait}
        return {**super().get_config(), **own}
