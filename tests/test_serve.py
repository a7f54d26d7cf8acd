"""The example server: answers, states that do not mix, limits, and a life after bad messages."""

import asyncio
import contextlib
import gc
import json
import os
import pathlib
import random
import re
import runpy
import socket
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import weakref
from types import SimpleNamespace

import keras
import numpy as np
import pytest

pytest.importorskip("websockets")
pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

import uvicorn
import websockets

import keras_gates
from experiments.serve.__main__ import listening, main, settings
from experiments.serve.application import application
from experiments.serve.conversation import Conversation, converse
from experiments.serve.limits import CHUNK, MOST_HEADER_BYTES, MOST_TEXTS, MOST_WAITING
from experiments.serve.service import Service
from experiments.tagging import network as taggers
from keras_gates.serving.streams import NativeStream, Stream

if keras.backend.backend() != "tensorflow":
    pytest.skip("the server runs TensorFlow", allow_module_level=True)

WORDS = ["a", "good", "bad", "film", "and", "long", "one"]


def model_of_words():
    vectorize = keras.layers.TextVectorization(max_tokens=20)
    vectorize.adapt(WORDS)
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(20, 4, mask_zero=True)(vectorize(inputs))
    x = keras_gates.LSTM(3, name="memory")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


class Server:
    """The server in a process of its own, on a free port."""

    def __init__(self, path, *options, errors=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.serve", str(path), "--port", "0", *options],
            cwd=pathlib.Path(keras_gates.__file__).parents[1],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        told = self.process.stdout.readline()
        assert told, "the server did not start"
        self.port = int(re.search(r":(\d+)/", told)[1])

    def connect(self, **options):
        return websockets.connect(f"ws://127.0.0.1:{self.port}/stream", max_size=None, **options)

    def open(self):
        """A bare connection, for what no client library sends."""
        return socket.create_connection(("127.0.0.1", self.port))

    def post(self, content, path="/predict", **headers):
        """The status and the answer to a message."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data=content, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def kilobytes(self):
        """Memory of its own that the process holds."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@pytest.fixture(scope="module")
def model():
    return model_of_words()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "model"
    keras_gates.export(model, path, metadata={"classes": ["bad", "good"]})
    return path


@pytest.fixture(scope="module")
def without_labels(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "model"
    keras_gates.export(model, path)
    return path


@pytest.fixture(scope="module")
def server(exported):
    errors = exported.with_name("errors")
    names = ("--allow-host", "served.example", "--allow-origin", "https://pages.example")
    with errors.open("w") as file:
        server = Server(exported, *names, errors=file)
    yield server
    server.process.terminate()
    server.process.wait(60)
    assert "Exception in ASGI application" not in errors.read_text()


def expected(model, texts):
    return model(keras.ops.convert_to_tensor(texts)).numpy()


def test_whole_texts_are_answered(server, model):
    texts = ["a good film", "a bad film and a long one"]
    status, answer = server.post(json.dumps({"texts": texts}).encode())
    assert status == 200
    for told, row in zip(answer["predictions"], expected(model, texts), strict=True):
        np.testing.assert_allclose(told["outputs"], row, rtol=0, atol=1e-5)
        assert told["label"] == ["bad", "good"][row.argmax()]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "The message is not JSON."),
        (b"\xff\xfe\xfa", "The message is not UTF-8."),
        (b"[" * 60_000, "The message is not JSON."),
        (b"3", "The message must be a JSON object."),
        (b"{}", 'Send {"texts": [...]}, a list of texts that are not empty.'),
        (b'{"texts": [" "]}', 'Send {"texts": [...]}, a list of texts that are not empty.'),
        (b'{"texts": [1]}', 'Send {"texts": [...]}, a list of texts that are not empty.'),
        (json.dumps({"texts": ["a"] * 65}).encode(), "At most 64 texts at once."),
        (b" " * 70_000, "The message is larger than 65536 bytes."),
    ],
)
def test_bad_requests_get_a_sentence_and_the_server_lives(server, content, sentence):
    assert server.post(content) == (400, {"error": sentence})
    assert server.post(b'{"texts": ["a film"]}')[0] == 200


