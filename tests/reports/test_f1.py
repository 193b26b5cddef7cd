import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from reports.change import MIRRORED, Change
from reports.f1 import (
    Counts,
    Level,
    PairFindings,
    compare_codes,
    count,
    detect_change,
    label_space,
    labels_of,
    macro,
    score,
)
from reports.finding import Finding
from reports.vocabulary import FINDINGS, PLACES, Domain

LUNGS = Domain.RADIOLOGY


def lung(finding: str, place: str, change: Change) -> Finding:
    return Finding(domain=LUNGS, finding=finding, place=place, change=change)


NEW_HERNIA = lung("hernia", "left", Change.NEW)
STABLE_HERNIA = lung("hernia", "left", Change.STABLE)
NEW_EDEMA = lung("edema", "right", Change.NEW)

label_sets = st.frozensets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xy")), max_size=6)


@st.composite
def pair_findings(draw: st.DrawFn) -> PairFindings:
    places = st.sets(st.tuples(st.sampled_from(FINDINGS[LUNGS][:4]), st.sampled_from(PLACES[LUNGS][:3])), max_size=5)
    sides = []
    for _ in range(2):
        sides.append(tuple(lung(name, place, draw(st.sampled_from(Change))) for name, place in draw(places)))
    return PairFindings(*sides)


def binarised(pairs, names) -> tuple[np.ndarray, np.ndarray]:
    # the column of a label that never occurs keeps scikit-learn from reading one column as two classes
    columns = [*names, "never"]
    reference = np.array([[name in wanted for name in columns] for _, wanted in pairs], dtype=int)
    predicted = np.array([[name in found for name in columns] for found, _ in pairs], dtype=int)
    return reference, predicted


@given(st.lists(st.tuples(label_sets, label_sets), min_size=1, max_size=8))
@settings(deadline=None)
def test_scores_equal_those_of_scikit_learn(pairs) -> None:
    counts = count(pairs)
    names = sorted(counts)
    reference, predicted = binarised(pairs, names)
    supported = [column for column, name in enumerate(names) if counts[name].support]
    total = sum(counts.values(), Counts())
    ours = macro(counts.values(), max(len(names), 1))
    if not supported:
        assert (ours.precision, ours.recall, ours.f1) == (None, None, None)
        return

    for mine, theirs in ((total.precision, precision_score), (total.recall, recall_score), (total.f1, f1_score)):
        expected = theirs(reference, predicted, average="micro", labels=range(len(names)), zero_division=np.nan)
        assert (np.nan if mine is None else mine) == pytest.approx(expected, nan_ok=True)
    for mine, theirs in ((ours.precision, precision_score), (ours.recall, recall_score), (ours.f1, f1_score)):
        expected = theirs(reference, predicted, average="macro", labels=supported, zero_division=np.nan)
        assert (np.nan if mine is None else mine) == pytest.approx(expected, nan_ok=True)
    published = f1_score(reference, predicted, average="macro", labels=range(len(names)), zero_division=0)
    assert ours.f1_published == pytest.approx(published)
    each = f1_score(reference, predicted, average=None, labels=range(len(names)), zero_division=np.nan)
    assert [counts[name].f1 for name in names] == pytest.approx(list(each))


@given(st.lists(pair_findings(), min_size=1, max_size=6), st.sampled_from(Level), st.booleans())
@settings(deadline=None)
def test_micro_f1_of_findings_equals_scikit_learn(pairs: list[PairFindings], level: Level, changed: bool) -> None:
    sides = [pair.labels(level, changed_only=changed) for pair in pairs]
    names = sorted(set().union(*(found | wanted for found, wanted in sides)))
    scores = score(LUNGS, pairs, level, changed_only=changed)
    if not names:
        assert scores.micro.f1 is None
        return

    reference, predicted = binarised(sides, names)

    expected = f1_score(reference, predicted, average="micro", labels=range(len(names)))
    assert scores.micro.f1 == pytest.approx(expected)


@given(st.lists(pair_findings(), max_size=6), st.sampled_from(Level))
@settings(deadline=None)
def test_findings_agree_wholly_with_themselves(pairs: list[PairFindings], level: Level) -> None:
    assessable = [tuple(item for item in pair.reference if item.change is not Change.NOT_ASSESSABLE) for pair in pairs]

    scores = score(LUNGS, [PairFindings(side, side) for side in assessable], level)

    assert scores.micro.f1 in (1.0, None)
    assert (scores.micro.fp, scores.micro.fn) == (0, 0)


@given(st.lists(pair_findings(), max_size=6))
@settings(deadline=None)
def test_swapping_prior_and_current_on_both_sides_changes_no_score(pairs: list[PairFindings]) -> None:
    def mirrored(side: tuple[Finding, ...]) -> tuple[Finding, ...]:
        return tuple(lung(item.finding, item.place, MIRRORED[item.change]) for item in side)

    turned = [PairFindings(mirrored(pair.predicted), mirrored(pair.reference)) for pair in pairs]

    assert score(LUNGS, turned, Level.EXACT).by_finding == score(LUNGS, pairs, Level.EXACT).by_finding
    assert detect_change(turned) == detect_change(pairs)


@given(st.lists(pair_findings(), max_size=6), st.sampled_from(Level), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_pairs_changes_no_score(pairs: list[PairFindings], level: Level, random) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)

    assert score(LUNGS, shuffled, level) == score(LUNGS, pairs, level)


