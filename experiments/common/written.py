"""Measures of texts that were written, against all texts that would be right."""

import sacrebleu


def edit_distance(one, other):
    """The fewest substitutions, insertions and deletions that make one sequence the other."""
    row = list(range(len(other) + 1))
    for at, element in enumerate(one, 1):
        before = row
        row = [at]
        for place, expected in enumerate(other, 1):
            row.append(min(before[place] + 1, row[-1] + 1, before[place - 1] + (element != expected)))
    return row[-1]


def word_accuracy(written, references):
    """1 − the word error rate: edits to the nearest reference, by the number of its words.

    references: for each written text a sequence of right ones.
    """
    errors, total = 0, 0
    for text, right in zip(written, references, strict=True):
        distance, length = min(
            (edit_distance(text.split(), reference.split()), len(reference.split())) for reference in right
        )
        errors, total = errors + distance, total + length
    return 1 - errors / total


def bleu(written, references):
    """BLEU from 0 to 100, and sacrebleu's signature, which says how it was computed.

    references: for each written text a sequence of right ones.
    """
    most = max(map(len, references))
    columns = [[right[rank] if rank < len(right) else None for right in references] for rank in range(most)]
    metric = sacrebleu.BLEU()
    score = metric.corpus_score(written, columns).score
    return score, str(metric.get_signature())
