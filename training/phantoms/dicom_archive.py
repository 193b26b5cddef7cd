"""What does a hospital's archive of generated chest radiographs hold, and which pairs does it imply?"""

import csv
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from reports.labels import LabelledPair, write_labels
from reports.vocabulary import Domain
from training.errors import TrainingError
from training.phantoms.dicom_object import ImageRecord, PatientRecord, derive_uid, image_object, text_object
from training.phantoms.radiograph import LesionState, draw_subject, evolve, findings_between, render
from training.phantoms.radiograph_findings import draw_pair

#: Side of the field of view along the picture's shorter side, in millimetres.
_FIELD: Final = 360.0
_SHAPES: Final = ((320, 320), (352, 320), (384, 384), (400, 368), (448, 416), (512, 448))
_SYNTAXES: Final = (
    ExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEGLSLossless,
    ImplicitVRLittleEndian,
)
_BODY_PARTS: Final = ("CHEST", "CHEST", "CHEST", "CHEST", "THORAX", "")
_FAMILIES: Final = ("Abend", "Brook", "Castell", "Dorn", "Ekström", "Fontaine", "Gruber", "Hale", "Ibáñez", "Jansen")
_GIVEN: Final = {
    "F": ("Ada", "Berta", "Clara", "Dora", "Elsa", "Flora"),
    "M": ("Anton", "Bruno", "Carl", "David", "Emil", "Felix"),
}


class NoSubjects(TrainingError, ValueError):
    """An archive needs at least one subject."""


@dataclass(frozen=True, kw_only=True)
class _Study:
    """One study as planned: its images and what they show."""

    images: tuple[ImageRecord, ...]
    lesions: tuple[LesionState, ...]
    names: tuple[str, ...]

    @property
    def frontal(self) -> int | None:
        """Position of the frontal image."""
        return next((at for at, image in enumerate(self.images) if image.view != "LATERAL"), None)


