"""How well texts are translated."""

import sacrebleu


def error_rates(written, pairs):
    """Word and phoneme error rates in percent, by the rules for pronunciations.

    A word is right if what was written is any of its pronunciations; phonemes are compared with those of the
    nearest pronunciation: substitutions, insertions and deletions, divided by the number of its phonemes.

    written: a pronunciation for each of the pairs, phonemes with spaces between them.
    """
    wrong, errors, total = 0, 0, 0
    for text, pair in zip(written, pairs, strict=True):
        wrong += text not in pair.references
        distance, length = min(
            (edit_distance(text.split(), reference.split()), len(reference.split()))
            for reference in pair.references
        )
        errors, total = errors + distance, total + length
    return {
        "test_word_error_rate": 100 * wrong / len(pairs),
        "test_phoneme_error_rate": 100 * errors / total,
    }


def edit_distance(one, other):
    """The fewest substitutions, insertions and deletions that make one sequence the other."""
    row = list(range(len(other) + 1))
    for at, element in enumerate(one, 1):
        diagonal, row[0] = row[0], at
        for place, expected in enumerate(other, 1):
            diagonal, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, diagonal + (element != expected)),
            )
    return row[-1]


def bleu(written, pairs, lowered):
    """BLEU and chrF by sacrebleu, and its signatures, which say how they were computed.

    lowered: whether upper and lower case are one.
    """
    most = max(len(pair.references) for pair in pairs)
    references = [
        [pair.references[rank] if rank < len(pair.references) else None for pair in pairs]
        for rank in range(most)
    ]
    measures = {}
    for name, metric in (
        ("bleu", sacrebleu.BLEU(lowercase=lowered)),
        ("chrf", sacrebleu.CHRF(lowercase=lowered)),
    ):
        measures[f"test_{name}"] = metric.corpus_score(written, references).score
        measures[f"{name}_signature"] = str(metric.get_signature())
    return measures