async def say(connection, **message):
    await connection.send(json.dumps(message))
    return json.loads(await connection.recv())


def test_words_and_gates_move_as_they_come(server, model):
    async def talk():
        async with server.connect() as connection:
            told = [await say(connection, push=word, gates=True) for word in ("a", "bad", "film")]
            assert await say(connection, reset=True) == {"reset": True}
            return told, await say(connection, push="a", gates=True)

    told, again = asyncio.run(talk())
    rows = expected(model, ["a", "a bad", "a bad film"])
    np.testing.assert_allclose([answer["outputs"] for answer in told], rows, rtol=0, atol=1e-5)
    assert sorted(told[0]["gates"]) == [f"memory_{name}" for name in "cfghio"]
    assert told[0]["gates"] != told[1]["gates"]
    assert again == told[0]


def test_connections_have_native_streams_where_numpy_can_compute_them(exported, tmp_path):
    assert type(Service(exported).stream()) is NativeStream
    vectorize = keras.layers.TextVectorization(vocabulary=WORDS)
    inputs = keras.Input((), dtype="string")
    x = keras_gates.GRU(3)(keras.layers.Embedding(9, 4, mask_zero=True)(vectorize(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="gelu")(x))
    keras_gates.export(model, tmp_path / "model")
    service = Service(tmp_path / "model")
    assert type(service.stream()) is Stream
    told = asyncio.run(Conversation(service).answer(b'{"push": "a good film"}'))
    np.testing.assert_allclose(told["outputs"], expected(model, ["a good film"])[0], rtol=0, atol=1e-5)


def test_a_hundred_connections_do_not_mix(server, model):
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS, 10)) for _ in range(100)]

    async def read(text):
        async with server.connect() as connection:
            return [(await say(connection, push=word))["outputs"] for word in text.split()][-1]

    async def all_at_once():
        return await asyncio.gather(*map(read, texts))

    np.testing.assert_allclose(asyncio.run(all_at_once()), expected(model, texts), rtol=0, atol=1e-5)


def test_bad_messages_get_an_error_and_the_server_lives(server):
    async def talk():
        async with server.connect() as connection:
            for message in "{", "3", "{}", '{"push": 1}', '{"push": " "}', '{"push": "..."}', b"\xff\xff":
                await connection.send(message)
                assert "error" in json.loads(await connection.recv()), message
            assert "label" in await say(connection, push="a")
        async with server.connect() as connection:
            await connection.send("a" * 100_000)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd.code == 1009
        async with server.connect() as connection:
            await connection.send(b"\xff\xff", text=True)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd.code == 1007
        async with server.connect() as connection:
            assert "label" in await say(connection, push="a")

    asyncio.run(talk())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_over_ten_thousand_messages(server):
    async def talk(messages):
        async with server.connect() as connection:
            for k in range(messages):
                await say(connection, push=WORDS[k % len(WORDS)])

    asyncio.run(talk(2_000))
    before = server.kilobytes()
    asyncio.run(talk(10_000))
    assert server.kilobytes() - before < 4_000


# -- one client and the others

LARGE = " ".join(WORDS * 2_000)[:60_000]


def test_a_text_pushed_at_once_or_in_pieces_is_the_same_text(server, model):
    text = " ".join(np.random.default_rng(4).choice(WORDS, 3 * CHUNK + 1))

    async def talk():
        async with server.connect() as connection:
            return await say(connection, push=text)

    np.testing.assert_allclose(asyncio.run(talk())["outputs"], expected(model, [text])[0], rtol=0, atol=1e-5)


