"""How do the answers in a file score on a data set?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.bootstrap import RESAMPLES
from reports.evaluation import Evaluation, evaluate
from reports.protocols import DIFFERENCE, PROGRESSION, Protocol, Reference, report_protocol, scene_sections
from training.answers import read_answers, texts_for
from training.prompt import Wording
from training.readers.levir import UNCHANGED, says_unchanged
from training.readers.medical_diff_vqa import AREA_QUESTION
from training.readers.sample import DataSet, DataSetUnusable, Sample, Split

_PROTOCOLS = {
    Wording.MEDICAL_DIFF_VQA: DIFFERENCE,
    Wording.MS_CXR_T: PROGRESSION,
    Wording.LEVIR_CC: Protocol(UNCHANGED[0], scene_sections(says_unchanged)),
}


def score_answers(
    data_set: DataSet,
    split: Split,
    answers: Path,
    *,
    against: Path | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """The evaluation of a file of answers, beside another one if it is given.

    Raises:
        AnswersUnusable: A file cannot be used, or lacks answers.
        DataSetUnusable: The split is empty, or the samples are of two domains.
    """
    samples = data_set.of(split)
    wanted = {one.id: one for one in samples}
    known = frozenset(one.id for one in data_set.samples)
    texts, *others = (
        texts_for(wanted, read_answers(path), known=known, name=path.name)
        for path in (answers, against)
        if path is not None
    )
    return evaluate(
        [_reference(one) for one in samples],
        texts,
        _protocol(samples),
        data_set=data_set.name,
        split=split.value,
        others=others[0] if others else None,
        seed=seed,
        resamples=resamples,
    )


def _protocol(samples: Sequence[Sample]) -> Protocol:
    (wording,) = {one.wording for one in samples}
    if wording is not Wording.REPORT:
        return _PROTOCOLS[wording]
    domains = {one.domain for one in samples}
    if len(domains) > 1:
        raise DataSetUnusable("The archive holds radiographs and scenes; evaluate each kind in an archive of its own.")
    return report_protocol(domains.pop())


def _reference(sample: Sample) -> Reference:
    return Reference(
        id=sample.id,
        subject=sample.subject,
        domain=sample.domain,
        texts=sample.answers,
        labels=sample.labels,
        is_changed=sample.is_changed,
        is_partial=AREA_QUESTION in sample.notes,
    )
