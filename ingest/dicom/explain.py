"""What was chosen or left as the prior of each image of a patient, and why? For people."""

from collections.abc import Sequence

from ingest.acquisition import Acquisition
from ingest.dicom.compare import Verdict, days_before, judge, same_view, study_key
from ingest.dicom.history import History
from ingest.dicom.pair import not_selected, pair_or_refusal, reported_images
from ingest.dicom.rules import PairingRules
from ingest.pairing import Pair, Pairing


def explain_radiographs(
    images: Sequence[Acquisition], unreadable: Sequence[Acquisition], pairing: Pairing, rules: PairingRules
) -> tuple[str, ...]:
    """One line for each image of a subject; below that of a reported image one for each candidate.

    Args:
        images: All of the subject that can be used.
        unreadable: Those that could be used but for their pixels.
        pairing: What became of the images.
        rules: The rules that they were paired by.
    """
    lines: list[str] = []
    told = {one.item: one for one in pairing.unpaired}
    history = History(images, rules)
    for current, others in reported_images(history):
        outcome = pair_or_refusal(current, history)
        outcome = told.get(current.id, outcome)
        code = "paired" if isinstance(outcome, Pair) else outcome.code
        lines.append(f"{_describe(current)}: {code}. {outcome.reason}")
        prior = outcome.prior if isinstance(outcome, Pair) else None
        lines.extend(
            f"  {_describe(one)}: {_why(one, current, prior, rules)}." for one in history.images if one.id != current.id
        )
        for one in unreadable:
            verdict = judge(one, current, rules)
            why = "is comparable, but its pixels cannot be read" if verdict is Verdict.COMPARABLE else verdict.value
            lines.append(f"  {_describe(one)}: {why}.")
        lines.extend(f"{_describe(other)}: NOT_SELECTED. {not_selected(other, current).reason}" for other in others)
    return tuple(lines)


def _why(image: Acquisition, current: Acquisition, prior: Acquisition | None, rules: PairingRules) -> str:
    """What became of a candidate."""
    verdict = judge(image, current, rules)
    if verdict is not Verdict.COMPARABLE or prior is None:
        return verdict.value
    if image.id == prior.id:
        return "was taken"
    if study_key(image) == study_key(prior):
        return "is comparable, but another image of its study is more like the current"
    group = rules.group_of(current)
    prefers_view = group is not None and group.same_view == "preferred"
    if prefers_view and same_view(prior, current) and not same_view(image, current):
        return "is comparable, but shows another view than the current and its prior"
    days, taken = days_before(image, current), days_before(prior, current)
    if days_before(image, prior) is None or days is None or taken is None:
        return "is comparable, and nothing tells whether it is nearer than the prior"
    return f"is comparable, but {'older' if days > taken else 'more recent'} than the prior"


def _describe(acquisition: Acquisition) -> str:
    """The file comes first: it is what an operator can look at."""
    when = acquisition.time.isoformat(sep=" ", timespec="minutes") if acquisition.time else "no date"
    part = acquisition.attributes.get("body_part", "body part unknown")
    modality = acquisition.attributes.get("modality", "modality unknown")
    view = f"{modality} volume" if acquisition.files else f"{modality} {acquisition.view or 'of unknown view'}"
    return f"{acquisition.name} ({when}, {part}, {view})"
