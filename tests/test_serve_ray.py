"""The server in several processes, as a command on Ray: what is killed costs no stream a word."""

import importlib.util
from pathlib import Path

import pytest

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs keras_gates[scale]", allow_module_level=True)

from test_serve_scaled import exported, model  # noqa: F401 (two fixtures)


def test_streams_lose_no_word_when_a_replica_and_the_ingress_are_killed(exported, monkeypatch):  # noqa: F811
    """200 streams. Each answer is compared with that of an undisturbed stream, by the benchmark."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import serving

    assert serving.main(["streams", str(exported), "--streams", "200", "--words", "6"]) == 0
