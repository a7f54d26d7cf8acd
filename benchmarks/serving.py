"""Loads the servers: streams, also while processes are killed, and batches of labels.

    python benchmarks/serving.py streams RUN --streams 200
    python benchmarks/serving.py batches RUN --words 100
    python benchmarks/serving.py reading RUN --words 100
    python benchmarks/serving.py stepping RUN
    python benchmarks/serving.py typing RUN --streams 8

`streams` opens so many streams, each of which is pushed one word at a time. When a third of all words are
read, a replica of the model is killed with -9, and at two thirds the ingress. Every answer of every stream
is compared with that of one that nothing happened to. `batches` asks for the labels of texts, with more and
more requests at a time, from a server that reads each alone and from one that reads up to 32 together, and
compares the throughput at equal 95th percentiles of the seconds that an answer takes. Clients, proxy, ingress
and replicas share the cores of this machine. `reading` tells what a replica alone needs for a text, without
connections, in processor time, which other work on the machine does not change much; `stepping` the same for
a step of one or several streams, by NumPy where it can compute the model, and by TensorFlow. `typing` opens
streams at the server of one process, pushes words one at a time, and tells its processor time for a word.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np
import websockets

ROOT = Path(__file__).parents[1]
WORDS = ["a", "good", "bad", "film", "and", "long", "one", "that", "was", "not", "as", "fine", "the", "it"]
# Ray's processes start within seconds, unless the machine does much else.
PATIENT = {
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
}
AT_A_TIME = (2, 4, 8, 16, 32, 64)


class Server:
    """The server of a run, with options, in processes of its own."""

    def __init__(self, run, *options, module="experiments.serve.scaled"):
        command = [sys.executable, "-m", module, run, "--port", "0", *options]
        environment = {**os.environ, **PATIENT}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        told = next((line for line in self.process.stdout if line.startswith("Serving")), None)
        if told is None:
            sys.exit("the server did not start")
        self.port = int(re.search(r":(\d+)/", told)[1])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        if (code := self.process.wait()) != 143 and exception[0] is None:
            sys.exit(f"the server ended with {code}, not as SIGTERM ends it")


def kill_replica(deployment):
    """Kill a process of a deployment, as nothing that it could react to."""
    name = f"ray::ServeReplica:keras_gates:{deployment}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if (folder / "cmdline").read_bytes().startswith(name):
                os.kill(int(folder.name), signal.SIGKILL)
                return
    sys.exit(f"no process of {deployment} was found")


# -- streams


class Streams:
    """Streams of random words, and what they heard."""

    def __init__(self, port, number, length):
        random.seed(0)
        self.port = port
        self.texts = [random.choices(WORDS, k=length) for _ in range(number)]
        self.heard = [[] for _ in self.texts]
        self.connections = 0

    async def run(self):
        await asyncio.gather(self.kill_at_times(), *map(self.read, range(len(self.texts))))

    async def kill_at_times(self):
        words = sum(map(len, self.texts))
        for share, deployment in ((1 / 3, "Model"), (2 / 3, "Ingress")):
            while sum(map(len, self.heard)) < share * words:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(kill_replica, deployment)
            print(f"killed one {deployment} after {sum(map(len, self.heard)):,} words", flush=True)

    async def read(self, at):
        """Push the words of a stream; connect again, where it was, if the connection ends."""
        while len(self.heard[at]) < len(self.texts[at]):
            try:
                url = f"ws://127.0.0.1:{self.port}/stream?session=stream-{at:012}"
                async with websockets.connect(url, open_timeout=120, ping_timeout=None) as connection:
                    self.connections += 1
                    await self.push(connection, at)
            except (OSError, websockets.WebSocketException, TimeoutError):
                await asyncio.sleep(0.5)

    async def push(self, connection, at):
        heard = self.heard[at]
        while len(heard) < len(self.texts[at]):
            message = {"push": self.texts[at][len(heard)], "number": len(heard) + 1}
            await connection.send(json.dumps(message))
            answer = json.loads(await connection.recv())
            if "error" in answer:
                sys.exit(f"stream {at}, word {len(heard) + 1}: {answer['error']}")
            heard.append(answer["outputs"])

    def wrong(self, run):
        """How many answers differ from those of streams that nothing happened to."""
        import keras_gates

        path = Path(run, "saved_model")
        stream = keras_gates.load(path if path.is_dir() else run).stream(len(self.texts))
        steps = [np.asarray(stream.push(list(words))) for words in zip(*self.texts, strict=True)]
        expected = np.stack(steps, axis=1)
        heard = np.array(self.heard)[..., -expected.shape[-1] :]
        return int((np.abs(heard - expected) > 1e-5).any(axis=-1).sum())


def streams(options):
    with Server(options.run, "--replicas", "2", "--batch", "64") as server:
        all_streams = Streams(server.port, options.streams, options.words)
        began = time.perf_counter()
        asyncio.run(all_streams.run())
        seconds = time.perf_counter() - began
    words, wrong = sum(map(len, all_streams.heard)), all_streams.wrong(options.run)
    print(f"{options.streams} streams read {words:,} words in {seconds:.0f} s, {wrong} answered wrongly;")
    print(f"{all_streams.connections} connections were opened.")
    return wrong > 0


# -- batches


async def load(port, at_a_time, words, seconds):
    """Answers a second, and the 95th percentile of the seconds of one, with so many requests at a time."""
    rng, took = random.Random(at_a_time), []
    until = time.perf_counter() + seconds

    async def ask(session):
        while (began := time.perf_counter()) < until:
            text = " ".join(rng.choices(WORDS, k=words))
            async with session.post(f"http://127.0.0.1:{port}/predict", json={"texts": [text]}) as answer:
                if "predictions" not in await answer.json():
                    sys.exit(f"no prediction: {await answer.text()}")
            took.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(ask(session) for _ in range(at_a_time)))
        return len(took) / (time.perf_counter() - began), float(np.quantile(took, 0.95))


def ladder(run, batch, options):
    """Pairs of answers a second and 95th percentile, for more and more requests at a time."""
    with Server(run, "--replicas", "1", "--batch", str(batch)) as server:
        asyncio.run(load(server.port, 4, options.words, options.seconds))  # the first are slower
        found = [asyncio.run(load(server.port, n, options.words, options.seconds)) for n in AT_A_TIME]
    for at_a_time, (speed, p95) in zip(AT_A_TIME, found, strict=True):
        print(f"batch {batch:3}, {at_a_time:3} at a time: {speed:7.1f} a second, p95 {p95 * 1e3:7.1f} ms")
    return found


def most_within(found, p95):
    """The most answers a second within a 95th percentile."""
    return max((speed for speed, slow in found if slow <= p95), default=0.0)


def batches(options):
    alone, together = (ladder(options.run, batch, options) for batch in (1, 32))
    for speed, p95 in alone:
        ratio = most_within(together, p95) / speed
        print(f"at a p95 of {p95 * 1e3:.0f} ms: batches answer {ratio:.2f} times as many")


def reading(options):
    from experiments.serve.scaled.batches import BatchedService

    service, rng = BatchedService(options.run), random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=options.words)) for _ in range(128)]
    for size in (1, 8, 32):
        service.answers(texts[:size])  # the first takes longer
        began = time.process_time()
        for start in range(0, len(texts), size):
            service.answers(texts[start : start + size])
        each = (time.process_time() - began) / len(texts)
        print(
            f"{size:2} at once: {each * 1e3:.2f} ms of processor time for each text of {options.words} words"
        )


# -- streams without accidents


def stepping(options):
    from experiments.serve.scaled.batches import BatchedService

    for native in (True, False):
        service = BatchedService(options.run)
        if native and not service.native:
            print("NumPy does not compute this model.")
            continue
        service.native = native
        for size in (1, 8, 32):
            chunks, states = [service.chunks("film")[0]] * size, [None] * size
            service.steps(chunks, states)  # the first takes longer
            began = time.process_time()
            for _ in range(options.steps):
                _, states = service.steps(chunks, states)
            each = (time.process_time() - began) / (options.steps * size)
            how = "NumPy" if native else "TensorFlow"
            print(f"{how}, {size:2} streams at once: {each * 1e6:.0f} µs of processor time for a step of one")


def typing(options):
    with Server(options.run, module="experiments.serve") as server:
        asyncio.run(typed(server.port, options.streams, 50))  # the first words take longer
        began, worked = time.perf_counter(), processor_seconds(server.process.pid)
        asyncio.run(typed(server.port, options.streams, options.words))
        seconds = time.perf_counter() - began
        worked = processor_seconds(server.process.pid) - worked
    words = options.streams * options.words
    print(f"{options.streams} streams: {words / seconds:.0f} words a second,")
    print(f"{worked / words * 1e6:.0f} µs of the server's processor time for a word")


async def typed(port, number, length):
    """Push words onto several streams, one at a time each."""

    async def type_on(seed):
        async with websockets.connect(f"ws://127.0.0.1:{port}/stream", ping_timeout=None) as connection:
            for word in random.Random(seed).choices(WORDS, k=length):
                await connection.send(json.dumps({"push": word}))
                answer = json.loads(await connection.recv())
                if "error" in answer:
                    sys.exit(answer["error"])

    await asyncio.gather(*map(type_on, range(number)))


def processor_seconds(process):
    """The processor time that a process has taken, in all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_streams = commands.add_parser("streams")
    of_streams.add_argument("--streams", type=int, default=200)
    of_streams.add_argument("--words", type=int, default=15, help="of each stream")
    of_streams.set_defaults(measure=streams)
    of_batches = commands.add_parser("batches")
    of_batches.add_argument("--words", type=int, default=100, help="of each text")
    of_batches.add_argument("--seconds", type=float, default=5, help="of each load")
    of_batches.set_defaults(measure=batches)
    of_reading = commands.add_parser("reading")
    of_reading.add_argument("--words", type=int, default=100, help="of each text")
    of_reading.set_defaults(measure=reading)
    of_stepping = commands.add_parser("stepping")
    of_stepping.add_argument("--steps", type=int, default=300)
    of_stepping.set_defaults(measure=stepping)
    of_typing = commands.add_parser("typing")
    of_typing.add_argument("--streams", type=int, default=8)
    of_typing.add_argument("--words", type=int, default=500, help="of each stream")
    of_typing.set_defaults(measure=typing)
    for command in (of_streams, of_batches, of_reading, of_stepping, of_typing):
        command.add_argument("run", metavar="RUN")
    options = parser.parse_args(arguments)
    return options.measure(options)


if __name__ == "__main__":
    sys.exit(main())
