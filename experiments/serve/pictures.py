"""A network that says something about a picture, and what it says, as JSON holds it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from experiments.common.errors import InputError
from experiments.common.pictures import picture_in
from experiments.common.reading import seer_of
from experiments.common.run_folder import load_network, read_config
from experiments.serve.limits import MOST_PIXELS, MOST_QUESTION
from experiments.serve.messages import RequestError, check_characters
from experiments.serve.service import finite, in_turn


class PictureService:
    """The network of a run that captions pictures, or answers questions about them.

    Args:
        run: a run folder of a task whose module `reading` has a function `see`.

    Raises:
        InputError: the folder is damaged.
    """

    page = "pictures.html"

    def __init__(self, run):
        self.config = read_config(run)
        self.network = load_network(run)
        self.see, self.asks = seer_of(self.config["task"])
        # one thread: pictures are decoded and looked at one after the other, so the memory is bounded
        self.turns = ThreadPoolExecutor(1, "pictures")
        self.open = 0  # requests that are not yet answered

    def about(self):
        """What the page needs to know."""
        return {"task": self.config["task"], "asks": self.asks}

    async def look(self, content, question):
        """What the network says about a picture, given as the bytes of its file."""
        return await in_turn(self.turns, self._look, content, self._checked(question))

    def _checked(self, question):
        if not self.asks:
            return None
        if not question or len(question) > MOST_QUESTION:
            raise RequestError(f"Send a question=… of at most {MOST_QUESTION} characters with the picture.")
        check_characters(question)
        return question

    def _look(self, content, question):
        try:
            seen = self.see(self.network, self.config, picture_in(content, MOST_PIXELS), question)
        except InputError as error:
            raise RequestError(str(error)) from error
        places = None if seen.places is None else np.round(finite(seen.places.astype("float64")), 4).tolist()
        return {"words": seen.words, "probability": float(finite(seen.probability)), "places": places}
