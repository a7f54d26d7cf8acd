"""Captions as numbers: 0 is padding; the tokens that start and end a caption and unknown words come first."""

import collections
import dataclasses

PADDING, START, END, UNKNOWN = range(4)
SPECIAL = ("", "[START]", "[END]", "[UNK]")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words of captions by number.

    names: what each number stands for, `SPECIAL` first.
    """

    names: tuple

    @classmethod
    def of(cls, captions, least_count):
        """The words that occur at least so often, the most frequent first."""
        counts = collections.Counter(word for caption in captions for word in caption.split())
        frequent = [word for word, count in counts.items() if count >= least_count]
        return cls((*SPECIAL, *sorted(frequent, key=lambda word: (-counts[word], word))))

    def __len__(self):
        return len(self.names)

    def numbers(self, captions):
        """The numbers of each caption's words and of its end, a list of lists."""
        of_word = {word: number for number, word in enumerate(self.names) if number > UNKNOWN}
        return [[*(of_word.get(word, UNKNOWN) for word in caption.split()), END] for caption in captions]
