"""The recipes for Beam and Spark in docs/scale.md label texts as the saved model does."""

import glob
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates

if keras.backend.backend() != "tensorflow":
    pytest.skip("they run TensorFlow", allow_module_level=True)

DOCS = Path(__file__).parents[1] / "docs" / "scale.md"
TEXTS = ["a good film", "bad", "a long one and a bad one", "good good good"]


def recipe(engine):
    """The code block that imports an engine, or skip."""
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"needs {engine}")
    (code,) = (
        code
        for code in re.findall(r"```py\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        if f"import {engine}" in code or f"from {engine}" in code
    )
    return code


@pytest.fixture
def labels(tmp_path):
    """The labels of `TEXTS`, by a model that lies in RUN, where the recipes look for one."""
    vectorize = keras.layers.TextVectorization(max_tokens=20)
    vectorize.adapt(TEXTS)
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(20, 4, mask_zero=True)(vectorize(inputs))
    x = keras_gates.PeepholeLSTM(3)(x)
    last = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(inputs, last(x))
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    texts = keras.ops.convert_to_tensor(TEXTS)
    logits = keras.Model(inputs, x)(texts) @ last.kernel
    last.bias.assign(-keras.ops.mean(logits, axis=0))  # so that both labels occur
    labels = model(texts).numpy().argmax(axis=-1).tolist()
    assert set(labels) == {0, 1}
    keras_gates.export(model, tmp_path / "RUN" / "saved_model")
    return labels


def run(code, folder):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_recipe_for_beam(labels, tmp_path):
    code = recipe("apache_beam")
    for part in range(2):
        (tmp_path / f"part-{part}.txt").write_text("\n".join(TEXTS[part::2]), encoding="utf-8")
    run(code, tmp_path)
    lines = [
        line for name in glob.glob(f"{tmp_path}/labelled*") for line in Path(name).read_text().splitlines()
    ]
    assert sorted(lines) == sorted(map(str, zip(TEXTS, labels, strict=True)))


def test_the_recipe_for_spark(labels, tmp_path):
    code = recipe("pyspark")
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    table = arrow.table({"id": range(len(TEXTS)), "text": TEXTS})
    parquet.write_table(table, tmp_path / "part-0.parquet")
    run(code, tmp_path)
    rows = parquet.read_table(tmp_path / "labelled").to_pylist()
    assert sorted((row["text"], row["label"]) for row in rows) == sorted(zip(TEXTS, labels, strict=True))
