"""Which radiograph is the prior of which, and why has another none?"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from ingest.acquisition import Acquisition
from ingest.dicom.compare import (
    Candidate,
    Verdict,
    body_part,
    comparison_key,
    dates_removed,
    days_before,
    judge,
    names_differ,
    same_view,
    study_key,
)
from ingest.dicom.projection import CHEST
from ingest.dicom.rules import PairingRules, RuleGroup, load_rules
from ingest.dicom.volume_choice import unlikeness, volume_rank
from ingest.errors import Refusal
from ingest.pairing import Pair, Pairing, make_pair

#: Which image of a study is reported on: a PA shows the heart in its true size, a lateral only adds to a frontal.
_VIEW_RANK = {"PA": 0, "AP": 1, "LATERAL": 2, "": 3}
#: Below this gap, in days, two times of which one has an offset and the other has none may be the wrong way round.
_UNCERTAIN_DAYS = 1.0


def pair_radiographs(acquisitions: Sequence[Acquisition], rules: PairingRules | None = None) -> Pairing:
    """Pairs of radiographs and volumes: each study's best image with the prior that the rules choose.

    Comparable is the same subject, another study, a strictly earlier time, and what the group of the rules demands:
    modality, body part, side, view, age. By the default rules AP and PA go together with a warning, a lateral goes with
    a lateral, an unknown view with one that is labelled alike, and the same view is preferred to a more recent one. A
    study is reported on once: by its PA, else its AP, else its lateral. The order of the input does not matter.

    Args:
        acquisitions: Of any subjects.
        rules: None for the default ones.

    Source: Siegel and Reiner 1998, J Digit Imaging 11 (the most recent matching study as prior).
    """
    pairs: list[Pair] = []
    unpaired: list[Refusal] = []
    unused: list[Refusal] = []
    rules = rules or load_rules("default")
    for _, history in _by_subject(acquisitions):
        for study in _studies(history, rules):
            current, *others = _ranked(study)
            unused.extend(_not_selected(other, current) for other in others)
            outcome = _choose(current, history, rules)
            if isinstance(outcome, Pair):
                pairs.append(outcome)
            else:
                unpaired.append(outcome)
    return Pairing(pairs=tuple(pairs), unpaired=tuple(unpaired), unused=tuple(unused))


def explain(acquisitions: Sequence[Acquisition], subject: str, rules: PairingRules | None = None) -> tuple[str, ...]:
    """One line for each image of the subject, and one for each candidate of its study's reported image."""
    lines: list[str] = []
    rules = rules or load_rules("default")
    for key, history in _by_subject(acquisitions):
        if key != subject:
            continue
        for study in _studies(history, rules):
            current, *others = _ranked(study)
            outcome = _choose(current, history, rules)
            prior = outcome.prior.id if isinstance(outcome, Pair) else ""
            code = "paired" if isinstance(outcome, Pair) else outcome.code
            lines.append(f"{_describe(current)}: {code}. {outcome.reason}")
            for candidate in _candidates(current, history, rules):
                taken = "was taken" if candidate.prior.id == prior else candidate.verdict.value
                lines.append(f"  {_describe(candidate.prior)}: {taken}.")
            lines.extend(
                f"{_describe(other)}: NOT_SELECTED. {_not_selected(other, current).reason}" for other in others
            )
    return tuple(lines)


def _describe(acquisition: Acquisition) -> str:
    """The file comes first: it is what an operator can look at."""
    when = acquisition.time.isoformat(sep=" ", timespec="minutes") if acquisition.time else "no date"
    part = acquisition.attributes.get("body_part", "body part unknown")
    modality = acquisition.attributes.get("modality", "modality unknown")
    view = f"{modality} volume" if acquisition.files else f"{modality} {acquisition.view or 'of unknown view'}"
    return f"{acquisition.name} ({when}, {part}, {view})"


def _by_subject(acquisitions: Sequence[Acquisition]) -> list[tuple[str, list[Acquisition]]]:
    histories: dict[str, list[Acquisition]] = defaultdict(list)
    for acquisition in acquisitions:
        histories[acquisition.subject].append(acquisition)
    for history in histories.values():
        history.sort(key=lambda one: (one.time is None, _local_time(one), one.id, one.name))
    return sorted(histories.items())