def write_dicom_archive(root: Path, *, subjects: int = 40, seed: int, patient_name: str | None = None) -> Path:
    """Writes an archive of DICOM files and returns the path of its labels, `root/labels.csv`.

    `root/awkward.csv` lists the files that are no usable images, with the reason code each of them must get. The same
    arguments give the same bytes.

    Args:
        root: Folder to fill; made if it does not exist.
        subjects: Number of patients, each with two to four studies.
        seed: Source of everything random.
        patient_name: Name of every patient instead of drawn ones, for privacy tests.

    Raises:
        NoSubjects: `subjects` is below 1.
    """
    if subjects < 1:
        raise NoSubjects(f"An archive needs at least one subject, not {subjects}.")
    root.mkdir(parents=True, exist_ok=True)
    labels: list[LabelledPair] = []
    awkward: list[tuple[str, str]] = []
    for number in range(subjects):
        rng = np.random.default_rng((seed, number))
        patient = _draw_patient(rng, number, patient_name)
        anatomy = draw_subject(rng)
        studies = _plan(rng, seed, number)
        for study in studies:
            for image, name in zip(study.images, study.names, strict=True):
                shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
                image_at_size = replace(image, spacing=_FIELD / min(shape))
                picture = render(anatomy, study.lesions, rng, size=shape, view=image.view).values
                _write(root / name, image_object(patient, image_at_size, picture))
        labels.extend(_label(studies))
        if number == 0:
            awkward = _write_awkward(root, rng, patient, studies)
    with (root / "awkward.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "expected_code"))
        writer.writerows(sorted(awkward))
    path = root / "labels.csv"
    write_labels(path, labels)
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _draw_patient(rng: np.random.Generator, number: int, name: str | None) -> PatientRecord:
    sex = "F" if rng.random() < 0.5 else "M"
    family, given = _FAMILIES[int(rng.integers(len(_FAMILIES)))], _GIVEN[sex][int(rng.integers(len(_GIVEN[sex])))]
    born = datetime(1930, 1, 1) + timedelta(days=int(rng.integers(25_000)))
    # Two hospitals number their patients independently: neighbours share a number, but not its issuer.
    return PatientRecord(
        name=f"{family}^{given}" if name is None else name,
        identifier=f"{70_000 + number // 2}",
        issuer=("NORTH", "SOUTH")[number % 2],
        sex=sex,
        birth_date=born.strftime("%Y%m%d"),
        character_set=("ISO_IR 100", "ISO_IR 192")[int(rng.integers(2))] if name is None else "ISO_IR 192",
    )


def _plan(rng: np.random.Generator, seed: int, number: int) -> list[_Study]:
    """The studies of one subject in order of time."""
    before, after = draw_pair(rng)
    states = [before, after]
    for _ in range(int(rng.integers(3))):
        states.append(evolve(rng, states[-1]))
    usual = "PA" if rng.random() < 0.6 else "AP"
    time = datetime(2014, 1, 6, 7) + timedelta(days=int(rng.integers(2500)), minutes=int(rng.integers(700)))
    lateral_only = int(rng.integers(1, len(states))) if len(states) > 2 and rng.random() < 0.2 else None
    studies = []
    for place, lesions in enumerate(states):
        view = usual if rng.random() < 0.7 else {"PA": "AP", "AP": "PA"}[usual]
        has_lateral = rng.random() < 0.2 or (place == 0 and lateral_only is not None)
        views = ["LATERAL"] if place == lateral_only else [view, "LATERAL"] if has_lateral else [view]
        first = _draw_image(rng, derive_uid("study", seed, number, place), place + 1, time)
        images = tuple(
            replace(first, number=at + 1, view=shown, time=time + timedelta(minutes=2 + 3 * at))
            for at, shown in enumerate(views)
        )
        studies.append(_Study(images=images, lesions=lesions, names=_names(number, place, images)))
        time += timedelta(
            days=int(rng.choice((3, 9, 30, 120, 400))) + int(rng.integers(20)), minutes=int(rng.integers(90))
        )
    return studies


def _draw_image(rng: np.random.Generator, study_uid: str, study_number: int, time: datetime) -> ImageRecord:
    modality = "CR" if rng.random() < 0.5 else "DX"
    slope, intercept = ((1.0, 0.0), (1.0, -200.0), (0.25, 0.0), (2.0, 10.0))[int(rng.integers(4))]
    return ImageRecord(
        study_uid=study_uid,
        study_number=study_number,
        number=1,
        time=time,
        study_time=time,
        modality=modality,
        view="PA",
        inverted=bool(rng.random() < 0.35),
        bits=(10, 12, 14)[int(rng.integers(3))],
        syntax=_SYNTAXES[int(rng.integers(len(_SYNTAXES)))],
        lookup=modality == "DX" and bool(rng.random() < 0.35),
        margin=(0.0, 0.06, 0.12)[int(rng.integers(3))],
        slope=slope,
        intercept=intercept,
        spacing=1.0,
        body_part=_BODY_PARTS[int(rng.integers(len(_BODY_PARTS)))],
        description=("Chest radiograph", "XR CHEST", "Thorax")[int(rng.integers(3))],
    )


def _names(number: int, place: int, images: tuple[ImageRecord, ...]) -> tuple[str, ...]:
    """Paths as a PACS writes them on export: by numbers without suffix, or by date with one."""
    if number % 3:
        folder = f"DICOM/PA{number:06d}/ST{place:06d}"
        return tuple(f"{folder}/SE{image.number:06d}/IM000001" for image in images)
    times = [image.study_time.strftime("%Y-%m-%d") for image in images if image.study_time]
    return tuple(
        f"EXPORT/{number:04d}/{day}/{image.instance_uid}.dcm" for day, image in zip(times, images, strict=True)
    )


def _label(studies: list[_Study]) -> list[LabelledPair]:
    """For each frontal image, the pair with the most recent earlier frontal of its view, or else of the other view."""
    pairs = []
    for place, study in enumerate(studies):
        at = study.frontal
        if at is None:
            continue
        earlier = [(one, one.frontal) for one in reversed(studies[:place])]
        priors = [(one, position) for one, position in earlier if position is not None]
        same = [(one, position) for one, position in priors if one.images[position].view == study.images[at].view]
        for prior, position in (same or priors)[:1]:
            pairs.append(
                LabelledPair(
                    domain=Domain.RADIOLOGY,
                    prior_id=prior.images[position].instance_uid,
                    current_id=study.images[at].instance_uid,
                    prior_name=prior.names[position],
                    current_name=study.names[at],
                    findings=findings_between(prior.lesions, study.lesions),
                )
            )
    return pairs


def _write_awkward(
    root: Path, rng: np.random.Generator, patient: PatientRecord, studies: list[_Study]
) -> list[tuple[str, str]]:
    """Files of every archive that are no usable images: name and expected reason code of each."""
    last = studies[-1].images[0]
    anatomy = draw_subject(rng)

    def later(days: int) -> ImageRecord:
        when = (last.time or datetime(2022, 1, 1)) + timedelta(days=days)
        uid = derive_uid(last.study_uid, "awkward", days)
        return replace(last, study_uid=uid, number=1, view="PA", time=when, study_time=when, spacing=_FIELD / 320,
                       syntax=UID(ExplicitVRLittleEndian))  # fmt: skip

    picture = render(anatomy, (), rng, size=320).values
    whole = image_object(patient, later(40), picture)
    undated = replace(later(80), time=None, study_time=None)
    nameless = replace(patient, identifier="", issuer="")
    original = studies[0].names[0]
    files = (
        ("DICOM/PA900001/ST000000/SE000001/IM000001", "TRUNCATED", whole[: len(whole) * 3 // 5]),
        ("DICOM/PA900002/ST000000/SE000001/IM000001", "DATE_UNKNOWN", image_object(patient, undated, picture)),
        ("DICOM/PA900003/ST000000/SE000001/IM000001", "NO_IDENTITY", image_object(nameless, later(120), picture)),
        ("DICOM/PA900004/ST000000/SE000001/IM000001", "NO_PIXELS", text_object(patient, later(160), "No change.")),
        ("EXPORT/notes.dcm", "NOT_DICOM", b"Disc written by the archive. Call the help desk if it cannot be read.\n"),
        # Sorts behind every original, so that the copy is the duplicate.
        (f"ZZ_COPY/{Path(original).name}", "DUPLICATE", (root / original).read_bytes()),
    )
    for name, _, content in files:
        _write(root / name, content)
    return [(name, code) for name, code, _ in files]
