"""Which radiograph or volume is the prior of which, and why has another none?"""

from collections import defaultdict
from collections.abc import Sequence

from ingest.acquisition import Acquisition
from ingest.dicom.choose import find_prior, ranked
from ingest.dicom.compare import ComparisonKey, body_part, dates_removed, study_key
from ingest.dicom.history import History
from ingest.dicom.projection import CHEST
from ingest.dicom.rules import PairingRules, load_rules
from ingest.dicom.why import pair_warnings, why_none, why_this
from ingest.errors import Refusal
from ingest.pairing import Pair, Pairing, make_pair


def pair_radiographs(acquisitions: Sequence[Acquisition], rules: PairingRules | None = None) -> Pairing:
    """Pairs of radiographs and volumes: each study's best image with the prior that the rules choose.

    Comparable is the same subject, another study, a strictly earlier time, and what the group of the rules demands:
    modality, body part, side, view, age. By the default rules AP and PA go together with a warning, a lateral goes with
    a lateral, an unknown view with one that is labelled alike, and the same view is preferred to a more recent one. A
    study is reported on once: by its PA, else its AP, else its lateral. The order of the input does not matter. The
    time that this takes grows with the number of images, also of one subject, and not with its square.

    Args:
        acquisitions: Of any subjects.
        rules: None for the default ones.

    Source: Siegel and Reiner 1998, J Digit Imaging 11 (the most recent matching study as prior).
    """
    pairs: list[Pair] = []
    unpaired: list[Refusal] = []
    unused: list[Refusal] = []
    rules = rules or load_rules("default")
    histories: dict[str, list[Acquisition]] = defaultdict(list)
    for acquisition in acquisitions:
        histories[acquisition.subject].append(acquisition)
    for _, images in sorted(histories.items()):
        history = History(images, rules)
        for current, others in reported_images(history):
            unused.extend(not_selected(other, current) for other in others)
            outcome = pair_or_refusal(current, history)
            if isinstance(outcome, Pair):
                pairs.append(outcome)
            else:
                unpaired.append(outcome)
    return Pairing(pairs=tuple(pairs), unpaired=tuple(unpaired), unused=tuple(unused))


def reported_images(history: History) -> list[tuple[Acquisition, list[Acquisition]]]:
    """The image that each study is reported on by, and the study's others: of one study and one body part.

    Images of an unknown part go with the known part of their study, so that a study is not reported on twice.
    """
    studies: dict[tuple[str, ComparisonKey], list[Acquisition]] = defaultdict(list)
    parts: dict[str, set[ComparisonKey]] = defaultdict(set)
    for image in history.images:
        if image.attributes.get("body_part"):
            parts[study_key(image)].add(history.key_of(image))
    for image in history.images:
        key = study_key(image)
        group = history.key_of(image)
        if not image.attributes.get("body_part") and parts[key]:
            group = min(parts[key], key=lambda one: (one[-1] != CHEST, one))
        studies[key, group].append(image)
    best_first = (ranked(images) for images in studies.values())
    return [(current, others) for current, *others in best_first]


def not_selected(image: Acquisition, chosen: Acquisition) -> Refusal:
    """What is said of an image whose study is reported on by another one."""
    kind = (
        "volume of {slices} {plane} slices".format_map(chosen.attributes)
        if chosen.files
        else f"{chosen.view or 'first'} image"
    )
    return _refuse(image, "NOT_SELECTED", f"The study is reported on by its {kind} {chosen.id}; nothing to do.")


def pair_or_refusal(current: Acquisition, history: History) -> Pair | Refusal:
    """The pair of a study's reported image, or why there is none."""
    group = history.rules.group_of(current)
    if group is None:
        modality = current.attributes.get("modality", "none")
        return _refuse(
            current,
            "NO_RULE",
            f"The pairing rules {history.rules.name} have no group for the modality {modality}; add one.",
        )
    if dates_removed(current):
        return _refuse(
            current,
            "DATES_REMOVED",
            "De-identification removed the dates, so nothing tells what was first; export with shifted dates.",
        )
    if current.time is None:
        return _refuse(current, "DATE_UNKNOWN", "The image has no date, so no prior can be found; complete the header.")
    search = find_prior(current, history, group)
    if search.prior is None:
        return _refuse(current, *why_none(current, history, search))
    pair = make_pair(
        search.prior,
        current,
        reason=why_this(search.prior, current, group) + history.rules.remark,
        warnings=pair_warnings(search.prior, current, search, history),
    )
    return _refused_pair(pair, body_part(current, history.rules)) or pair


def _refuse(image: Acquisition, code: str, reason: str) -> Refusal:
    return Refusal(item=image.id, level="acquisition", code=code, reason=reason)


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
