"""The README.txt beside an exported graph: how to call it where only TensorFlow is installed."""


def readme(about):
    """The text for a model with this content of `metadata.json`."""
    return "\n".join(
        [
            *_opening(about),
            *_serving(about),
            *_stepping(about),
            *_tracing(about),
            *_writing(about),
            *_training(),
            *_endpoints(about),
        ]
    )


def _opening(about):
    return [
        f"{about['name']}: a SavedModel written by keras_gates {about['keras_gates']}",
        "",
        "It needs TensorFlow, and neither Keras nor keras_gates. Inputs and outputs are named tensors; the",
        "signatures are listed at the end, and in metadata.json. A dimension written as * is free.",
        "",
        "    import tensorflow as tf",
        "",
        '    saved = tf.saved_model.load("THIS FOLDER")  # keep it: the variables live as long as it does',
        "    model = saved.signatures",
        "",
    ]


def _serving(about):
    given = _arguments(about["endpoints"]["serve"]["inputs"])
    return [
        "Whole sequences (also as serving_default, for TensorFlow Serving):",
        "",
        f'    outputs = model["serve"]({given})',
        "",
    ]


def _stepping(about):
    step = about["endpoints"].get("step")
    if step is None:
        return [f"No endpoint for single steps: {about['absent'].get('step', 'it was not requested.')}", ""]
    states = [name for name in step["outputs"] if name in step["inputs"]]
    outputs = [name for name in step["outputs"] if name not in states]
    if "tokenize" in about["endpoints"]:
        given = "tokens=tokens"
        loop = [
            '    chunk = model["tokenize"](inputs=tf.constant(["some whole words"]))["tokens"]',
            "    for tokens in tf.unstack(chunk, axis=1):",
        ]
    else:
        given = _arguments({name: spec for name, spec in step["inputs"].items() if name not in states})
        loop = ["    for _ in range(5):"]
    return [
        "One step at a time, with the states as inputs and outputs; initial_state gives the first ones:",
        "",
        '    states = model["initial_state"](batch_size=tf.constant(1))',
        *loop,
        f'        result = model["step"]({given}, **states)',
        "        states = {name: result[name] for name in states}",
        f"        output = result[{outputs[0]!r}]",
        "",
    ]


def _tracing(about):
    if "trace" not in about["endpoints"]:
        return []
    given = _arguments(about["endpoints"]["trace"]["inputs"])
    return [
        "Every gate and state of every recurrent layer, (batch, time, units), NaN where a step is masked,",
        "and the outputs; a name is that of the layer, followed by that of the gate or state:",
        "",
        f'    everything = model["trace"]({given})',
        "",
    ]


def _writing(about):
    write = about["endpoints"].get("write")
    if write is None:
        return []
    is_text = write["inputs"]["prompt"]["dtype"] == "string"
    prompt = "strings" if is_text else "of whose rows the first prompt_lengths tokens count"
    empty = "It may be empty." if about["write"]["starts"] else "No row of it may be empty."
    given = _arguments(write["inputs"]).replace("length=tf.constant(1,", "length=tf.constant(100,")
    lines = [
        f"To write ({about['write']['how']}), what it hears first being the prompt, {prompt}.",
        f"{empty} tokens are zero after the end of a row; lengths are without the token that stops a row;",
        "scores are log p of what is written:",
        "",
        f'    written = model["write"]({given})',
        "",
    ]
    begin = about["endpoints"].get("write_begin")
    if begin is None:
        return lines
    options = {k: x for k, x in write["inputs"].items() if k not in begin["inputs"]}
    return [
        *lines,
        "Piece by piece, the state in and out; with the same seed it is the same text:",
        "",
        f'    state = model["write_begin"]({_arguments(begin["inputs"])})',
        "    for _ in range(5):",
        f'        written = model["write_on"]({_arguments(options)}, **state)',
        "        state = {name: written[name] for name in state}",
        '        tokens = written["tokens"]',
        "",
    ]


def _training():
    return [
        "To train it further, differentiate an endpoint with respect to its variables, which all endpoints",
        "share. Dropout stays off, though, and there is no optimizer: where Keras and keras_gates are",
        "installed, the model saved as .keras is the better starting point.",
        "",
        '    variables = model["serve"].trainable_variables',
        "",
    ]


def _endpoints(about):
    lines = ["Signatures", ""]
    for endpoint, signature in about["endpoints"].items():
        lines.append(endpoint)
        for way, tensors in (("in ", signature["inputs"]), ("out", signature["outputs"])):
            lines += [f"    {way} {name}: {_shape(spec)}" for name, spec in tensors.items()]
        lines.append("")
    return lines


def _arguments(inputs):
    return ", ".join(f"{name}={_example(spec)}" for name, spec in inputs.items())


def _example(spec):
    if spec["dtype"] == "string":
        return 'tf.constant(["a text", "another"])'
    if not spec["shape"]:
        return f"tf.constant(1, tf.{spec['dtype']})"
    sizes = [size or free for size, free in zip(spec["shape"], [1, *[5] * len(spec["shape"])], strict=False)]
    return f"tf.ones({sizes}, tf.{spec['dtype']})"


def _shape(spec):
    sizes = ", ".join("*" if size is None else str(size) for size in spec["shape"])
    return f"{spec['dtype']} ({sizes})"
