"""Why is this the prior, or why is there none, and what must a reader of the pair be told?"""

from ingest.acquisition import Acquisition
from ingest.dicom.choose import Search
from ingest.dicom.compare import Verdict, days_before, names_differ, same_view
from ingest.dicom.history import History
from ingest.dicom.rules import RuleGroup

#: Below this gap, in days, two times of which one has an offset and the other has none may be the wrong way round.
_UNCERTAIN_DAYS = 1.0


def why_this(prior: Acquisition, current: Acquisition, group: RuleGroup) -> str:
    """Why the prior was chosen."""
    rank = "oldest" if group.takes_oldest else "most recent"
    limit = " within the time that the rules allow" if any(group.relative_time_days) else ""
    if current.files:
        return f"It shows the same region and is the {rank} comparable earlier study{limit}."
    if not same_view(prior, current):
        of_same = "" if group.same_view == "ignored" else "; no earlier study shows the same"
        return f"It shows a comparable view ({prior.view}) and is the {rank} such study{limit}{of_same}."
    kind = "comparable earlier study" if group.same_view == "ignored" else "earlier study that does"
    return f"It shows the same view ({current.view or 'unknown'}) and is the {rank} {kind}{limit}."


def why_none(current: Acquisition, history: History, search: Search) -> tuple[str, str]:
    """Reason code and sentence for an image without a prior: what came nearest to one decides."""
    verdicts = search.verdicts
    if Verdict.OTHER_PERSON in verdicts:
        return (
            "IDENTITY_CONFLICT",
            "An earlier image has the same patient id and another birth date, or another name and sex; "
            "correct the identity at the source.",
        )
    if verdicts & {Verdict.NO_DATE, Verdict.SAME_MOMENT}:
        return (
            "DATE_UNKNOWN",
            "A comparable image has no date, or the same one, so nothing tells which was first; complete the times.",
        )
    if Verdict.DATES_REMOVED in verdicts:
        return (
            "DATES_REMOVED",
            "De-identification removed the dates of the only comparable images; export them with shifted dates.",
        )
    if Verdict.OUT_OF_RANGE in verdicts:
        return "NO_PRIOR", "The comparable earlier images are nearer or further in time than the rules allow."
    if history.has_earlier_view(current):
        return (
            "NO_COMPARABLE_VIEW",
            f"Earlier images show the same part, but none from a side comparable with {current.view or 'this view'}.",
        )
    if history.has_earlier_part(current):
        return "NO_SAME_BODY_PART", "The earlier images show other parts of the body, or say none."
    return "NO_PRIOR", "The archive holds no earlier image of this patient; add earlier studies."


def pair_warnings(prior: Acquisition, current: Acquisition, search: Search, history: History) -> tuple[str, ...]:
    """What a reader of the pair must be told."""
    found = []
    if {prior.view, current.view} == {"AP", "PA"}:
        found.append(f"The prior is {prior.view}, the current {current.view}: the heart looks larger on an AP view.")
    if not current.view and not current.files:
        found.append("The views are unknown: check that both images were taken from the same side.")
    if not current.attributes.get("body_part"):
        found.append("The body part is unknown: check that both images show the chest.")
    if search.tied:
        found.append("Two studies are equally recent and nothing tells which was later; one of them was taken.")
    if Verdict.SAME_MOMENT in search.verdicts:
        found.append("Another study has the same time as the current, so it was not considered as its prior.")
    if Verdict.NO_DATE in search.verdicts:
        found.append("Another study of this patient has no date and was not considered.")
    if history.has_other_person(current):
        found.append("Another image under this patient id seems to be of another person; it was left out.")
    if names_differ(prior, current):
        found.append("The recorded names differ: check that both images are of one person.")
    found.extend(_doubtful_order(prior, current))
    for role, image in (("prior", prior), ("current", current)):
        if image.attributes.get("warnings"):
            found.append(f"About the {role}: {image.attributes['warnings']}")
    return tuple(found)


def _doubtful_order(prior: Acquisition, current: Acquisition) -> list[str]:
    """Doubts about which of the two was first, and how long before."""
    found = []
    shifted = {image.attributes.get("longitudinal") == "MODIFIED" for image in (prior, current)}
    if len(shifted) == 2:
        found.append("Only one of the two has dates that de-identification changed: order and interval are uncertain.")
    days = days_before(prior, current)
    if days is None or days >= _UNCERTAIN_DAYS or prior.time is None or current.time is None:
        return found
    if (prior.time.tzinfo is None) != (current.time.tzinfo is None):
        found.append("Only one of the two times has a time zone: the order of the two is uncertain.")
    return found
