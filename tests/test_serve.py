"""The example server: answers, states that do not mix, limits, and a life after bad messages."""

import asyncio
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import keras
import numpy as np
import pytest

pytest.importorskip("websockets")
pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

import websockets

import keras_gates
from experiments.serve import __main__ as serve
from experiments.tagging import network as taggers

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

    def __init__(self, path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.serve", str(path), "--port", str(self.port)],
            cwd=pathlib.Path(keras_gates.__file__).parents[1],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        for _ in range(600):
            assert self.process.poll() is None, "the server did not start"
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.1)

    def connect(self):
        return websockets.connect(f"ws://127.0.0.1:{self.port}/stream", max_size=None)

    def post(self, content, path="/predict"):
        """The status and the answer to a message."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=content, method="POST")) as answer:
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
def server(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "model"
    keras_gates.export(model, path, metadata={"classes": ["bad", "good"]})
    server = Server(path)
    yield server
    server.process.terminate()
    server.process.wait()


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
    return serve.Service(path), model


def test_a_tagger_that_reads_both_ways_answers_for_whole_texts_alone(tmp_path):
    service, model = tagger(tmp_path / "model", reads="words", bidirectional=True)
    assert service.about()["streams"] is False
    (told,) = service.predict(["A good film."], with_gates=True)
    assert [token["text"] for token in told["tokens"]] == ["A", "good", "film", "."]
    answer = model(keras.ops.convert_to_tensor([["A", "good", "film", "."]]))
    assert [token["tag"] for token in told["tokens"]] == [tag.decode() for tag in answer["tags"].numpy()[0]]
    assert {name.rpartition("_")[0] for name in told["gates"]} == {
        "both_ways_1_forward",
        "both_ways_1_backward",
    }
    with pytest.raises(serve.RequestError, match=r"its layer .* reads other steps .* Ask /predict"):
        asyncio.run(serve.Conversation(service).answer({"push": "a"}))


def test_a_tagger_that_reads_forwards_tags_characters_as_they_come(tmp_path):
    service, model = tagger(tmp_path / "model", reads="characters", bidirectional=False)
    assert service.about()["streams"] and service.about()["by_character"]

    async def talk():
        conversation = serve.Conversation(service)
        return [
            await conversation.answer({"push": piece, "gates": True}) for piece in (CODE[:5], " ", CODE[6:])
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
        serve.Service(tmp_path / "model")


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