def test_words_are_answered_while_the_large_pushes_of_two_others_go_on(server):
    async def talk():
        async with server.connect() as one, server.connect() as other, server.connect() as polite:
            greedy = [asyncio.create_task(say(connection, push=LARGE)) for connection in (one, other)]
            for word in WORDS * 3:
                assert "label" in await say(polite, push=word)
            assert not any(push.done() for push in greedy)
            for push in greedy:
                push.cancel()

    asyncio.run(talk())


class Client:
    """A WebSocket, as the application sees it, whose client sends a message and goes when `leaves` is set."""

    def __init__(self, service, message):
        self.app = application(service)
        self.leaves = asyncio.Event()
        self.message = {"type": "websocket.receive", "text": json.dumps(message)}

    async def accept(self):
        pass

    async def receive(self):
        if self.message:
            message, self.message = self.message, None
            return message
        await self.leaves.wait()
        return {"type": "websocket.disconnect"}


def test_a_client_that_goes_takes_its_work_and_its_stream_with_it(exported, monkeypatch):
    service = Service(exported)
    streams, chunks = [], []

    async def talk():
        client = Client(service, {"push": LARGE})
        loop = asyncio.get_running_loop()
        push = Stream.push

        def observed(stream, inputs):
            streams.append(weakref.ref(stream))
            chunks.append(inputs["tokens"].shape[1])
            loop.call_soon_threadsafe(client.leaves.set)
            return push(stream, inputs)

        monkeypatch.setattr(Stream, "push", observed)
        await converse(client)
        assert not client.app.state.streams
        # What is not dropped would have its turns before this.
        await asyncio.wrap_future(service.short_turns.submit(int))

    asyncio.run(talk())
    gc.collect()
    assert 1 <= len(chunks) < len(LARGE.split()) // CHUNK // 2
    assert streams[0]() is None


def test_the_texts_of_a_request_whose_client_has_gone_are_not_read(exported, monkeypatch):
    service = Service(exported)
    read = []

    async def talk():
        body = [json.dumps({"texts": ["a film"] * MOST_TEXTS}).encode()]
        leaves = asyncio.Event()

        async def receive():
            if body:
                return {"type": "http.request", "body": body.pop()}
            await leaves.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        async def observed(text, with_gates):
            read.append(text)
            leaves.set()
            return {}

        monkeypatch.setattr(service, "predict", observed)
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        await application(service)(scope, receive, send)

    asyncio.run(talk())
    assert read == ["a film"]


def test_a_client_that_does_not_wait_for_answers_is_closed_alone(server):
    async def talk():
        async with server.connect() as polite, server.connect() as hasty:
            await hasty.send(json.dumps({"push": LARGE}))
            for _ in range(MOST_WAITING + 2):
                await hasty.send('{"push": "a"}')
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await hasty.recv()
            assert closed.value.rcvd.code == 1008
            assert "label" in await say(polite, push="a")

    asyncio.run(talk())


def test_clients_that_go_in_the_middle_of_anything_leave_no_error_behind(server):
    """When the server of these tests ends, it has written of no exception in the application."""
    large = json.dumps({"push": LARGE})

    async def come_and_go(messages):
        connection = await server.connect()
        for message in messages:
            await connection.send(message)
        connection.transport.abort()

    async def talk():
        for messages in (
            [],
            ["{"],
            ['{"push": "a"}'] * (2 * MOST_WAITING),
            [large] * 20,
        ):
            await asyncio.gather(*[come_and_go(messages) for _ in range(5)])
        async with server.connect() as connection:
            assert "label" in await say(connection, push="a")

    asyncio.run(talk())
    for half in HALF_REQUESTS.values():
        with server.open() as connection:
            connection.sendall(half)
    for _ in range(5):
        with server.open() as connection:
            connection.sendall(UPGRADE)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# -- pages of other sites

