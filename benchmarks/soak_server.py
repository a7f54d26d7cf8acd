"""The server beside greedy clients: how long another client waits, errors, memory, and how it ends.

`python benchmarks/soak_server.py` starts `python -m experiments.serve` on a small model, or on a RUN, and two
clients that push 60 KB of words, again and again, and leave in the middle of every second push. Beside them a
polite client sends one word at a time. Every answer to it is compared with the answer to the same words
before the greedy clients came. At the end, with the greedy clients at work and half requests open, the
server is asked to end. `--messages 200` is a quick try.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import websockets

ROOT = Path(__file__).parents[1]
WORDS = ["a", "good", "bad", "film", "and", "long", "one", "that", "was", "not", "as", "fine", "as", "it"]
LARGE = " ".join(WORDS * 2_000)[:60_000]
HALF_REQUESTS = (
    b"POST /predict HTTP/1.1\r\nHost: loc",
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{",
)


def small_model(folder):
    """An exported classifier of words, untrained."""
    import keras

    import keras_gates

    keras.utils.set_random_seed(1)
    vectorize = keras.layers.TextVectorization(max_tokens=50)
    vectorize.adapt(WORDS)
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(50, 32, mask_zero=True)(vectorize(inputs))
    outputs = keras.layers.Dense(2, activation="softmax")(keras_gates.LSTM(64)(x))
    keras_gates.export(keras.Model(inputs, outputs), folder / "model")
    return folder / "model"


class Server:
    def __init__(self, path):
        command = [sys.executable, "-m", "experiments.serve", str(path), "--port", "0"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)/", self.process.stdout.readline())[1])

    def connect(self):
        return websockets.connect(f"ws://127.0.0.1:{self.port}/stream", max_size=None)

    def megabytes(self):
        """Memory that the process holds, where /proc tells it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


async def say(connection, **message):
    await connection.send(json.dumps(message))
    return json.loads(await connection.recv())


async def read_words(connection):
    """The outputs after each word, read from the start, and the seconds that each answer took."""
    await say(connection, reset=True)
    outputs, seconds = [], []
    for word in WORDS:
        start = time.perf_counter()
        outputs.append((await say(connection, push=word))["outputs"])
        seconds.append(time.perf_counter() - start)
    return np.array(outputs), seconds


async def be_greedy(server, counts):
    while True:
        async with server.connect() as connection:
            await say(connection, push=LARGE)
            counts["large pushes answered"] += 1
            await connection.send(json.dumps({"push": LARGE}))
            await asyncio.sleep(1)
            counts["large pushes left"] += 1


async def soak(server, options):
    counts = {"large pushes answered": 0, "large pushes left": 0, "messages": 0, "wrong answers": 0}
    async with server.connect() as polite:
        alone, _ = await read_words(polite)
        greedy = [asyncio.create_task(be_greedy(server, counts)) for _ in range(options.greedy)]
        await asyncio.sleep(1)
        seconds, memory = [], []
        while counts["messages"] < options.messages:
            outputs, took = await read_words(polite)
            counts["messages"] += len(took)
            counts["wrong answers"] += int((np.abs(outputs - alone) > 1e-5).any(axis=-1).sum())
            seconds += took
            memory.append(server.megabytes())
            for client in greedy:
                if client.done():
                    client.result()  # raises what ended it
        with ExitStack() as stack:
            for half in HALF_REQUESTS:
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port))).sendall(half)
            await asyncio.sleep(0.5)
            start = time.perf_counter()
            server.process.terminate()
            code = await asyncio.to_thread(server.process.wait)
            ending = time.perf_counter() - start
        for client in greedy:
            client.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
    assert code == 143, code  # as a shell tells of SIGTERM
    return counts, np.array(seconds), memory, ending


def report(counts, seconds, memory, ending):
    for what, count in counts.items():
        print(f"{what:24}{count:8}")
    for what, value in (("p50", np.quantile(seconds, 0.5)), ("p95", np.quantile(seconds, 0.95))):
        print(f"{'answer, ' + what:24}{value * 1000:8.1f} ms")
    print(f"{'answer, slowest':24}{seconds.max() * 1000:8.1f} ms")
    settled = memory[len(memory) // 5]  # after the first fifth, when TensorFlow's own pools are filled
    print(f"{'memory, settled':24}{settled:8.1f} MB")
    print(f"{'memory, at the end':24}{memory[-1]:8.1f} MB")
    print(f"{'from SIGTERM to the end':24}{ending:8.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder or SavedModel of a text classifier")
    parser.add_argument("--messages", type=int, default=10_000, help="of the polite client (10000)")
    parser.add_argument("--greedy", type=int, default=2, help="clients beside it (2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.run or small_model(Path(folder)))
        try:
            figures = asyncio.run(soak(server, options))
        finally:
            server.process.kill()
    report(*figures)
    return figures[0]["wrong answers"] > 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
