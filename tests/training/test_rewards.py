"""What sampled answers are worth: by hand-counted cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.change import PROGRESSION
from reports.compose import compose
from reports.f1 import Level, labels_of
from reports.finding import Finding
from reports.vocabulary import FINDINGS, NOTHING_FOUND, PLACES, Domain
from training.config import GRPOSettings
from training.prompt import Wording
from training.readers.sample import Sample, Split, Unlocated
from training.rewards import NoReward, Reward, judge_of, reward

XRAY = Domain.RADIOLOGY


def finding(name, place, change):
    return Finding(domain=XRAY, finding=name, place=place, change=change)


def sample(labels, wording=Wording.REPORT):
    return Sample(
        id="a", subject="p", split=Split.TRAIN, domain=XRAY, images=Unlocated("elsewhere"), wording=wording,
        answers=("x",), labels=labels,
    )  # fmt: skip


def report_of(*findings):
    return sample(labels_of(findings, Level.EXACT))


LEFT, RIGHT = (next(place for place in PLACES[XRAY] if side in place) for side in ("left", "right"))
NEW, WORSE, STABLE, RESOLVED = (next(one for one in PROGRESSION if one.value == name)
                                for name in ("new", "worse", "stable", "resolved"))  # fmt: skip
EDEMA, EFFUSION = "edema", "pleural effusion"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(EDEMA, LEFT, NEW)], Reward(1, 1, 1)),
        # the right direction in other words, and the wrong place
        ([(EDEMA, LEFT, WORSE)], Reward(0, 1, 1)),
        ([(EDEMA, RIGHT, NEW)], Reward(0, 1, 1)),
        ([(EDEMA, LEFT, RESOLVED)], Reward(0, 0, 1)),
        ([(EDEMA, LEFT, STABLE)], Reward(0, 0, 1)),
        # one right, one invented: precision 1/2, recall 1
        ([(EDEMA, LEFT, NEW), (EFFUSION, LEFT, NEW)], Reward(2 / 3, 2 / 3, 1)),
        ([], Reward(0, 0, 1)),
    ],
)
def test_a_report_on_a_new_edema_of_the_left_lung(said, expected):
    assert reward(report_of(finding(EDEMA, LEFT, NEW)), compose(XRAY, tuple(finding(*one) for one in said))) == expected


def test_silence_and_noise_earn_nothing_and_a_rest_costs_the_form():
    known = report_of(finding(EDEMA, LEFT, NEW))
    text = compose(XRAY, (finding(EDEMA, LEFT, NEW),))

    assert reward(known, "") == reward(known, "The heart is large.") == Reward(0, 0, 0)
    assert reward(report_of(), "") == Reward(0, 0, 0)
    assert reward(report_of(), NOTHING_FOUND[XRAY]) == Reward(1, 1, 1)
    assert reward(known, f"{text} And so on.") == Reward(1, 1, 0)


@given(st.lists(st.tuples(st.sampled_from(FINDINGS[XRAY]), st.sampled_from(PLACES[XRAY]), st.sampled_from(PROGRESSION)),
                max_size=5, unique_by=lambda one: one[:2]))  # fmt: skip
def test_the_reference_itself_is_worth_the_whole(drawn):
    findings = tuple(finding(*one) for one in drawn)

    assert reward(report_of(*findings), compose(XRAY, findings)) == Reward(1, 1, 1)


def test_answers_of_medical_diff_vqa():
    known = sample(frozenset({("edema", "new"), ("pneumonia", "resolved")}), Wording.MEDICAL_DIFF_VQA)
    added = "the main image has an additional finding of edema than the reference image."
    missing = "the main image is missing the finding of pneumonia than the reference image."

    assert reward(known, f"{added} {missing}") == Reward(1, 1, 1)
    assert reward(known, added) == Reward(2 / 3, 2 / 3, 1)
    assert reward(known, "nothing has changed.") == Reward(0, 0, 1)
    assert reward(known, "I cannot say.") == Reward(0, 0, 0)


def test_progressions():
    known = sample(frozenset({("edema", "worse")}), Wording.MS_CXR_T)

    assert reward(known, "Edema is worsening.") == Reward(1, 1, 1)
    assert reward(known, "Edema is stable.") == Reward(0, 0, 1)
    assert reward(known, "Edema.") == Reward(0, 0, 0)


def test_sentences_without_findings_have_no_reward():
    with pytest.raises(NoReward, match="use SFT"):
        reward(sample(None, Wording.LEVIR_CC), "a road")


def test_the_parts_are_weighed():
    judge = judge_of([report_of(finding(EDEMA, LEFT, NEW))], GRPOSettings(finding=0.5, direction=0.3, form=0.2))
    text = compose(XRAY, (finding(EDEMA, LEFT, NEW), finding(EFFUSION, LEFT, NEW)))

    assert judge(0, text) == {
        "finding": pytest.approx(2 / 3), "direction": pytest.approx(2 / 3), "form": 1.0,
        "reward": pytest.approx(0.8 * 2 / 3 + 0.2),
    }  # fmt: skip
