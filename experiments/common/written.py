"""Measures of texts that were written, against all texts that would be right."""


def edit_distance(one, other):
    """The fewest substitutions, insertions and deletions that make one sequence the other."""
    row = list(range(len(other) + 1))
    for at, element in enumerate(one, 1):
        before = row
        row = [at]
        for place, expected in enumerate(other, 1):
            row.append(min(before[place] + 1, row[-1] + 1, before[place - 1] + (element != expected)))
    return row[-1]


def error_rate(written, references):
    """Edits that make each text its nearest reference, by the number of words of that; may be above 1.

    references: for each written text a sequence of right ones.
    """
    errors, total = 0, 0
    for text, right in zip(written, references, strict=True):
        distance, length = min(
            (edit_distance(text.split(), reference.split()), len(reference.split())) for reference in right
        )
        errors, total = errors + distance, total + length
    return errors / total


def columns(references):
    """References as sacrebleu takes them: the first of every text, the second of every text, …

    references: for each text a sequence of right ones; None stands where a text has fewer than others.
    """
    most = max(map(len, references))
    return [[right[rank] if rank < len(right) else None for right in references] for rank in range(most)]