def _studies(history: Sequence[Acquisition], rules: PairingRules) -> list[list[Acquisition]]:
    """Images that share one report: of one study and one body part.

    Images of an unknown part go with the known part of their study, so that a study is not reported on twice.
    """
    studies: dict[tuple[str, tuple[str, ...]], list[Acquisition]] = defaultdict(list)
    parts: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for image in history:
        if image.attributes.get("body_part"):
            parts[study_key(image)].add(comparison_key(image, rules))
    for image in history:
        key = study_key(image)
        group = comparison_key(image, rules)
        if not image.attributes.get("body_part") and parts[key]:
            group = min(parts[key], key=lambda one: (one[-1] != CHEST, one))
        studies[key, group].append(image)
    return list(studies.values())


def _ranked(images: Sequence[Acquisition]) -> list[Acquisition]:
    """Best first: known part, view, made for display, original; then the later one, as a repeat replaces the first.

    Volumes by `volume_rank`.
    """
    by_id = sorted(images, key=lambda one: one.id)
    latest_first = sorted(
        by_id, key=lambda one: one.time.replace(tzinfo=None) if one.time else datetime.min, reverse=True
    )
    return sorted(
        latest_first,
        key=lambda one: (not one.attributes.get("body_part"), _VIEW_RANK[one.view], volume_rank(one), _flaws(one)),
    )


def _local_time(image: Acquisition) -> datetime:
    return image.time.replace(tzinfo=None) if image.time else datetime.min


def _flaws(image: Acquisition) -> int:
    """How far the image is from an original made for display."""
    secondary = image.attributes.get("image_type", "").endswith("\\SECONDARY")
    return 2 * (image.attributes.get("presentation_intent") == "FOR PROCESSING") + secondary


def _not_selected(image: Acquisition, chosen: Acquisition) -> Refusal:
    return _refuse(
        image,
        "NOT_SELECTED",
        f"The study is reported on by its {_kind(chosen)} {chosen.id}; nothing to do.",
    )


def _kind(chosen: Acquisition) -> str:
    if chosen.files:
        return "volume of {slices} {plane} slices".format_map(chosen.attributes)
    return f"{chosen.view or 'first'} image"


def _refuse(image: Acquisition, code: str, reason: str) -> Refusal:
    return Refusal(item=image.id, level="acquisition", code=code, reason=reason)


def _candidates(current: Acquisition, history: Sequence[Acquisition], rules: PairingRules) -> list[Candidate]:
    return [judge(prior, current, rules) for prior in history if prior.id != current.id]


def _choose(current: Acquisition, history: Sequence[Acquisition], rules: PairingRules) -> Pair | Refusal:
    """The pair of a study's reported image, or why there is none."""
    group = rules.group_of(current)
    if group is None:
        modality = current.attributes.get("modality", "none")
        return _refuse(
            current, "NO_RULE", f"The pairing rules {rules.name} have no group for the modality {modality}; add one."
        )
    if dates_removed(current):
        return _refuse(
            current,
            "DATES_REMOVED",
            "De-identification removed the dates, so nothing tells what was first; export with shifted dates.",
        )
    if current.time is None:
        return _refuse(current, "DATE_UNKNOWN", "The image has no date, so no prior can be found; complete the header.")
    candidates = _candidates(current, history, rules)
    comparable = [one.prior for one in candidates if one.verdict is Verdict.COMPARABLE]
    if not comparable:
        return _no_prior(current, candidates)
    prior, tied = _best(comparable, current, group)
    pair = make_pair(
        prior,
        current,
        reason=_why(prior, current, comparable, group) + rules.remark,
        warnings=_warnings(prior, current, tied, candidates),
    )
    return _refused_pair(pair, body_part(current, rules)) or pair


def _best(comparable: Sequence[Acquisition], current: Acquisition, group: RuleGroup) -> tuple[Acquisition, bool]:
    """The prior, by default same view first, then the most recent study; and whether another was as good."""
    studies: dict[str, list[Acquisition]] = defaultdict(list)
    for image in comparable:
        studies[study_key(image)].append(image)
    best_of_each = [
        min(_ranked(images), key=lambda one: (not same_view(one, current), unlikeness(one, current)))
        for images in studies.values()
    ]
    alike = best_of_each
    if group.same_view != "ignored":
        alike = [image for image in best_of_each if same_view(image, current)] or best_of_each
    sign = -1 if group.takes_oldest else 1
    first, *others = sorted(alike, key=lambda image: (sign * (days_before(image, current) or 0), image.id))
    return first, any(days_before(other, first) is None for other in others)


