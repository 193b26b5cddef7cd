"""Which image of a study is reported on, and which of a patient's images is its prior?"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ingest.acquisition import Acquisition
from ingest.dicom.compare import Verdict, days_before, judge_alike, same_view, study_key, undated_verdict
from ingest.dicom.history import MARGIN, History, local_time
from ingest.dicom.rules import RuleGroup
from ingest.dicom.volume_choice import unlikeness, volume_rank

#: Which image of a study is reported on: a PA shows the heart in its true size, a lateral only adds to a frontal.
_VIEW_RANK = {"PA": 0, "AP": 1, "LATERAL": 2, "": 3}


@dataclass
class Search:
    """What looking for a prior found.

    Attributes:
        prior: The prior; None if there is none.
        tied: True if nothing tells whether another study is nearer.
        verdicts: What stands in the way of others of comparable views, as far as they were looked at: of all of them if
            there is no prior.
    """

    prior: Acquisition | None = None
    tied: bool = False
    verdicts: set[Verdict] = field(default_factory=set)


def find_prior(current: Acquisition, history: History, group: RuleGroup) -> Search:
    """The most recent comparable study (or the oldest, by the rules), and of its images the one most like the current.

    By default a study with an image of the same view comes before a more recent one without. Looks at no more images
    than it takes to be sure.

    Args:
        current: An image of the history, dated.
        history: All images of the patient.
        group: The rules for the current.
    """
    search = Search()
    for one in history.undated(current):
        if study_key(one) != study_key(current) and _in_view(one, current, group):
            search.verdicts.add(undated_verdict(one))
    wanted: list[Acquisition] = []
    others: list[Acquisition] = []
    for one in history.dated(current, oldest_first=group.takes_oldest):
        if wanted and abs(local_time(one) - local_time(wanted[0])) > MARGIN:
            break
        if not _in_view(one, current, group):
            continue
        verdict = judge_alike(one, current, group)
        if verdict is not Verdict.COMPARABLE:
            search.verdicts.add(verdict)
        elif group.same_view == "ignored" or same_view(one, current):
            wanted.append(one)
        else:
            others.append(one)
    if comparable := wanted or others:
        # Nearest first; the id decides between those that nothing orders.
        sign = -1 if group.takes_oldest else 1
        first = min(comparable, key=lambda one: (sign * (days_before(one, current) or 0), one.id))
        study = [one for one in comparable if study_key(one) == study_key(first)]
        search.prior = min(ranked(study), key=lambda one: (not same_view(one, current), unlikeness(one, current)))
        search.tied = any(study_key(one) != study_key(first) and days_before(one, first) is None for one in comparable)
    return search


def ranked(images: Iterable[Acquisition]) -> list[Acquisition]:
    """Best first: known part, view, made for display, original; then the later one, as a repeat replaces the first.

    Volumes by `volume_rank`.
    """
    by_id = sorted(images, key=lambda one: one.id)
    if len(by_id) < 2:
        return by_id
    latest_first = sorted(by_id, key=local_time, reverse=True)
    return sorted(
        latest_first,
        key=lambda one: (not one.attributes.get("body_part"), _VIEW_RANK[one.view], volume_rank(one), _flaws(one)),
    )


def _in_view(one: Acquisition, current: Acquisition, group: RuleGroup) -> bool:
    return same_view(one, current) or group.views_comparable(one.view, current.view)


def _flaws(image: Acquisition) -> int:
    """How far the image is from an original made for display."""
    secondary = image.attributes.get("image_type", "").endswith("\\SECONDARY")
    return 2 * (image.attributes.get("presentation_intent") == "FOR PROCESSING") + secondary
