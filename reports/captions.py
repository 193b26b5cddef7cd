"""How close are generated texts to reference texts, by the metrics of captioning?

BLEU, ROUGE-L and CIDEr-D as the COCO caption evaluation defines them, written anew; METEOR is in `reports.meteor`. All
are functions of sums over pairs, so that `reports.measure` can resample them. They reward the usual phrase: read them
beside finding-level scores.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Tokens = tuple[str, ...]

#: Longest n-grams of BLEU and CIDEr.
ORDERS: Final = 4
#: Weight of recall in ROUGE-L, and the width of CIDEr-D's penalty on lengths; as in the COCO evaluation.
_BETA: Final = 1.2
_SIGMA: Final = 6.0

#: Columns of `caption_sums`: matched and stated n-grams, lengths, and what is averaged over pairs.
MATCHED: Final = slice(0, 4)
STATED: Final = slice(4, 8)
LENGTH, REFERENCE_LENGTH, ROUGE, CIDER, PAIRS = range(8, 13)
N_COLUMNS: Final = 13

#: Brackets become words there, which its list of punctuation, in capitals, does not take out again.
_BRACKETS: Final = {
    ord(sign): f" -{name}- " for sign, name in zip("()[]{}", ("lrb", "rrb", "lsb", "rsb", "lcb", "rcb"), strict=True)
}
_WORD: Final = re.compile(r"-[lr][rsc]b-|n't\b|'\w+|\w+?(?=n't\b)|\w+(?:[-./]\w+)*")


def tokens(text: str) -> Tokens:
    """Words in small letters without punctuation, as the COCO evaluation's PTB tokenizer cuts such texts."""
    return tuple(_WORD.findall(text.casefold().translate(_BRACKETS).replace("cannot", "can not")))


def tokens_with_commas(text: str) -> Tokens:
    """Words and the tokens "," and ";", full stops and question marks dropped, as the LEVIR-CC protocol cuts texts."""
    return tuple(re.sub(r"([,;])", r" \1 ", re.sub(r"[.?]", " ", text.casefold())).split())


def caption_sums(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> "NDArray[np.float64]":
    """(pairs, N_COLUMNS): what the metrics are made of, for each pair.

    CIDEr weighs words by how many of *these* pairs have them in a reference, so it cannot be compared between sets of
    pairs, and is 0 for one pair.

    Raises:
        ValueError: A pair has no reference, or the numbers differ.
    """
    import numpy as np

    if len(candidates) != len(references) or not all(references):
        raise ValueError("Each candidate needs at least one reference.")
    found = np.zeros((len(candidates), N_COLUMNS))
    for row, (candidate, known) in enumerate(zip(candidates, references, strict=True)):
        found[row, MATCHED], found[row, STATED] = _ngram_matches(candidate, known)
        found[row, LENGTH] = len(candidate)
        found[row, REFERENCE_LENGTH] = min((abs(len(one) - len(candidate)), len(one)) for one in known)[1]
        found[row, ROUGE] = _rouge_l(candidate, known)
    found[:, CIDER] = _cider_d(candidates, references)
    found[:, PAIRS] = 1
    return found


def bleu(sums: "NDArray[np.float64]", order: int = ORDERS) -> "NDArray[np.float64]":
    """BLEU of each row of summed columns, (R,) in [0, 1]; NaN where nothing was summed.

    0 where no n-gram of some order matches; the COCO evaluation adds tiny numbers there, which makes up to 0.03 of
    candidates that are too short to have any.

    Source: Papineni et al. 2002; the reference length closest to each candidate's.
    """
    import numpy as np

    matched, stated = sums[:, MATCHED][:, :order], sums[:, STATED][:, :order]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(matched > 0, matched / stated, 0.0)
        mean = np.exp(np.log(precision).mean(axis=1))
        brevity = np.exp(np.minimum(0.0, 1.0 - sums[:, REFERENCE_LENGTH] / sums[:, LENGTH]))
        score = np.where(sums[:, LENGTH] > 0, mean * brevity, 0.0)
    return np.where(sums[:, PAIRS] > 0, score, np.nan)


def _ngrams(words: Tokens, order: int) -> Counter[Tokens]:
    return Counter(words[start : start + order] for start in range(len(words) - order + 1))


def _ngram_matches(candidate: Tokens, references: Sequence[Tokens]) -> tuple[list[int], list[int]]:
    matched, stated = [], []
    for order in range(1, ORDERS + 1):
        own = _ngrams(candidate, order)
        most: Counter[Tokens] = Counter()
        for one in references:
            most |= _ngrams(one, order)
        matched.append((own & most).total())
        stated.append(own.total())
    return matched, stated


def _rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """F of the longest common subsequence; best precision and best recall over the references.

    Source: Lin 2004, with beta 1.2 as in the COCO evaluation.
    """
    if not candidate:
        return 0.0
    common = [_common_length(candidate, one) for one in references]
    precision = max(common) / len(candidate)
    recall = max(length / len(one) if one else 0.0 for length, one in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common_length(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence."""
    best = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for position, other in enumerate(second, start=1):
            above = best[position]
            best[position] = diagonal + 1 if word == other else max(above, best[position - 1])
            diagonal = above
    return best[-1]


def _cider_d(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[float]:
    """CIDEr-D of each pair, up to 10.

    Source: Vedantam et al. 2015, section 5: clipped counts, Gaussian penalty on lengths, mean of n = 1 to 4, times 10.
    """
    frequency: Counter[Tokens] = Counter()
    for several in references:
        frequency.update({gram for one in several for order in range(1, ORDERS + 1) for gram in _ngrams(one, order)})
    n_pairs = math.log(len(references)) if references else 0.0

    def weighted(words: Tokens) -> list[tuple[dict[Tokens, float], float]]:
        """Weights and their norm, for each order."""
        vectors = []
        for order in range(1, ORDERS + 1):
            weights = {
                gram: count * (n_pairs - math.log(max(1, frequency[gram])))
                for gram, count in _ngrams(words, order).items()
            }
            vectors.append((weights, math.sqrt(sum(value * value for value in weights.values()))))
        return vectors

    scores = []
    for candidate, several in zip(candidates, references, strict=True):
        own = weighted(candidate)
        total = 0.0
        for one in several:
            # lengths are counted in pairs of words there, so one word and none are equally long
            gap = max(0, len(candidate) - 1) - max(0, len(one) - 1)
            penalty = math.exp(-(gap**2) / (2 * _SIGMA**2))
            for (mine, mine_norm), (theirs, theirs_norm) in zip(own, weighted(one), strict=True):
                if mine_norm and theirs_norm:
                    product = sum(min(mine[gram], theirs[gram]) * theirs[gram] for gram in mine.keys() & theirs.keys())
                    total += penalty * product / (mine_norm * theirs_norm)
        scores.append(10.0 * total / ORDERS / len(several))
    return scores
