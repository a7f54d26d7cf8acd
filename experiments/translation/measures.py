"""How well texts are translated."""

import sacrebleu

from experiments.common.written import columns, error_rate


def error_rates(written, pairs):
    """Word and phoneme error rates in percent, by the rules for pronunciations.

    A word is right if what was written is any of its pronunciations; phonemes are compared with those of the
    nearest pronunciation: substitutions, insertions and deletions, divided by the number of its phonemes.

    written: a pronunciation for each of the pairs, phonemes with spaces between them.
    """
    wrong = sum(text not in pair.references for text, pair in zip(written, pairs, strict=True))
    return {
        "test_word_error_rate": 100 * wrong / len(pairs),
        "test_phoneme_error_rate": 100 * error_rate(written, [pair.references for pair in pairs]),
    }


def bleu(written, pairs, lowered):
    """BLEU and chrF by sacrebleu, and its signatures, which say how they were computed.

    lowered: whether upper and lower case are one.
    """
    references = columns([pair.references for pair in pairs])
    measures = {}
    for name, metric in (
        ("bleu", sacrebleu.BLEU(lowercase=lowered)),
        ("chrf", sacrebleu.CHRF(lowercase=lowered)),
    ):
        measures[f"test_{name}"] = metric.corpus_score(written, references).score
        measures[f"{name}_signature"] = str(metric.get_signature())
    return measures
