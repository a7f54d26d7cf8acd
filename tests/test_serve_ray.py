"""The server in several processes, as a command on Ray: a replica that is killed costs nothing."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs keras_gates[scale]", allow_module_level=True)

from test_serve_scaled import exported, model, outputs_of  # noqa: F401 (two fixtures)
from websockets.sync.client import connect

ROOT = Path(__file__).parents[1]
TEXT = "a long one and a bad film"
# Ray's processes start within seconds, unless the machine does much else.
PATIENT = {
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
}


@pytest.fixture
def server(exported):  # noqa: F811
    """The command and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.serve.scaled", str(exported), "--port", "0", "--replicas", "2"],
        cwd=ROOT,
        env={**os.environ, **PATIENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        told = next(line for line in process.stdout if line.startswith("Serving"))
        yield process, int(re.search(r":(\d+)/", told)[1])
    finally:
        process.kill()
        process.wait()


def replicas(deployment):
    name = f"ray::ServeReplica:keras_gates:{deployment}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(name):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def say(connection, **message):
    connection.send(json.dumps(message))
    return json.loads(connection.recv())


def predicted(port, texts):
    body = json.dumps({"texts": texts}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", body) as answer:
        return [told["outputs"] for told in json.load(answer)["predictions"]]


def test_a_stream_reads_on_while_a_replica_and_the_ingress_are_killed(server, model):  # noqa: F811
    process, port = server
    words = TEXT.split()
    expected = outputs_of(model, [" ".join(words[:count]) for count in range(1, len(words) + 1)])
    url, heard = f"ws://127.0.0.1:{port}/stream?session=0123456789abcdef", []
    with connect(url) as connection:
        for number, word in enumerate(words[:4], 1):
            if number == 3:
                os.kill(replicas("Model")[0], signal.SIGKILL)
            heard.append(say(connection, push=word, number=number)["outputs"])
        os.kill(replicas("Ingress")[0], signal.SIGKILL)
    while len(heard) < len(words):
        try:
            with connect(url, open_timeout=60) as connection:
                for number, word in enumerate(words[len(heard) :], len(heard) + 1):
                    heard.append(say(connection, push=word, number=number)["outputs"])
        except Exception:  # there is no ingress yet; websockets has several ways to say so
            time.sleep(0.5)
    np.testing.assert_allclose(heard, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        predicted(port, ["bad", TEXT]), outputs_of(model, ["bad", TEXT]), rtol=0, atol=1e-5
    )
    process.terminate()
    assert process.wait(60) == 143
    assert not any(map(replicas, ("Model", "Ingress", "Sessions")))
