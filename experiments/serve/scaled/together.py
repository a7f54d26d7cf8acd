"""Calls that came while others were answered, answered as one."""

import asyncio


class Together:
    """A function of several items, called for one at a time; those that wait are handed over together.

    `serve.batch` of Ray closes a batch as soon as its time to wait is over, also while an earlier one is
    being read, so without time to wait it would read one by one, however many were waiting.

    Args:
        function: a coroutine function from a list of items to a list of answers.
        most: items of a call at most.
        wait: seconds for which an item waits for others before a call.
    """

    def __init__(self, function, most, wait=0.0):
        self.function, self.most, self.wait = function, most, wait
        self.waiting, self.work = [], None

    async def __call__(self, item):
        """The answer for one item. Raises what the call of the function raises."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((item, answer))
        if self.work is None:
            self.work = asyncio.create_task(self._work())
        return await answer

    async def _work(self):
        while self.waiting:
            if len(self.waiting) < self.most:
                await asyncio.sleep(self.wait)
            batch, self.waiting = self.waiting[: self.most], self.waiting[self.most :]
            if batch := [(item, answer) for item, answer in batch if not answer.cancelled()]:
                await self._answer(*zip(*batch, strict=True))
        self.work = None

    async def _answer(self, items, answers):
        try:
            found = await self.function(list(items))
        except Exception as error:
            found = [error] * len(items)
        for answer, value in zip(answers, found, strict=True):
            if answer.cancelled():
                continue
            if isinstance(value, Exception):
                answer.set_exception(value)
            else:
                answer.set_result(value)
