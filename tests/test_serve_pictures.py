"""The server for runs about pictures: what it answers, whom, and what it refuses in a sentence."""

import contextlib
import io
import json
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import uvicorn
from PIL import Image

from experiments.captioning import __main__ as captioning
from experiments.captioning.network import Network as CaptioningNetwork
from experiments.captioning.words import SPECIAL
from experiments.questions import __main__ as questions
from experiments.questions.network import Network as QuestionsNetwork
from experiments.questions.problem import vectorizer_of
from experiments.serve import access
from experiments.serve.__main__ import listening, main, settings
from experiments.serve.application import application, service_of
from experiments.serve.limits import MOST_PICTURE_BYTES, MOST_PICTURES, MOST_QUESTION

if keras.backend.backend() != "tensorflow":
    pytest.skip("the server runs TensorFlow", allow_module_level=True)

LABELS = [*SPECIAL, "a", "red", "blue", "square", "circle"]
ANSWERS = ["blue", "no", "red", "yes"]
RED = (220, 30, 30)
QUESTION = {"question": "Is it red?"}
SMALL = ("--size", "16x16", "--filters", "4", "--stages", "2", "--units", "6", "--embedding", "5")


def write_run(folder, task, model, **config):
    """The folder of a run whose weights were drawn instead of trained, so that its answers differ."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    model.set_weights(
        [
            abs(w) if "var" in v.path else rng.normal(0, 0.7, w.shape)
            for v, w in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    model.save(folder / "model.keras")
    (folder / "config.json").write_text(json.dumps({"task": task, **config}))
    return folder


@pytest.fixture(scope="module")
def captions(tmp_path_factory):
    options = captioning.train_parser().parse_args(list(SMALL))
    model = CaptioningNetwork(len(LABELS), options).serving()
    folder = tmp_path_factory.mktemp("runs") / "captions"
    return write_run(folder, "captioning", model, labels=LABELS, longest=4, options=vars(options))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    options = questions.train_parser().parse_args([*SMALL, "--hidden", "6"])
    words = vectorizer_of(["is it red", "what color is the circle"], 20)
    model = QuestionsNetwork(words.vocabulary_size(), len(ANSWERS), options).serving(words, ANSWERS)
    folder = tmp_path_factory.mktemp("runs") / "answers"
    known = sorted(words.get_vocabulary(include_special_tokens=False))
    return write_run(folder, "questions", model, labels=ANSWERS, words=known, options=vars(options))


class Server:
    """A server on a thread."""

    def __init__(self, service, port):
        self.service, self.port = service, port

    def look(self, content, headers=None, **query):
        """The status and the answer to a picture."""
        address = f"http://127.0.0.1:{self.port}/look?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address, data=content, headers=headers or {}, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            told = error.read()
            return error.code, json.loads(told) if told.startswith(b"{") else told

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.read().decode()


@contextlib.contextmanager
def serving(run):
    service = service_of(run)
    checks = access.middleware("127.0.0.1", [], ["https://pages.example"])
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(settings(application(service, checks)))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield Server(service, listener.getsockname()[1])
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def captioner(captions):
    with serving(captions) as server:
        yield server


@pytest.fixture(scope="module")
def answerer(answers):
    with serving(answers) as server:
        yield server


def red(size=(20, 12)):
    image = Image.new("RGB", size, "white")
    image.paste(RED, (size[0] // 4, 0, size[0] // 2, size[1] // 2))
    return image


def file_of(image, kind="png"):
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def test_a_picture_is_captioned_as_on_the_command_line(captioner, captions, tmp_path, capsys):
    (tmp_path / "red.png").write_bytes(file_of(red()))
    assert captioning.main(["predict", str(captions), str(tmp_path / "red.png"), "--format", "json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    status, told = captioner.look(file_of(red()))
    assert status == 200
    assert told["words"] == expected["caption"].split() != []
    np.testing.assert_allclose(np.log(told["probability"]), expected["log_probability"], rtol=0, atol=1e-5)
    places = np.array(told["places"])
    assert places.shape == (len(told["words"]), 4, 4)
    np.testing.assert_allclose(places.sum(axis=(1, 2)), 1, rtol=0, atol=16 * 0.5e-4)


def test_a_question_is_answered_as_on_the_command_line(answerer, answers, tmp_path, capsys):
    """The SavedModel, which `predict` takes, is the same network: here it is asked through Keras."""
    network = keras.saving.load_model(answers / "model.keras")
    picture = np.array(red((16, 16)))[None]
    told = [answerer.look(file_of(red((16, 16))), question=text) for text in ("Is it red?", "what color")]
    for (status, answer), text in zip(told, ("Is it red?", "what color"), strict=True):
        probabilities = network([picture, np.array([text], object)])["probabilities"].numpy()[0]
        assert status == 200
        assert answer["words"] == [ANSWERS[probabilities.argmax()]]
        np.testing.assert_allclose(answer["probability"], probabilities.max(), rtol=0, atol=1e-5)
        places = np.array(answer["places"])
        assert places.shape == (1, 8, 8)
        assert (places >= 0).all() and places.any()
    assert told[0] != told[1]


def test_pictures_of_any_mode_and_format_are_read(captioner):
    base = red()
    deep = Image.fromarray(np.asarray(base.convert("L")).astype("uint16") * 257)
    images = [(base.convert(mode), "png") for mode in ("L", "RGBA", "P", "1")]
    images += [(deep, "png"), (base, "jpeg"), (base, "webp"), (base, "bmp"), (base, "gif")]
    images += [(Image.new("RGB", (1, 1)), "png"), (Image.new("1", (4096, 4096), 1), "png")]
    for image, kind in images:
        status, told = captioner.look(file_of(image, kind))
        assert status == 200, (image.mode, kind, told)


BAD_PICTURES = {
    "nothing": (b"", "This is no picture; PNG, JPEG, GIF, WEBP, BMP are read."),
    "text": (b"hello", "This is no picture; PNG, JPEG, GIF, WEBP, BMP are read."),
    # Pillow would give it to Ghostscript
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "This is no picture; PNG, JPEG"),
    "half a file": (file_of(red((90, 90)))[:120], "The picture cannot be read: "),
    "too many pixels": (
        file_of(Image.new("1", (4097, 4096))),
        "The picture cannot be read: it has 4097 × 4096 pixels, at most 16,777,216 are read.",
    ),
    "too many bytes": (bytes(MOST_PICTURE_BYTES + 1), "The message is larger than 4194304 bytes."),
}


@pytest.mark.parametrize("what", BAD_PICTURES)
def test_what_is_no_picture_gets_a_sentence_and_the_server_lives(what, answerer):
    content, sentence = BAD_PICTURES[what]
    status, told = answerer.look(content, **QUESTION)
    assert status == 400
    assert told["error"].startswith(sentence) and told["error"].endswith(".")
    assert answerer.look(file_of(red()), **QUESTION)[0] == 200


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "Send a question=… of at most 500 characters with the picture."),
        ({"question": ""}, "Send a question=… of at most 500 characters with the picture."),
        (
            {"question": "a" * (MOST_QUESTION + 1)},
            "Send a question=… of at most 500 characters with the picture.",
        ),
        ({"question": " ?"}, "There is no word in the question ' ?'."),
        ({"question": "무슨 색?"}, "The network knows no word of the question '무슨 색?'; it knows "),
    ],
)
def test_a_question_that_cannot_be_answered_gets_a_sentence(query, sentence, answerer):
    status, told = answerer.look(file_of(red()), **query)
    assert status == 400
    assert told["error"].startswith(sentence)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "https://pages.example"}, 200),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example"}, 400),
    ],
)
def test_only_pages_of_allowed_sites_are_answered(headers, status, captioner):
    assert captioner.look(file_of(red()), headers)[0] == status


def test_each_model_has_its_page(captioner, answerer):
    assert json.loads(captioner.get("/model")) == {"task": "captioning", "asks": False}
    assert json.loads(answerer.get("/model")) == {"task": "questions", "asks": True}
    assert '<canvas id="picture"' in captioner.get("/")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        captioner.get("/stream")


def test_more_pictures_than_the_limit_are_put_off(captioner, monkeypatch):
    """As many as are in work are answered; the next is told to come later, and comes through later."""
    released, begun = threading.Event(), threading.Semaphore(0)
    see = captioner.service.see

    def slow(*arguments):
        begun.release()
        assert released.wait(60)
        return see(*arguments)

    monkeypatch.setattr(captioner.service, "see", slow)
    content = file_of(red())
    with ThreadPoolExecutor(MOST_PICTURES) as clients:
        waiting = [clients.submit(captioner.look, content) for _ in range(MOST_PICTURES)]
        assert begun.acquire(timeout=60)
        while captioner.service.open < MOST_PICTURES:
            assert not any(each.done() for each in waiting)
        refused = captioner.look(content)
        released.set()
        told = [each.result() for each in waiting]
    assert refused == (503, {"error": "16 pictures are looked at already; try later."})
    assert [status for status, _ in told] == [200] * MOST_PICTURES
    assert captioner.look(content)[0] == 200
    assert captioner.service.open == 0


def test_half_a_picture_is_not_waited_for(captioner, monkeypatch):
    monkeypatch.setattr("experiments.serve.application.BODY_SECONDS", 0.2)
    head = b"POST /look HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", captioner.port), timeout=60) as connection:
        connection.sendall(head + file_of(red())[:50])
        with connection.makefile("rb") as answers:
            assert b" 408 " in answers.read()  # to the end, which only the server can bring
    assert captioner.look(file_of(red()))[0] == 200
    assert captioner.service.open == 0


@pytest.mark.parametrize("damage", ["no network", "labels", "options"])
def test_a_damaged_run_is_one_sentence(damage, captions, tmp_path, capsys):
    config = json.loads((captions / "config.json").read_text())
    if damage != "no network":
        (tmp_path / "model.keras").symlink_to(captions / "model.keras")
        config[damage] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main([str(tmp_path), "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("python -m experiments.serve: ") and said.count("\n") == 1
