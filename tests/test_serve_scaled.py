"""The server in several processes: batches change nothing, and a stream outlives its processes."""

import asyncio
import json
import pickle
import re
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("starlette")

import keras_gates
from experiments.common.errors import InputError
from experiments.serve.messages import RequestError
from experiments.serve.scaled import service as remote
from experiments.serve.scaled.__main__ import main
from experiments.serve.scaled.batches import BatchedService
from experiments.serve.scaled.options import parser_of
from experiments.serve.scaled.service import RemoteService
from experiments.serve.scaled.sessions import Kept, Kepts, SessionConversation
from experiments.serve.scaled.together import Together

if keras.backend.backend() != "tensorflow":
    pytest.skip("the server runs TensorFlow", allow_module_level=True)

WORDS = ["a", "good", "bad", "film", "and", "long", "one"]
TEXTS = ["a good film", "bad", "a long one and a bad one and a good one", "..."]
NAME = "0123456789abcdef"


def model_of_words(masks):
    vectorize = keras.layers.TextVectorization(max_tokens=20)
    vectorize.adapt(WORDS)
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(20, 4, mask_zero=masks)(vectorize(inputs))
    x = keras_gates.LSTM(3)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return model_of_words(masks=True)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The path of a model that passes over padding."""
    path = tmp_path_factory.mktemp("serve") / "model"
    keras_gates.export(model, path, metadata={"classes": ["bad", "good"]})
    return path


@pytest.fixture(scope="module")
def batched(exported):
    return BatchedService(exported)


def outputs_of(model, texts):
    return [model(keras.ops.convert_to_tensor([text])).numpy()[0] for text in texts]


# -- batches


def test_what_comes_while_a_batch_is_read_is_the_next_batch():
    asked = []

    async def double(items):
        asked.append(items)
        await asyncio.sleep(0.01)
        return [2 * item for item in items]

    async def ask():
        call = Together(double, most=3)
        first = asyncio.create_task(call(0))
        while not asked:
            await asyncio.sleep(0)
        others = [asyncio.create_task(call(item)) for item in range(1, 6)]
        await asyncio.sleep(0)
        others.pop(0).cancel()  # its client has gone
        return await asyncio.gather(first, *others), await call(6)

    assert asyncio.run(ask()) == ([0, 4, 6, 8, 10], 12)
    assert asked == [[0], [2, 3], [4, 5], [6]]


def test_items_wait_for_others_and_an_error_reaches_all_that_were_read_with_it():
    asked = []

    async def fail(items):
        asked.append(items)
        raise RequestError("broken")

    async def ask():
        call = Together(fail, most=8, wait=0.05)
        return await asyncio.gather(*map(call, range(3)), return_exceptions=True)

    assert [str(error) for error in asyncio.run(ask())] == ["broken"] * 3
    assert asked == [[0, 1, 2]]


def test_a_batch_answers_each_text_as_it_is_answered_alone(batched, model):
    assert batched.passes_over_padding
    found = batched.answers(TEXTS)
    alone = [batched.answers([text])[0] for text in TEXTS]
    assert [told["label"] for told in found] == [told["label"] for told in alone]
    outputs = [told["outputs"] for told in found]
    np.testing.assert_allclose(outputs, [told["outputs"] for told in alone], rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs[:3], outputs_of(model, TEXTS[:3]), rtol=0, atol=1e-6)
    assert batched.answers(["..."])[0]["outputs"] == pytest.approx(outputs[3]), "it has nothing to read"


def test_a_model_that_reads_padding_is_asked_text_by_text(tmp_path):
    model = model_of_words(masks=False)
    keras_gates.export(model, tmp_path / "model")
    service = BatchedService(tmp_path / "model")
    assert not service.passes_over_padding
    texts = TEXTS[:3]
    *found, empty = service.answers([*texts, "..."])
    assert empty == {"error": "The text holds nothing that the model reads."}
    found = [told["outputs"] for told in found]
    np.testing.assert_allclose(found, outputs_of(model, texts), rtol=0, atol=1e-6)


@pytest.mark.parametrize("native", [True, False])
def test_streams_of_several_lengths_go_on_in_one_batch_each_with_its_own_state(native, exported):
    batched = BatchedService(exported)
    assert batched.native
    batched.native = native
    texts = ["a good film", "bad", "one and a", "long"]
    more = ["bad", "a good film", "film", "one"]

    def pushed(texts, states):
        return batched.steps([batched.chunks(text)[0] for text in texts], states)

    _, states = pushed(texts, [None] * 4)
    outputs, _ = pushed(more, [states[0], None, *states[2:]])
    wholes = ["a good film bad", "a good film", "one and a film", "long one"]
    for output, whole in zip(outputs, wholes, strict=True):
        np.testing.assert_allclose(output[0], batched.answers([whole])[0]["outputs"], rtol=0, atol=1e-5)


# -- processes that are lost


class Lost(Exception):
    """Stands for the exceptions of Ray."""


class Processes:
    """A handle of a deployment whose processes are lost, every third time after the answer was made."""

    def __init__(self, methods):
        self.methods, self.calls = methods, 0

    def __getattr__(self, name):
        return Method(self, getattr(self.methods, name))


class Method:
    def __init__(self, processes, method):
        self.processes, self.method = processes, method

    async def remote(self, *arguments):
        self.processes.calls += 1
        answer = self.method(*arguments)
        if self.processes.calls % 3 == 2:
            raise Lost
        return answer


class Replica:
    """The methods of the deployment `Model` that streams need, without Ray."""

    def __init__(self, service):
        self.service = service

    def described(self):
        return self.service.described()

    def push(self, text, state):
        state, outputs = state and pickle.loads(state), []
        try:
            chunks = self.service.chunks(text)
        except RequestError as error:
            return {"error": str(error)}, state
        for chunk in chunks:
            (output,), (state,) = self.service.steps([chunk], [state])
            outputs.append(output)
        return self.service.told_of_chunks(outputs, text), pickle.dumps(state)

    def predict(self, texts, with_gates):
        return self.service.answers(texts)


@pytest.fixture
def ingresses(batched, monkeypatch):
    """Makes the services of ingresses, over one keeper of sessions."""
    monkeypatch.setattr(remote, "AGAIN", 0)
    sessions = Processes(Kepts())

    def ingress():
        service = RemoteService(Processes(Replica(batched)), sessions, (Lost,))
        asyncio.run(service.describe())
        return service

    return ingress


def say(conversation, **message):
    return asyncio.run(conversation.answer(json.dumps(message).encode()))


def words_pushed(conversation, text, first=1):
    return [
        say(conversation, push=word, number=number)["outputs"]
        for number, word in enumerate(text.split(), first)
    ]


def test_a_stream_reads_every_word_once_while_replicas_are_lost(batched, ingresses):
    text = TEXTS[2]
    conversation = SessionConversation(ingresses(), None)
    said = [say(conversation, push=word)["outputs"] for word in text.split()]
    np.testing.assert_allclose(said[-1], batched.answers([text])[0]["outputs"], rtol=0, atol=1e-5)
    assert say(conversation, reset=True) == {"reset": True}
    assert say(conversation, push="a")["outputs"] == said[0]


def test_a_stream_with_a_name_goes_on_at_another_ingress(batched, ingresses):
    words_pushed(SessionConversation(ingresses(), NAME), "a long one")
    again = SessionConversation(ingresses(), NAME)
    heard = say(again, push="one", number=3)  # which was sent, and whose answer may have been lost
    last = words_pushed(again, "and a bad film", first=4)[-1]
    whole = batched.answers(["a long one and a bad film"])[0]["outputs"]
    np.testing.assert_allclose(last, whole, rtol=0, atol=1e-5)
    alone = batched.answers(["a long one"])[0]["outputs"]
    np.testing.assert_allclose(heard["outputs"], alone, rtol=0, atol=1e-5)


def test_a_message_without_an_answer_leaves_a_kept_stream_where_it_was(ingresses):
    conversation = SessionConversation(ingresses(), NAME)
    first = say(conversation, push="a")
    assert first["number"] == 1
    assert say(conversation, push="...") == {"error": "The text holds no word that the model reads."}
    assert (
        "expected number 2 or, to hear the last answer again, 1; got 4"
        in say(conversation, push="a", number=4)["error"]
    )
    assert say(conversation, push="bad", number=1) == first
    assert say(conversation, push="film")["number"] == 2


def test_two_connections_cannot_go_on_with_one_stream(ingresses):
    one, other = (SessionConversation(ingresses(), NAME) for _ in range(2))
    words_pushed(one, "a good")
    assert say(other, push="film")["number"] == 3
    assert "Another connection goes on with this session" in say(one, push="bad")["error"]


def test_the_name_of_a_session_cannot_be_short(ingresses):
    assert "16 to 64 letters" in say(SessionConversation(ingresses(), "me"), push="a")["error"]


def test_the_streams_that_were_silent_longest_are_forgotten():
    kepts = Kepts(most=2)
    for name in ("a", "b", "a", "c"):
        assert kepts.keep(name, Kept(kepts.kept(name).number + 1, b"", "", {}))
    assert [kepts.kept(name).number for name in "abc"] == [2, 0, 1]


def test_an_ingress_that_finds_no_replica_says_so(ingresses, monkeypatch):
    monkeypatch.setattr(remote, "RETRY_SECONDS", 0)
    service = ingresses()
    service.model._handle.calls = 1
    with pytest.raises(RequestError, match="No replica of the model answers") as error:
        asyncio.run(service.predict_all(["a"], False, None))
    assert error.value.status == 503


# -- the command


def test_bounds_of_the_replicas():
    assert parser_of().parse_args(["RUN"]).replicas == (1, 2)
    assert parser_of().parse_args(["RUN", "--replicas", "3"]).replicas == (3, 3)
    for bad in ("0", "4-1", "1-", "many", "0-2"):
        with pytest.raises(InputError, match="is not MIN-MAX"):
            parser_of().parse_args(["RUN", "--replicas", bad])


def test_without_ray_a_sentence_gives_the_command(exported, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([str(exported)]) == 2
    assert re.fullmatch(r".* needs Ray: pip install keras_gates\[scale\] \(.*\)\.\n", capsys.readouterr().err)
