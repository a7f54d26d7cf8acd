"""The deployments of Ray Serve, and how they are put together."""

import asyncio
import contextlib
import pickle
import shlex

import ray
from ray import serve
from ray.serve import metrics

from experiments.common.cluster import environment
from experiments.serve import access
from experiments.serve.application import application
from experiments.serve.limits import MOST_STREAMS
from experiments.serve.messages import RequestError
from experiments.serve.scaled.service import RemoteService
from experiments.serve.scaled.sessions import Kepts, SessionConversation
from experiments.serve.scaled.together import Together

EVERY = {
    "health_check_period_s": 5,
    "health_check_timeout_s": 30,
    "logging_config": {"enable_access_log": False},  # a line for each word of each stream
}
# Requests that may wait at a replica, at least. To one that is full, Ray sends only after pauses that double:
# with four places, a server that reads texts one by one fell from 70 answers a second to 9 under 64 clients.
WAITING = 128
LOST = (ray.exceptions.RayActorError, serve.exceptions.DeploymentUnavailableError)


def build(arguments):
    """The application, as a configuration file of Ray Serve has it built.

    arguments: `{"command": "RUN --replicas 1-4 …"}`, as on the command line.
    """
    from experiments.serve.scaled.options import parser_of  # imports TensorFlow, which an ingress needs not

    return bound(parser_of().parse_args(shlex.split(arguments["command"])))


def bound(options):
    """The application for the options of the command line."""
    fewest, most = options.replicas
    model = serve.deployment(
        Model,
        name="Model",
        max_ongoing_requests=max(4 * options.batch, WAITING),
        autoscaling_config={
            "min_replicas": fewest,
            "max_replicas": most,
            "target_ongoing_requests": options.batch,
        },
        ray_actor_options=process(cores=1),
        **EVERY,
    ).bind(options.model, options.batch, options.wait)
    sessions = serve.deployment(
        Sessions,
        name="Sessions",
        max_ongoing_requests=2 * MOST_STREAMS,
        ray_actor_options=process(),
        **EVERY,
    ).bind()
    checks = access.middleware(options.host, options.allow_host, options.allow_origin)
    ingress = serve.deployment(
        serve.ingress(ingress_of(checks))(),
        name="Ingress",
        num_replicas=options.ingresses,
        max_ongoing_requests=2 * MOST_STREAMS,
        ray_actor_options=process(),
        **EVERY,
    )
    return ingress.bind(model, sessions)


def process(cores=0):
    return {"num_cpus": cores, "runtime_env": {"env_vars": environment()}}


def ingress_of(checks):
    """The function that makes the web application of an ingress, in its process."""

    def web():
        handles = map(serve.get_deployment_handle, ("Model", "Sessions"))
        service = RemoteService(*handles, LOST)

        @contextlib.asynccontextmanager
        async def lifespan(app):
            await service.describe()
            yield

        def conversation(socket):
            return SessionConversation(service, socket.query_params.get("session"))

        return application(service, checks, conversation, lifespan)

    return web


class Sessions:
    """The one process that keeps the streams that have a name."""

    def __init__(self):
        self.all = Kepts()

    async def kept(self, name):
        return self.all.kept(name)

    async def keep(self, name, kept):
        return self.all.keep(name, kept)


class Model:
    """A replica of the model. It keeps nothing between two requests.

    model: run folder or SavedModel.
    batch, wait: at most so many texts, or streams, are read at once; seconds for which one waits for others.
    """

    def __init__(self, model, batch, wait):
        from experiments.serve.scaled.batches import BatchedService  # imports TensorFlow
        from experiments.serve.service import in_turn

        self.service, self.in_turn = BatchedService(model), in_turn
        self.answer, self.step = (Together(method, batch, wait) for method in (self._answers, self._steps))
        self.sizes = metrics.Histogram(
            "keras_gates_batch_size", "Texts, or streams, read at once.", boundaries=[1, 2, 4, 8, 16, 32, 64]
        )
        self.texts = metrics.Counter("keras_gates_texts", "Whole texts that were answered.")
        self.tokens = metrics.Counter("keras_gates_stream_tokens", "Tokens that streams have read.")

    async def described(self):
        return self.service.described()

    async def check_health(self):
        """Raise an exception if the model no longer answers."""
        await self.in_turn(self.service.short_turns, self.service.answers, ["a"])

    async def predict(self, texts, with_gates):
        """The answers for whole texts, `{"error": …}` where there is none."""
        answers = await asyncio.gather(*map(self.answer, texts))
        self.texts.inc(len(texts))
        if with_gates:
            gates = [await self.service.gates(text) for text in texts]
            answers = [{**answer, **found} for answer, found in zip(answers, gates, strict=True)]
        return answers

    async def _answers(self, texts):
        self.sizes.observe(len(texts))
        return await self.in_turn(self.service.long_turns, self.service.answers, texts)

    async def push(self, text, state):
        """Go on with a stream by a text, from its pickled state: the answer, and the state after it."""
        try:
            return await self._push(text, None if state is None else pickle.loads(state))
        except RequestError as error:
            return {"error": str(error)}, state

    async def _push(self, text, state):
        outputs = []
        for tokens in await self.in_turn(self.service.short_turns, self.service.chunks, text):
            output, state = await self.step((tokens, state))
            outputs.append(output)
            self.tokens.inc(tokens.shape[1])
        return self.service.told_of_chunks(outputs, text), pickle.dumps(state)

    async def _steps(self, pairs):
        self.sizes.observe(len(pairs))
        chunks, states = zip(*pairs, strict=True)
        found = await self.in_turn(self.service.short_turns, self.service.steps, chunks, states)
        return list(zip(*found, strict=True))

    async def gates(self, text):
        return await self.service.gates(text)
