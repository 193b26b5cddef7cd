import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.difference import UNCOUNTED, Difference, LevelChange, read_difference
from reports.vocabulary import FINDINGS, Domain

NAMES = (*FINDINGS[Domain.RADIOLOGY], *UNCOUNTED)

#: Every template of the generator, as it writes it: a comma before "and", a blank after the last full stop.
PUBLISHED = {
    "the main image has an additional finding of pleural effusion than the reference image. ": Difference(
        added=("pleural effusion",)
    ),
    "the main image has additional findings of edema, and atelectasis than the reference image. ": Difference(
        added=("edema", "atelectasis")
    ),
    "the main image has additional findings of edema, pneumonia, and blunting of the costophrenic angle than the "
    "reference image. the main image is missing the findings of tortuosity of the thoracic aorta, and fracture than "
    "the reference image. ": Difference(
        added=("edema", "pneumonia", "blunting of the costophrenic angle"),
        missing=("tortuosity of the thoracic aorta", "fracture"),
    ),
    "the main image is missing the finding of heart failure than the reference image. ": Difference(
        missing=("heart failure",)
    ),
    "the level of pleural effusion has changed from small to moderate. ": Difference(
        levels=(LevelChange(finding="pleural effusion", old="small", new="moderate"),)
    ),
    "the level of edema has changed from mild to severe. the main image has an additional finding of hernia than the "
    "reference image. ": Difference(
        added=("hernia",), levels=(LevelChange(finding="edema", old="mild", new="severe"),)
    ),
    "nothing has changed.": Difference(),
}


@pytest.mark.parametrize("text", PUBLISHED)
def test_every_published_template_is_read_whole(text):
    assert read_difference(text) == PUBLISHED[text]


names = st.lists(st.sampled_from(NAMES), unique=True, max_size=5).map(tuple)
levels = st.sampled_from(["small", "moderate", "mild", "severe", "acute", "minimal increasing"])
differences = st.builds(
    Difference,
    added=names,
    missing=names,
    levels=st.lists(st.builds(LevelChange, finding=st.sampled_from(NAMES), old=levels, new=levels), max_size=2).map(
        tuple
    ),
)


@given(differences)
def test_what_is_written_is_read_again(difference):
    assert read_difference(difference.text()) == difference


@given(differences)
def test_mirroring_twice_changes_nothing_and_once_swaps_new_and_resolved(difference):
    mirrored = difference.mirrored()

    assert mirrored.mirrored() == difference
    swap = {"new": "resolved", "resolved": "new"}
    assert mirrored.labels == {(name, swap[change]) for name, change in difference.labels}


@given(st.text(max_size=80))
def test_any_text_can_be_read_and_what_states_nothing_has_no_labels(text):
    difference = read_difference(text)

    assert difference.is_stated or not difference.labels


def test_singular_plural_case_and_a_missing_end_are_tolerated():
    text = "The main image has an additional findings of Edema and pneumonia"

    assert read_difference(text).added == ("edema", "pneumonia")


def test_other_words_for_a_finding_are_the_finding():
    text = "the main image is missing the finding of pulmonary edema than the reference image."

    assert read_difference(text).labels == {("edema", "resolved")}


def test_a_name_beyond_the_27_is_a_change_without_a_label():
    difference = read_difference("the main image has an additional finding of hypoxemia than the reference image.")

    assert difference.has_change
    assert not difference.labels
    assert not difference.unknown


def test_an_invented_name_is_told_as_unknown():
    difference = read_difference("the main image has an additional finding of sparkle than the reference image.")

    assert difference.unknown == ("sparkle",)


@pytest.mark.parametrize("text", ["", "I cannot tell.", "the heart is larger than before"])
def test_a_text_off_the_templates_states_nothing(text):
    difference = read_difference(text)

    assert not difference.is_stated
    assert difference.rest == text.casefold().strip(".")


def test_nothing_beside_a_change_is_not_believed():
    difference = read_difference(
        "nothing has changed. the main image is missing the finding of edema than the reference image."
    )

    assert difference.missing == ("edema",)
    assert difference.rest == "nothing has changed"


def test_a_level_that_can_be_cut_in_two_ways_cannot_be_mirrored():
    assert not read_difference("the level of edema has changed from mild to moderate to severe.").can_be_mirrored
    assert read_difference("the level of edema has changed from mild to severe.").can_be_mirrored