POST = b'POST /predict HTTP/1.1\r\nContent-Length: 19\r\n\r\n{"texts": ["film"]}'
UPGRADE = (
    b"GET /stream HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "served.example"}, 200),
        ({"Host": "rebound.example"}, 400),
        ({"Host": "rebound.example", "Origin": "http://rebound.example"}, 400),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:9000"}, 403),
        ({"Origin": "https://pages.example"}, 200),
        ({"Origin": "http://pages.example"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_only_pages_of_allowed_sites_are_answered(server, headers, status):
    """Whether it is a request or a WebSocket."""
    named = {"Host": f"127.0.0.1:{server.port}", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items()).encode()
    for request, allowed in ((POST, 200), (UPGRADE, 101)):
        with server.open() as connection:
            connection.sendall(request.replace(b"\r\n", b"\r\n" + lines, 1))
            told = int(connection.recv(100).split()[1])
        assert told == (allowed if status == 200 else status)


def test_without_a_web_server_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "experiments.serve.__main__")
    with pytest.raises(SystemExit, match=r"pip install keras_gates\[serve\]"):
        runpy.run_module("experiments.serve", run_name="__main__")


@pytest.mark.parametrize("option", ["--allow-host=a b", "--allow-host=a:80", "--allow-origin=pages.example"])
def test_a_name_that_no_header_can_hold_is_one_sentence(option, capsys):
    assert main(["model", option]) == 2
    assert re.fullmatch(
        r"python -m experiments.serve: .*'(a b|a:80|pages.example)' is not .*\n", capsys.readouterr().err
    )


# -- requests that never end, and the end of the server


HALF_REQUESTS = {
    "nothing": b"",
    "half the headers": b"POST /predict HTTP/1.1\r\nHost: loc",
    "half the body": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{",
    "a second half": b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\nGET /model HTTP/1.1\r\nHo",
}


@contextlib.contextmanager
def in_this_process(path):
    """The port of a server on a thread."""
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(settings(application(Service(path))))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def test_half_a_request_is_not_waited_for(exported, monkeypatch):
    monkeypatch.setattr("experiments.serve.application.BODY_SECONDS", 0.2)
    monkeypatch.setattr("experiments.serve.protocol.REQUEST_SECONDS", 0.5)
    with in_this_process(exported) as port:
        for what, half in HALF_REQUESTS.items():
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(half)
                with connection.makefile("rb") as answers:
                    told = answers.read()  # to the end, which only the server can bring
                assert (b" 408 " in told) == (what == "half the body"), what
                assert (b" 200 " in told) == (what == "a second half"), what


def test_headers_beyond_the_limit_are_refused(server):
    with server.open() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2 * MOST_HEADER_BYTES)
        assert connection.recv(100).split()[1] == b"400"
    assert server.post(b'{"texts": ["a film"]}')[0] == 200


def test_it_ends_when_it_is_asked_to_whatever_its_clients_do(exported):
    server = Server(exported)

    async def talk():
        async with server.connect() as one, server.connect(), server.connect() as hasty:
            await one.send(json.dumps({"push": LARGE}))
            for _ in range(MOST_WAITING):
                await hasty.send('{"push": "a"}')
            with contextlib.ExitStack() as stack:
                for half in HALF_REQUESTS.values():
                    stack.enter_context(server.open()).sendall(half)
                await asyncio.sleep(0.5)  # so that all of it has arrived
                server.process.terminate()
                assert await asyncio.to_thread(server.process.wait, 60) == 143

    with contextlib.suppress(websockets.ConnectionClosed):
        asyncio.run(talk())
    assert server.process.poll() == 143  # as a shell tells of SIGTERM


# -- messages of any kind

MALFORMED = [
    '{"push": "\\ud800"}',
    '{"push": "a \\udfff film", "gates": true}',
    '{"push": "a", "gates": "yes"}',
    '{"push": "a", "reset": 1}',
    '{"push": ["a"]}',
    '{"push": null}',
    "[]",
    "null",
    '"a"',
    "NaN",
    "9" * 5_000,
    "[" * 60_000,
    '{"a":' * 10_000 + "1" + "}" * 10_000,
    "\ufeff{}",
    "",
    b"\x00\xff",
    '{"push": "a"}'.encode("utf-16"),
]


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: ascii(message[:40]))
def test_a_malformed_message_gets_a_sentence_and_the_stream_goes_on(server, model, message):
    async def talk():
        async with server.connect() as connection:
            await say(connection, push="a")
            await connection.send(message)
            assert json.loads(await connection.recv()).keys() == {"error"}
            return await say(connection, push="film")

    np.testing.assert_allclose(
        asyncio.run(talk())["outputs"], expected(model, ["a film"])[0], rtol=0, atol=1e-5
    )
    content = message if isinstance(message, bytes) else message.encode()
    status, answer = server.post(content.replace(b'"push": "', b'"texts": ["').replace(b'"}', b'"]}'))
    assert status == 400
    assert answer.keys() == {"error"}


def random_value(rng, depth=3):
    """A JSON value, or nearly."""
    return rng.choice(
        [
            lambda: rng.choice([None, True, False, 0, -1, 10**400, 1e308, float("nan"), float("inf"), ""]),
            lambda: "".join(
                rng.choices('a .\0\n\t\u00a0é漢\U0001f600\ud800\udc00<>&"\\', k=rng.randrange(20))
            ),
            lambda: " ".join(rng.choices(WORDS, k=rng.randrange(40))),
            lambda: [random_value(rng, depth - 1) for _ in range(rng.randrange(4))] if depth else [],
            lambda: random_message(rng, depth - 1) if depth else {},
        ]
    )()


def random_message(rng, depth=3):
    names = rng.choices(["push", "texts", "reset", "gates", "é", "\ud800", ""], k=rng.randrange(5))
    return {name: random_value(rng, depth) for name in names}


def random_content(rng):
    """Mostly a message, sometimes with a byte changed, cut short, or of other bytes altogether."""
    content = json.dumps(rng.choice([random_message, random_value])(rng)).encode()
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content) + 1)]
    if rng.random() < 0.2 and content:
        at = rng.randrange(len(content))
        return content[:at] + rng.randbytes(1) + content[at + 1 :]
    return rng.randbytes(rng.randrange(50)) if rng.random() < 0.1 else content


