"""A scene larger than a chip gets one report, in which everything stands once and at its place on the map."""

from collections.abc import Sequence

import numpy as np
import pytest

from ingest.chips import chip_starts
from ingest.grid import Grid
from ingest.pixels import AlignedPair, Pixels
from reports.change import Change
from reports.compose import compose
from reports.finding import Finding
from reports.vocabulary import Domain
from training.predict import Predictor
from training.prediction import Prediction, report_by_chips

PLACES = (("north-west", "north-east"), ("south-west", "south-east"))


def scene(shape: tuple[int, int], *blobs: tuple[int, int], valid: np.ndarray | None = None) -> AlignedPair:
    """Dark ground; at each (row, column) a bright square of 20 pixels that only the current has."""
    grid = Grid(affine=(10.0, 0.0, 0.0, 0.0, -10.0, 0.0), height=shape[0], width=shape[1], frame="test")
    prior, current = np.zeros((3, *shape), np.float32), np.zeros((3, *shape), np.float32)
    for row, column in blobs:
        current[:, row : row + 20, column : column + 20] = 1
    is_valid = np.ones(shape, bool) if valid is None else valid
    return AlignedPair(
        prior=Pixels(values=prior, valid=is_valid, grid=grid),
        current=Pixels(values=current, valid=is_valid, grid=grid),
        quality={},
    )


def blob_report(pairs: Sequence[AlignedPair]) -> list[Prediction]:
    """Names a new building in each quarter of a chip that became bright: a model that cannot err."""
    said = []
    for pair in pairs:
        difference = (pair.current.values - pair.prior.values)[0]
        quarters = [np.array_split(half, 2, axis=1) for half in np.array_split(difference, 2, axis=0)]
        findings = tuple(
            Finding(domain=Domain.SATELLITE, finding="building", place=PLACES[down][right], change=Change.NEW)
            for down in (0, 1)
            for right in (0, 1)
            if quarters[down][right].any()
        )
        text = compose(Domain.SATELLITE, findings)
        evidence = np.array([[part.mean() for part in half] for half in quarters], dtype=np.float32)
        said.append(Prediction(text=text, findings=findings, evidence=evidence, raw_output=text, unparsed=()))
    return said


@pytest.mark.parametrize(
    ("blob", "place"), [((40, 40), "north-west"), ((40, 560), "north-east"), ((380, 40), "south-west")]
)
def test_a_thing_is_placed_on_the_map_whatever_its_place_in_a_chip(blob: tuple[int, int], place: str) -> None:
    report = report_by_chips(scene((420, 620), blob), Domain.SATELLITE, chip_size=150, report=blob_report)

    assert [finding.place for finding in report.findings] == [place]
    assert report.text == compose(Domain.SATELLITE, report.findings)


def test_a_thing_on_a_seam_is_one_thing() -> None:
    starts = chip_starts(620, size=150)
    seam = starts[1]
    assert seam < starts[0] + 150  # two chips show it

    report = report_by_chips(scene((150, 620), (20, seam - 5)), Domain.SATELLITE, chip_size=150, report=blob_report)

    assert len(report.findings) == 1
    assert report.raw_output.count("building") >= 2


def test_evidence_lies_where_the_change_is() -> None:
    report = report_by_chips(scene((420, 620), (300, 500)), Domain.SATELLITE, chip_size=150, report=blob_report)

    rows, columns = np.nonzero(report.evidence)
    cell = 620 / report.evidence.shape[1]
    assert rows.min() * cell > 300 - 75
    assert rows.max() * cell < 320 + 75
    assert columns.min() * cell > 500 - 75
    assert columns.max() * cell < 520 + 75


def test_what_was_not_compared_is_counted() -> None:
    valid = np.ones((300, 600), bool)
    valid[:, 300:] = False
    report = report_by_chips(
        scene((300, 600), (40, 40), valid=valid), Domain.SATELLITE, chip_size=100, report=blob_report
    )

    assert report.quality["chips"] == len(chip_starts(300, size=100)) * len(chip_starts(600, size=100))
    assert report.quality["chips_unclear"] >= 12
    assert report.quality["compared_share"] == pytest.approx(0.5, abs=0.01)


def test_a_scene_without_any_clear_chip_says_that_nothing_was_found_and_that_nothing_was_compared() -> None:
    report = report_by_chips(
        scene((300, 300), valid=np.zeros((300, 300), bool)), Domain.SATELLITE, chip_size=100, report=blob_report
    )

    assert report.findings == ()
    assert report.quality["compared_share"] == 0


def test_the_embedded_model_cuts_a_large_scene_into_chips_and_a_small_one_not() -> None:
    predictor = Predictor.load()

    small = predictor.report(scene((300, 320)), Domain.SATELLITE)
    large = predictor.report(scene((300, 321), (100, 150)), Domain.SATELLITE)

    assert small.quality == {}
    assert small.evidence.shape == (8, 8)
    assert large.quality["chips"] == 2
    assert large.evidence.shape == (120, 128)
    assert large.evidence.max() > 0
