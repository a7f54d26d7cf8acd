"""The layers inside a model by their places: paths of layer names, such as `encoder/gru`."""

import keras


def by_place(model, wanted):
    """The layers in a model for which `wanted(layer)` holds, each once, by their places."""
    found = {}
    for place, layer in walk(model):
        if wanted(layer) and not any(layer is other for other in found.values()):
            found[unused(place or layer.name, found)] = layer
    return found


def walk(layer, path=()):
    """A layer and all layers inside it with their places; cells of recurrent layers are not entered."""
    yield "/".join(path), layer
    for label, child in _children(layer):
        yield from walk(child, (*path, label))


def _children(layer):
    if isinstance(layer, keras.layers.RNN):
        return []
    if isinstance(layer, keras.layers.Bidirectional):
        return [("forward", layer.forward_layer), ("backward", layer.backward_layer)]
    if isinstance(layer, keras.Model):
        return [(child.name, child) for child in layer.layers]
    # Only models list their layers publicly; `tests/test_keras_contract.py` checks Keras for this method.
    return [(child.name, child) for child in layer._flatten_layers(include_self=False, recursive=False)]


def unused(name, taken, separator="#"):
    """`name`, or `name#2`, … if it is taken: layers may share a name, or be called more than once."""
    count = 2
    candidate = name
    while candidate in taken:
        candidate = f"{name}{separator}{count}"
        count += 1
    return candidate
