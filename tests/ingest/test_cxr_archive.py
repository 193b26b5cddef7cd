"""Real chest radiographs, wrapped as DICOM studies, must give exactly the pairs that their dates and views imply."""

import csv
import random
import re
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest.align import align_pair
from ingest.index import ArchiveIndex, index_archive
from ingest.pair import pair_acquisitions
from ingest.pairing import Pairing
from ingest.rules import load_rules
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

#: Any day will do: the collection has offsets only.
BASE = date(2020, 3, 1)
VIEWS = {"PA": "PA", "AP": "AP", "AP Supine": "AP", "L": "LATERAL"}


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict[str, str]]:
    """Rows of metadata.csv."""
    with (shared_data / "cxr" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def index(shared_data: Path, rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> ArchiveIndex:
    """Index of an archive with one CR study for each image, in folders that say nothing of time or view."""
    root = tmp_path_factory.mktemp("cxr")
    for number, row in enumerate(rows):
        with Image.open(shared_data / "cxr" / "images" / row["filename"]) as image:
            # A fourth of the resolution keeps the test quick; pairing does not look at it.
            small = image.convert("L").reduce(4)
        offset = row["offset_days"]
        when = (BASE + timedelta(days=int(float(offset)))).strftime("%Y%m%d") if offset else ""
        dataset = a_radiograph(
            np.asarray(small),
            PatientID=row["patientid"],
            PatientSex=row["sex"],
            PatientBirthDate="",
            StudyDate=when,
            StudyTime="",
            ViewPosition=VIEWS[row["view"]],
            StudyID=str(number),
            SOPInstanceUID=f"1.2.826.0.1.{number}",
            StudyInstanceUID=f"1.2.826.0.2.{number}",
        )
        write_radiograph(root / f"{(number * 37) % len(rows):03d}" / "IMG", dataset)
    return index_archive(root, workers=2)


@pytest.fixture(scope="module")
def pairing(index: ArchiveIndex) -> Pairing:
    return pair_acquisitions(index.acquisitions)


def implied(rows: list[dict[str, str]], *, same_view: bool = False) -> tuple[dict[int, set[int]], dict[int, str]]:
    """By the metadata alone: the allowed priors of each current (several if tied), and codes of the others.

    With `same_view` a prior of another view is none.

    Only offsets and views are looked at; no function of the product takes part.
    """
    patients = defaultdict(list)
    for number, row in enumerate(rows):
        patients[row["patientid"]].append((number, row["offset_days"], VIEWS[row["view"]]))
    priors: dict[int, set[int]] = {}
    codes: dict[int, str] = {}
    for images in patients.values():
        for number, offset, view in images:
            assert view in ("PA", "AP"), "the collection holds frontal images only"
            if not offset:
                codes[number] = "DATE_UNKNOWN"
                continue
            earlier = [(float(o), n, v) for n, o, v in images if o and float(o) < float(offset)]
            alike = [one for one in earlier if one[2] == view] or ([] if same_view else earlier)
            comparable = [one for one in images if one[2] == view or not same_view]
            if alike:
                latest = max(one[0] for one in alike)
                priors[number] = {n for o, n, _ in alike if o == latest}
            elif any(n != number and (not o or float(o) == float(offset)) for n, o, _ in comparable):
                # Something undated, or of the same day, may have come before.
                codes[number] = "DATE_UNKNOWN"
            elif earlier:
                codes[number] = "NO_COMPARABLE_VIEW"
            else:
                codes[number] = "NO_PRIOR"
    return priors, codes


def number_of(uid: str) -> int:
    """Row of metadata.csv that became the image."""
    return int(uid.rsplit(".", 1)[1])


def test_every_image_is_indexed(index: ArchiveIndex, rows: list[dict[str, str]]) -> None:
    assert len(index.acquisitions) == index.files_seen == len(rows)


def test_the_pairs_are_those_that_dates_and_views_imply(pairing: Pairing, rows: list[dict[str, str]]) -> None:
    priors, codes = implied(rows)

    found = {number_of(pair.current.id): number_of(pair.prior.id) for pair in pairing.pairs}

    assert set(found) == set(priors)
    assert all(found[current] in allowed for current, allowed in priors.items())
    assert {number_of(refusal.item): refusal.code for refusal in pairing.unpaired} == codes
    assert not pairing.unused
    # Known from the collection: 91 images of 33 patients, one undated, two of one day.
    assert (len(found), len(codes)) == (57, 34)


def test_the_second_built_in_rules_pair_equal_views_only(index: ArchiveIndex, rows: list[dict[str, str]]) -> None:
    priors, codes = implied(rows, same_view=True)

    pairing = pair_acquisitions(index.acquisitions, load_rules("same-view"))

    found = {number_of(pair.current.id): number_of(pair.prior.id) for pair in pairing.pairs}
    assert set(found) == set(priors)
    assert all(found[current] in allowed for current, allowed in priors.items())
    assert {number_of(refusal.item): refusal.code for refusal in pairing.unpaired} == codes
    assert "NO_COMPARABLE_VIEW" in codes.values()
    assert len(found) < 57


@pytest.mark.parametrize("rules", ["default", "same-view"])
def test_the_order_of_the_input_changes_nothing(index: ArchiveIndex, rules: str) -> None:
    shuffled = list(index.acquisitions)
    random.Random(5).shuffle(shuffled)

    assert pair_acquisitions(shuffled, load_rules(rules)) == pair_acquisitions(index.acquisitions, load_rules(rules))


def test_a_choice_between_tied_priors_is_declared_and_only_that(pairing: Pairing, rows: list[dict[str, str]]) -> None:
    priors, _ = implied(rows)
    tied = {current for current, allowed in priors.items() if len(allowed) > 1}

    declared = {
        number_of(pair.current.id)
        for pair in pairing.pairs
        if any("equally recent" in warning for warning in pair.warnings)
    }

    assert declared == tied
    assert {rows[number]["patientid"] for number in tied} == {"142"}


def test_the_undated_prior_of_patient_173_is_refused_by_date(pairing: Pairing, rows: list[dict[str, str]]) -> None:
    undated = next(number for number, row in enumerate(rows) if row["filename"] == "covid-19-pneumonia-58-prior.png")

    (refusal,) = [one for one in pairing.unpaired if number_of(one.item) == undated]

    assert refusal.code == "DATE_UNKNOWN"


def test_ap_beside_pa_is_warned_of_and_nothing_else_is(pairing: Pairing) -> None:
    for pair in pairing.pairs:
        mixed = pair.prior.view != pair.current.view
        assert any("heart" in warning for warning in pair.warnings) == mixed


def test_every_pair_can_be_aligned_and_no_prior_is_stretched(pairing: Pairing) -> None:
    for pair in pairing.pairs:
        aligned = align_pair(pair)
        recorded = re.findall(r"-?\d+\.\d+", aligned.prior.steps[-1].split("= [")[1])
        matrix = np.array([float(one) for one in recorded[:4]]).reshape(2, 2)
        # A turn times one scale: columns of one length, perpendicular.
        assert matrix.T @ matrix == pytest.approx(np.eye(2) * aligned.quality["scale"] ** 2, abs=1e-4)
        assert 0.0 <= aligned.quality["overlap_share"] <= 1.0
        assert aligned.quality["best_correlation"] >= aligned.quality["correlation"] - 1e-6