def _no_prior(current: Acquisition, candidates: Sequence[Candidate]) -> Refusal:
    """The one reason: what came nearest to a prior decides."""
    verdicts = {candidate.verdict for candidate in candidates}
    if Verdict.OTHER_PERSON in verdicts:
        return _refuse(
            current,
            "IDENTITY_CONFLICT",
            "An earlier image has the same patient id and another birth date, or another name and sex; "
            "correct the identity at the source.",
        )
    if verdicts & {Verdict.NO_DATE, Verdict.SAME_MOMENT}:
        return _refuse(
            current,
            "DATE_UNKNOWN",
            "A comparable image has no date, or the same one, so nothing tells which was first; complete the times.",
        )
    if Verdict.DATES_REMOVED in verdicts:
        return _refuse(
            current,
            "DATES_REMOVED",
            "De-identification removed the dates of the only comparable images; export them with shifted dates.",
        )
    earlier = {
        candidate.verdict
        for candidate in candidates
        if candidate.verdict in (Verdict.OTHER_VIEW, Verdict.OTHER_BODY_PART)
        and (days_before(candidate.prior, current) or 0) > 0
    }
    if Verdict.OUT_OF_RANGE in verdicts:
        return _refuse(
            current, "NO_PRIOR", "The comparable earlier images are nearer or further in time than the rules allow."
        )
    if Verdict.OTHER_VIEW in earlier:
        return _refuse(
            current,
            "NO_COMPARABLE_VIEW",
            f"Earlier images show the same part, but none from a side comparable with {current.view or 'this view'}.",
        )
    if Verdict.OTHER_BODY_PART in earlier:
        return _refuse(current, "NO_SAME_BODY_PART", "The earlier images show other parts of the body, or say none.")
    return _refuse(current, "NO_PRIOR", "The archive holds no earlier image of this patient; add earlier studies.")


def _refused_pair(pair: Pair, part: str) -> Refusal | None:
    """A pair that can be formed and must not be reported on; of an unknown part it is reported with a warning."""
    if part not in (CHEST, ""):
        return Refusal(
            item=pair.id,
            level="pair",
            code="UNSUPPORTED_BODY_PART",
            reason=f"Both images show {part}; findings are known for the chest only, so nothing is reported.",
        )
    # Without hashes, after an index of headers only, nothing is known of this.
    if pair.prior.pixel_sha256 and pair.prior.pixel_sha256 == pair.current.pixel_sha256:
        return Refusal(
            item=pair.id,
            level="pair",
            code="DUPLICATE",
            reason="Prior and current are one picture stored as two studies; delete the wrong study.",
        )
    return None


def _why(prior: Acquisition, current: Acquisition, comparable: Sequence[Acquisition], group: RuleGroup) -> str:
    rank = "oldest" if group.takes_oldest else "most recent"
    same = "the same region" if current.files else f"the same view ({current.view or 'unknown'})"
    view = same if same_view(prior, current) else "a comparable view"
    count = len({study_key(image) for image in comparable})
    others = "the only comparable earlier study" if count == 1 else f"the {rank} of {count} comparable earlier studies"
    by_view = group.same_view == "preferred" and same_view(prior, current)
    if count > 1 and by_view and not all(same_view(image, current) for image in comparable):
        others = f"the {rank} in this view of {count} comparable earlier studies"
    return f"It shows {view} and is {others}."


def _warnings(prior: Acquisition, current: Acquisition, tied: bool, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    found = []
    if {prior.view, current.view} == {"AP", "PA"}:
        found.append(f"The prior is {prior.view}, the current {current.view}: the heart looks larger on an AP view.")
    if not current.view and not current.files:
        found.append("The views are unknown: check that both images were taken from the same side.")
    if not current.attributes.get("body_part"):
        found.append("The body part is unknown: check that both images show the chest.")
    if tied:
        found.append("Two studies are equally recent and nothing tells which was later; one of them was taken.")
    if any(candidate.verdict is Verdict.SAME_MOMENT for candidate in candidates):
        found.append("Another study has the same time as the current, so it was not considered as its prior.")
    if any(candidate.verdict is Verdict.NO_DATE for candidate in candidates):
        found.append("Another study of this patient has no date and was not considered.")
    if any(candidate.verdict is Verdict.OTHER_PERSON for candidate in candidates):
        found.append("Another earlier image under this patient id seems to be of another person; it was left out.")
    if names_differ(prior, current):
        found.append("The recorded names differ: check that both images are of one person.")
    if prior.time and current.time and (prior.time.tzinfo is None) != (current.time.tzinfo is None):
        days = days_before(prior, current)
        if days is not None and abs(days) < _UNCERTAIN_DAYS:
            found.append("Only one of the two times has a time zone: the order of the two is uncertain.")
    for role, image in (("prior", prior), ("current", current)):
        if image.attributes.get("warnings"):
            found.append(f"About the {role}: {image.attributes['warnings']}")
    return tuple(found)
