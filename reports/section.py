"""Which columns and measures make up one block of an evaluation: caption metrics, labels, changed or not, classes?

A section holds the columns of several runs on the same pairs, so that they are measured in the same way. A pair that a
section leaves out has zeros in its row, which no sum notices.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from reports import captions, meteor
from reports.captions import Tokens
from reports.measure import Statistic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Label = tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One block of an evaluation.

    Attributes:
        title: What is counted, in words.
        n_pairs: How many pairs take part.
        columns: (pairs, C) for each run.
        measures: From summed columns, by name.
        missing: Measures that could not be computed, with the reason.
        labels: Labels whose true positives, false positives and false negatives the columns are, in this order.
    """

    title: str
    n_pairs: int
    columns: tuple["NDArray[np.float64]", ...]
    measures: Mapping[str, Statistic]
    missing: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[Label] = ()


def ratio_of(sums: "NDArray[np.float64]", part: int | slice, whole: int | slice) -> "NDArray[np.float64]":
    """Sum of some columns over sum of others, (R,); NaN where the second is 0."""

    def total(which: int | slice) -> "NDArray[np.float64]":
        return sums[:, which] if isinstance(which, int) else sums[:, which].sum(axis=1)

    return _ratio(total(part), total(whole))


def _ratio(
    above: "NDArray[np.float64]", below: "NDArray[np.float64]", empty: float = math.nan
) -> "NDArray[np.float64]":
    """Quotients, `empty` where the divisor is 0."""
    import numpy as np

    found: NDArray[np.float64] = np.divide(above, below, out=np.full(below.shape, empty), where=below > 0)
    return found


_METEOR: Final = slice(captions.N_COLUMNS, captions.N_COLUMNS + meteor.N_COLUMNS)
_METEOR_IDS: Final = slice(_METEOR.stop, _METEOR.stop + meteor.N_COLUMNS)