def test_no_random_message_ends_a_connection_or_the_server(server, model):
    rng = random.Random(5)

    async def talk():
        async with server.connect() as connection:
            for _ in range(500):
                content = random_content(rng)
                try:
                    message = content.decode() if rng.random() < 0.8 else content
                except UnicodeDecodeError:
                    message = content
                await connection.send(message)
                answer = json.loads(await connection.recv())
                assert answer.keys() & {"error", "label", "reset"}, content
            return await say(connection, push="a film", reset=True)

    told = asyncio.run(talk())["outputs"]
    np.testing.assert_allclose(told, expected(model, ["a film"])[0], rtol=0, atol=1e-5)
    for _ in range(200):
        content = random_content(rng)
        status, answer = server.post(content)
        assert (status, *answer) in ((200, "predictions"), (400, "error")), content


# -- taggers

CODE = "def f(x):  # half\n    return x / 2\n"


def tagger(path, **options):
    """A tagger of characters or words, exported; and what it computes."""
    sizes = {"units": 3, "embedding": 4, "character_embedding": 4, "character_units": 3, "layers": 1}
    options = SimpleNamespace(cell="gru", dropout=0.0, word_dropout=0.0, residual=False, **sizes, **options)
    alphabet = sorted(set(CODE))
    if options.reads == "words":
        network = taggers.word_network(["film", "good"], alphabet, 2, options)
    else:
        network = taggers.text_network(alphabet, 2, options)
    model = taggers.serving(network, ["B-X", "O"])
    keras_gates.export(model, path)
    return Service(path), model