def test_a_hand_made_case_has_the_counts_worked_out_on_paper() -> None:
    pairs = [
        PairFindings((NEW_HERNIA, NEW_EDEMA), (NEW_HERNIA,)),  # edema invented
        PairFindings((STABLE_HERNIA,), (NEW_HERNIA, lung("edema", "left", Change.NEW))),  # code wrong, edema missed
        PairFindings((), ()),
    ]

    exact = score(LUNGS, pairs, Level.EXACT)
    assert exact.micro == Counts(tp=1, fp=2, fn=2)
    assert exact.micro.f1 == pytest.approx(1 / 3)
    assert exact.by_finding == {"edema": Counts(fp=1, fn=1), "hernia": Counts(tp=1, fp=1, fn=1)}
    # supported: hernia left new (TP 1, FN 1: F1 2/3) and edema left new (0)
    assert exact.macro.f1 == pytest.approx(1 / 3)
    assert (exact.macro.supported, exact.macro.left_out) == (2, 27 * 8 * 5 - 2)
    assert exact.macro.f1_published == pytest.approx((2 / 3) / (27 * 8 * 5))

    assert score(LUNGS, pairs, Level.EXACT, changed_only=True).micro == Counts(tp=1, fp=1, fn=2)
    assert score(LUNGS, pairs, Level.FINDING_CHANGE).micro == Counts(tp=1, fp=2, fn=2)
    assert score(LUNGS, pairs, Level.DETECTION).micro == Counts(tp=2, fp=1, fn=1)


def test_the_place_does_not_matter_where_only_finding_and_change_count() -> None:
    right, left = lung("edema", "right", Change.NEW), lung("edema", "left", Change.NEW)

    assert score(LUNGS, [PairFindings((right,), (left,))], Level.FINDING_CHANGE).micro == Counts(tp=1)
    assert score(LUNGS, [PairFindings((right,), (left,))], Level.EXACT).micro == Counts(fp=1, fn=1)


def test_nothing_divided_by_nothing_is_none_and_wholly_wrong_is_zero() -> None:
    assert (Counts().precision, Counts().recall, Counts().f1) == (None, None, None)
    assert (Counts(fp=2).precision, Counts(fp=2).recall, Counts(fp=2).f1) == (0.0, None, 0.0)
    assert (Counts(fn=2).precision, Counts(fn=2).recall, Counts(fn=2).f1) == (None, 0.0, 0.0)
    empty = score(LUNGS, [PairFindings((), ())], Level.EXACT)
    assert (empty.micro.f1, empty.macro.f1, empty.macro.f1_published) == (None, None, 0.0)


def test_absent_is_silence_and_not_assessable_takes_the_place_out() -> None:
    absent = lung("hernia", "left", Change.ABSENT)
    unknown = lung("hernia", "left", Change.NOT_ASSESSABLE)

    for level in Level:
        assert score(LUNGS, [PairFindings((absent,), ())], level).micro == Counts()
        assert score(LUNGS, [PairFindings((NEW_HERNIA,), (unknown,))], level).micro == Counts()
        assert score(LUNGS, [PairFindings((unknown,), (NEW_HERNIA,))], level).micro == Counts(fn=1)
    assert labels_of([absent, unknown], Level.DETECTION) == frozenset()
    assert compare_codes([PairFindings((absent,), (NEW_HERNIA,))]).matched == 0


def test_always_changed_scores_what_the_published_test_split_gives() -> None:
    changed = PairFindings((NEW_HERNIA,), (NEW_EDEMA,))
    stable = PairFindings((NEW_HERNIA,), (STABLE_HERNIA,))

    result = detect_change([changed] * 14_030 + [stable] * (16_347 - 14_030))

    assert round(100 * result.accuracy, 2) == 85.83
    assert result.always_changed == result.accuracy
    assert (result.sensitivity, result.specificity, result.balanced_accuracy) == (1.0, 0.0, 0.5)
    assert result.false_alarms_per_stable_pair == 1.0


def test_change_detection_counts_a_pair_once() -> None:
    pairs = [
        PairFindings((NEW_HERNIA, NEW_EDEMA), (NEW_EDEMA,)),
        PairFindings((STABLE_HERNIA,), (NEW_HERNIA,)),
        PairFindings((STABLE_HERNIA,), ()),
        PairFindings((NEW_HERNIA, NEW_EDEMA), ()),
        PairFindings((), (STABLE_HERNIA,)),
    ]

    result = detect_change(pairs)

    assert (result.tp, result.fn, result.tn, result.fp) == (1, 1, 2, 1)
    assert result.accuracy == pytest.approx(3 / 5)
    assert result.always_changed == pytest.approx(2 / 5)
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result.false_alarms_per_stable_pair == pytest.approx(2 / 3)
    assert detect_change([]).accuracy is None
    assert detect_change(pairs[:2]).balanced_accuracy is None


def test_codes_are_compared_where_finding_and_place_agree() -> None:
    pairs = [PairFindings((NEW_HERNIA, NEW_EDEMA), (STABLE_HERNIA,)), PairFindings((NEW_EDEMA,), (NEW_EDEMA,))]

    codes = compare_codes(pairs)

    assert (codes.matched, codes.right, codes.accuracy) == (2, 1, 0.5)
    assert codes.confusion == {(Change.STABLE, Change.NEW): 1, (Change.NEW, Change.NEW): 1}
    assert compare_codes([]).accuracy is None


def test_the_label_space_holds_every_label_there_can_be() -> None:
    for domain in Domain:
        everything = [
            Finding(domain=domain, finding=name, place=place, change=change)
            for name in FINDINGS[domain]
            for place in PLACES[domain]
            for change in Change
        ]
        for level in Level:
            for changed in (True, False):
                labels = labels_of(everything, level, changed_only=changed)
                assert label_space(domain, level, changed_only=changed) == len(labels)