def caption_sections(
    parts: Mapping[str, Sequence[bool]],
    runs: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    tokenize: Callable[[str], Tokens],
    word_ids: bool = False,
) -> list[Section]:
    """BLEU, METEOR, ROUGE-L, CIDEr and S*m, one section for each part of the pairs.

    Args:
        parts: Which pairs take part, by title.
        runs: The texts of each run.
        references: The reference texts of each pair.
        tokenize: How texts are cut.
        word_ids: Also METEOR on words as numbers, as published code for LEVIR-CC computes it.

    Source: S*m is the mean of BLEU-4, METEOR, ROUGE-L and CIDEr-D, as CCExpert's and SVE's tables have it.
    """
    import numpy as np

    known = [[tokenize(text) for text in several] for several in references]
    texts = [[tokenize(text) for text in run] for run in runs]
    ordinary = [captions.caption_sums(run, known) for run in texts]
    measures: dict[str, Statistic] = {f"BLEU-{n}": partial(captions.bleu, order=n) for n in range(1, 5)}
    missing: dict[str, str] = {}
    columns = ordinary
    try:
        # one start of the program for all
        everything = [one for run in texts for one in run], known * len(runs)
        found = [meteor.meteor_sums(*everything)]
        measures["METEOR"] = lambda sums: meteor.meteor(sums[:, _METEOR])
        if word_ids:
            found.append(meteor.meteor_sums(*meteor.as_ids(*everything)))
            measures["METEOR (word ids)"] = lambda sums: meteor.meteor(sums[:, _METEOR_IDS])
        split = [np.split(one, len(runs)) for one in found]
        columns = [np.concatenate(parts_of_run, axis=1) for parts_of_run in zip(ordinary, *split, strict=True)]
    except meteor.MeteorMissing as error:
        missing = dict.fromkeys(["METEOR", *["METEOR (word ids)"] * word_ids, "S*m"], str(error))
    measures["ROUGE-L"] = partial(ratio_of, part=captions.ROUGE, whole=captions.PAIRS)
    measures["CIDEr"] = partial(ratio_of, part=captions.CIDER, whole=captions.PAIRS)
    if not missing:
        four = tuple(measures[name] for name in ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr"))
        measures["S*m"] = lambda sums: np.mean([one(sums) for one in four], axis=0)
    sections = []
    for title, part in parts.items():
        taken = np.array(part, dtype=bool)
        own = []
        for run, tokens in zip(columns, texts, strict=True):
            rows = np.where(taken[:, None], run, 0.0)
            if not taken.all():
                # its weights are those of the words of the pairs that take part
                chosen = np.flatnonzero(taken)
                again = captions.caption_sums([tokens[row] for row in chosen], [known[row] for row in chosen])
                rows[chosen, captions.CIDER] = again[:, captions.CIDER]
            own.append(rows)
        sections.append(Section(title, int(taken.sum()), tuple(own), measures, missing))
    return sections


def label_section(
    title: str,
    labels: Sequence[Label],
    runs: Sequence[Sequence[frozenset[Label]]],
    references: Sequence[frozenset[Label]],
    *,
    taken: Sequence[bool] | None = None,
    groups: Mapping[str, frozenset[Label]] | None = None,
) -> Section:
    """Micro and macro F1 over labels, and micro F1 of groups of them.

    Args:
        title: Of the section.
        labels: All labels that count; others are ignored.
        runs: Predicted labels of each run.
        references: Reference labels of each pair.
        taken: Pairs that take part; all by default.
        groups: Labels of each group, by its name.

    Source: arXiv 2606.04433, appendix F. A label without support and prediction is 0/0 there, which is not stated:
        both readings are given.
    """
    import numpy as np

    chosen = np.ones(len(references), dtype=bool) if taken is None else np.array(taken, dtype=bool)
    place = {label: number for number, label in enumerate(labels)}
    columns = []
    for run in runs:
        table = np.zeros((len(references), len(labels), 3))
        for row in np.flatnonzero(chosen).tolist():
            said, known = run[row], references[row]
            for kind, found in enumerate((said & known, said - known, known - said)):
                for label in found:
                    if label in place:
                        table[row, place[label], kind] += 1
        columns.append(table.reshape(len(references), -1))
    measures: dict[str, Statistic] = {
        "micro F1": _f1,
        "macro F1, labels with support": partial(_macro_f1, absent=None),
        "macro F1, 0 for the others": partial(_macro_f1, absent=0.0),
    }
    for name, members in (groups or {}).items():
        which = np.array([3 * place[label] + kind for label in sorted(members) for kind in range(3)])
        measures[f"micro F1, {name}"] = partial(_f1_of, which=which)
    return Section(title, int(chosen.sum()), tuple(columns), measures, labels=labels)


def _f1(sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
    tp, fp, fn = (sums[:, kind::3].sum(axis=1) for kind in range(3))
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _f1_of(sums: "NDArray[np.float64]", which: "NDArray[np.intp]") -> "NDArray[np.float64]":
    return _f1(sums[:, which])


def _macro_f1(sums: "NDArray[np.float64]", absent: float | None) -> "NDArray[np.float64]":
    """Mean over labels with support; with `absent` as the F1 of all others, over all labels."""
    import numpy as np

    tp, fp, fn = (sums[:, kind::3] for kind in range(3))
    each = _ratio(2 * tp, 2 * tp + fp + fn, empty=0.0)
    supported = tp + fn > 0
    if absent is not None:
        return np.where(supported.any(axis=1), np.where(supported, each, absent).mean(axis=1), np.nan)
    return _ratio((each * supported).sum(axis=1), supported.sum(axis=1))


_TP, _FP, _FN, _TN, _UNREAD, _ALARMS = range(6)


def change_section(
    title: str,
    runs: Sequence[Sequence[bool | None]],
    changed: Sequence[bool],
    *,
    alarms: Sequence[Sequence[int]] | None = None,
    unread: Sequence[Sequence[bool]] | None = None,
) -> Section:
    """Is a pair changed or not, whatever changed: accuracy beside the answer "changed" to everything.

    Args:
        title: Of the section.
        runs: Whether each run says that a pair has changed; None where its text says neither, which is wrong.
        changed: What the reference says.
        alarms: Number of changes that each run states, to be counted on pairs without one.
        unread: Which texts could not be read, where `runs` takes them for an answer; those with None by default.
    """
    import numpy as np

    columns = []
    for number, run in enumerate(runs):
        table = np.zeros((len(changed), 6))
        for row, (said, known) in enumerate(zip(run, changed, strict=True)):
            wrong, right = (_FN, _TP) if known else (_FP, _TN)
            table[row, right if said == known else wrong] = 1
            table[row, _UNREAD] = said is None if unread is None else unread[number][row]
            if alarms is not None and not known:
                table[row, _ALARMS] = alarms[number][row]
        columns.append(table)
    measures: dict[str, Statistic] = {
        "change accuracy": lambda sums: ratio_of(sums[:, [_TP, _TN, _FP, _FN]], slice(0, 2), slice(0, 4)),
        'always "changed"': lambda sums: ratio_of(sums[:, [_TP, _FN, _FP, _TN]], slice(0, 2), slice(0, 4)),
        "sensitivity": lambda sums: ratio_of(sums[:, [_TP, _FN]], 0, slice(0, 2)),
        "specificity": lambda sums: ratio_of(sums[:, [_TN, _FP]], 0, slice(0, 2)),
        "balanced accuracy": _balanced,
        "unparsable share": lambda sums: ratio_of(sums[:, [_UNREAD, _TP, _FP, _FN, _TN]], 0, slice(1, 5)),
    }
    if alarms is not None:
        measures["false alarms per unchanged pair"] = lambda sums: ratio_of(
            sums[:, [_ALARMS, _FP, _TN]], 0, slice(1, 3)
        )
    return Section(title, len(changed), tuple(columns), measures)


def _balanced(sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return (ratio_of(sums[:, [_TP, _FN]], 0, slice(0, 2)) + ratio_of(sums[:, [_TN, _FP]], 0, slice(0, 2))) / 2


def class_section(
    title: str, runs: Sequence[Sequence[str | None]], references: Sequence[str], groups: Sequence[str]
) -> Section:
    """Macro accuracy over classes in each group of pairs, and the mean of these.

    Args:
        title: Of the section.
        runs: The class that each run names; None where it names none, which is wrong.
        references: The class of each pair.
        groups: What each pair is asked about.

    Source: MS-CXR-T 1.0.0, PhysioNet: macro accuracy over the three classes of each finding, then the mean.
    """
    import numpy as np

    cells = sorted({*zip(groups, references, strict=True)})
    place = {cell: number for number, cell in enumerate(cells)}
    columns = []
    for run in runs:
        table = np.zeros((len(references), 2 * len(cells) + 2))
        for row, (said, known, group) in enumerate(zip(run, references, groups, strict=True)):
            number = place[group, known]
            table[row, 2 * number : 2 * number + 2] = said == known, 1
            table[row, -2:] = said is None, 1
        columns.append(table)

    def of_group(sums: "NDArray[np.float64]", group: str) -> "NDArray[np.float64]":
        own = [2 * number for (name, _), number in place.items() if name == group]
        return sum((ratio_of(sums, number, number + 1) for number in own), np.zeros(len(sums))) / len(own)

    names = sorted(set(groups))
    measures: dict[str, Statistic] = {
        "macro accuracy, mean over findings": lambda sums: np.mean([of_group(sums, one) for one in names], axis=0)
    }
    measures |= {f"macro accuracy, {name}": partial(of_group, group=name) for name in names}
    for name, known in cells:
        number = 2 * place[name, known]
        measures[f"accuracy, {name}, {known}"] = partial(ratio_of, part=number, whole=number + 1)
    measures["unparsable share"] = lambda sums: ratio_of(sums, sums.shape[1] - 2, sums.shape[1] - 1)
    return Section(title, len(references), tuple(columns), measures)