def test_a_tagger_that_reads_both_ways_answers_for_whole_texts_alone(tmp_path):
    service, model = tagger(tmp_path / "model", reads="words", bidirectional=True)
    assert service.about()["streams"] is False
    told = asyncio.run(service.predict("A good film.", with_gates=True))
    assert [token["text"] for token in told["tokens"]] == ["A", "good", "film", "."]
    answer = model(keras.ops.convert_to_tensor([["A", "good", "film", "."]]))
    assert [token["tag"] for token in told["tokens"]] == [tag.decode() for tag in answer["tags"].numpy()[0]]
    assert {name.rpartition("_")[0] for name in told["gates"]} == {
        "both_ways_1_forward",
        "both_ways_1_backward",
    }
    told = asyncio.run(Conversation(service).answer(b'{"push": "a"}'))
    assert re.search(r"its layer .* reads other steps .* Ask /predict", told["error"])


def test_a_tagger_that_reads_forwards_tags_characters_as_they_come(tmp_path):
    service, model = tagger(tmp_path / "model", reads="characters", bidirectional=False)
    assert service.about()["streams"] and service.about()["by_character"]

    async def talk():
        conversation = Conversation(service)
        return [
            await conversation.answer(json.dumps({"push": piece, "gates": True}).encode())
            for piece in (CODE[:5], " ", CODE[6:])
        ]

    told = asyncio.run(talk())
    tokens = [token for answer in told for token in answer["tokens"]]
    assert "".join(token["text"] for token in tokens) == CODE[:5] + " " + CODE[6:]
    answer = model(keras.ops.convert_to_tensor([CODE[:5] + " " + CODE[6:]]))
    assert [token["tag"].encode() for token in tokens] == answer["tags"].numpy()[0].tolist()
    np.testing.assert_allclose(
        [token["probability"] for token in tokens],
        answer["probabilities"].numpy()[0].max(axis=-1),
        rtol=0,
        atol=1e-5,
    )
    assert told[0]["gates"].keys() == told[2]["gates"].keys() == {"gru_1_u", "gru_1_r", "gru_1_n", "gru_1_h"}


def test_a_model_that_takes_no_text_is_one_sentence(tmp_path):
    keras_gates.export(keras.Sequential([keras.Input((None, 3)), keras_gates.GRU(2)]), tmp_path / "model")
    with pytest.raises(ValueError, match="does not take text"):
        Service(tmp_path / "model")


@pytest.mark.parametrize(
    "config",
    [
        b"[]",
        b"3",
        b"null",
        b"{bad",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"labels": 3}',
        b'{"labels": {"a": 1, "b": 2}}',
        b'{"labels": [1, 2]}',
        b'{"labels": ["good"]}',
        b'{"labels": ["good", "bad", "ugly"]}',
    ],
    ids=lambda config: str(config[:30]),
)
def test_a_run_with_a_damaged_config_is_one_sentence(tmp_path, without_labels, capsys, config):
    (tmp_path / "saved_model").symlink_to(without_labels)
    (tmp_path / "config.json").write_bytes(config)
    assert main([str(tmp_path), "--port", "0"]) == 2
    assert re.fullmatch(r"python -m experiments.serve: [^\n]+\.\n", capsys.readouterr().err)


def test_an_address_that_cannot_be_had_is_one_sentence(exported, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for host, port in (("127.0.0.1", taken.getsockname()[1]), ("no.such.host.invalid", 0)):
            assert main([str(exported), "--host", host, "--port", str(port)]) == 2
            error = capsys.readouterr().err
            assert re.fullmatch(r"python -m experiments.serve: Cannot listen at [^\n]+\.\n", error)


def test_a_model_that_cannot_be_served_is_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.serve", str(tmp_path)],
        cwd=pathlib.Path(keras_gates.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "python -m experiments.serve: There is no SavedModel at" in done.stderr
