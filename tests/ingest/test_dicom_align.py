from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.align import align_pair
from ingest.dicom.align import align_batch, measure_fit
from ingest.dicom.body import body_weight
from ingest.dicom.errors import AlignmentFailed, FileChanged, PriorUnreadable, Undecodable
from ingest.dicom.place import place
from ingest.grid import Grid
from ingest.index import UnknownDomain, index_archive
from ingest.pair import pair_acquisitions
from ingest.pairing import Pair
from ingest.pixels import AlignedPair, Pixels
from tests.ingest.radiograph_files import a_radiograph, write_radiograph


def a_body(
    height: int, width: int, *, rows: float = 0.5, columns: float = 0.5, size: float = 0.2
) -> NDArray[np.uint16]:
    """A picture with a bright ellipse and a small one beside it, on a sloping ground; nothing about it is symmetric."""
    down, right = np.mgrid[0:height, 0:width]
    down, right = (down + 0.5) / height, (right + 0.5) / width
    large = ((down - rows) / 0.3) ** 2 + ((right - 0.5) / 0.2) ** 2 < 1
    small = (down - rows + 0.25) ** 2 + (right - 0.7) ** 2 < 0.07**2
    return (200 * down + 100 * right + 2000 * large + 1000 * small).astype(np.uint16)


def a_pair(folder: Path, prior: NDArray[Any], current: NDArray[Any], **tags: Any) -> Pair:
    """Two studies of one patient, indexed and paired; `prior_` and `current_` tags go to one of them."""
    for number, (role, picture) in enumerate((("prior", prior), ("current", current)), start=1):
        own = {name.removeprefix(f"{role}_"): value for name, value in tags.items() if name.startswith(f"{role}_")}
        dataset = a_radiograph(picture, StudyDate=f"2020010{number}", **own)
        write_radiograph(folder / f"{role}.dcm", dataset)
    (pair,) = pair_acquisitions(index_archive(folder, workers=0).acquisitions).pairs
    return pair


def spacing(prior: float, current: float) -> dict[str, Any]:
    """Tags of the detector's spacing in mm."""
    return {"prior_ImagerPixelSpacing": [prior, prior], "current_ImagerPixelSpacing": [current, current]}


def test_the_current_is_never_resampled_and_the_prior_lies_on_its_grid(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, a_body(60, 50), a_body(80, 70), **spacing(0.4, 0.3))

    aligned = align_pair(pair)

    from ingest.dicom.pixels import read_radiograph

    assert np.array_equal(aligned.current.values, read_radiograph(pair.current).values)
    assert aligned.prior.grid == aligned.current.grid == pair.current.grid


def test_equal_grids_leave_the_prior_as_it_is(tmp_path: Path) -> None:
    picture = a_body(60, 50)
    changed = picture.copy()
    changed[0, 0] += 1
    aligned = align_pair(a_pair(tmp_path, picture, changed, **spacing(0.4, 0.4)))

    assert np.abs(aligned.prior.values - aligned.current.values).max() < 0.01
    assert aligned.quality["correlation"] > 0.999
    assert aligned.quality["residual_px"] == 0.0
    assert not aligned.warnings


def test_millimetres_are_kept_where_both_have_them(tmp_path: Path) -> None:
    # The same field of view at half the resolution: every place must come back to itself.
    aligned = align_pair(a_pair(tmp_path, a_body(64, 64), a_body(128, 128), **spacing(0.8, 0.4)))

    assert aligned.quality["scale"] == pytest.approx(0.5)
    assert np.abs(aligned.prior.values - aligned.current.values).mean() < 0.01
    assert aligned.prior.valid.mean() > 0.98


def test_a_smaller_field_of_view_leaves_the_rest_invalid(tmp_path: Path) -> None:
    aligned = align_pair(a_pair(tmp_path, a_body(64, 64), a_body(128, 128), **spacing(0.4, 0.4)))

    assert aligned.prior.valid.mean() == pytest.approx(0.25, abs=0.01)
    assert not aligned.prior.valid[:31].any()
    assert not aligned.prior.values[0][~aligned.prior.valid].any()
    assert any("covers 25%" in warning for warning in aligned.warnings)


def test_without_a_shared_spacing_the_frame_is_fitted_and_never_stretched(tmp_path: Path) -> None:
    # A tall prior in a square current: the ellipse of the prior must keep its proportions.
    tall = a_body(200, 100)
    aligned = align_pair(a_pair(tmp_path, tall, a_body(100, 100)))

    assert aligned.quality["scale"] == pytest.approx(2.0)
    columns = np.flatnonzero(aligned.prior.valid.any(axis=0))
    assert (columns.min(), columns.max()) == (25, 74)
    assert any("no known scale" in warning for warning in aligned.warnings)
    bright = aligned.prior.values[0] > 0.7
    tall_bright = tall > 1500
    assert extent(bright) == pytest.approx(extent(tall_bright), rel=0.05)


def extent(mask: NDArray[np.bool_]) -> float:
    """Height of what is True, over its width."""
    return float(np.ptp(np.flatnonzero(mask.any(axis=1))) / np.ptp(np.flatnonzero(mask.any(axis=0))))


def test_spacings_of_different_kinds_are_not_compared(tmp_path: Path) -> None:
    tags = {"prior_PixelSpacing": [0.2, 0.2], "current_ImagerPixelSpacing": [0.4, 0.4]}
    aligned = align_pair(a_pair(tmp_path, a_body(64, 64), a_body(64, 64) + np.uint16(1), **tags))

    assert aligned.quality["scale"] == pytest.approx(1.0)
    assert any("no known scale" in warning for warning in aligned.warnings)


def test_a_shift_is_undone_and_recorded(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, a_body(128, 128, rows=0.385), a_body(128, 128, rows=0.5), **spacing(0.4, 0.4))

    aligned = align_pair(pair)

    assert aligned.quality["alignment_failed"] == 0.0
    assert aligned.quality["fitted_shift"] == pytest.approx(0.115, abs=0.002)
    assert aligned.quality["fitted_scale"] == 1.0
    assert aligned.quality["residual_px"] == 0.0
    assert aligned.quality["local_correlation_after"] > aligned.quality["local_correlation_before"]
    assert "rigid fit" in aligned.prior.steps[-1]


def test_a_known_scale_is_kept_however_the_size_has_changed(tmp_path: Path) -> None:
    # The same body, one tenth smaller on the current: with known spacing that is a change, and must stay visible.
    large = a_body(200, 200)
    small = np.pad(large, 10, mode="edge")
    pair = a_pair(tmp_path, large, small, prior_ImagerPixelSpacing=[0.44, 0.44], current_ImagerPixelSpacing=[0.4, 0.4])

    aligned = align_pair(pair)

    assert aligned.quality["fitted_scale"] == 1.0
    assert aligned.quality["scale"] == pytest.approx(0.4 / 0.44, rel=1e-6)


def test_a_fit_that_cannot_be_believed_is_said_and_not_used(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 2000, (128, 128)).astype(np.uint16)

    aligned = align_pair(a_pair(tmp_path, noise, a_body(128, 128), **spacing(0.4, 0.4)))

    assert any("hardly look alike" in warning for warning in aligned.warnings)
    assert any(warning.startswith("ALIGNMENT_FAILED: ") for warning in aligned.warnings)
    assert aligned.quality["alignment_failed"] == 1.0
    # Side by side as the headers place them: here, untouched.
    assert aligned.quality["scale"] == 1.0
    assert aligned.prior.valid.all()


def test_a_uniform_image_cannot_be_aligned_and_is_said(tmp_path: Path) -> None:
    flat = np.full((128, 128), 900, dtype=np.uint16)
    tags = {"prior_WindowCenter": 1000, "prior_WindowWidth": 2000, **spacing(0.4, 0.4)}

    aligned = align_pair(a_pair(tmp_path, flat, a_body(128, 128), **tags))

    assert aligned.quality["alignment_failed"] == 1.0
    assert any(warning.startswith("ALIGNMENT_FAILED: ") for warning in aligned.warnings)


def test_a_batch_gives_the_error_of_one_and_the_alignment_of_the_others(tmp_path: Path) -> None:
    scaled = a_pair(tmp_path / "scaled", a_body(128, 128), a_body(120, 120))
    rigid = a_pair(tmp_path / "rigid", a_body(128, 128, rows=0.45), a_body(128, 128), **spacing(0.4, 0.4))
    lost = a_pair(tmp_path / "lost", a_body(64, 64), a_body(64, 60))
    lost.prior.path.unlink()

    first, second, third = align_batch([scaled, lost, rigid])

    assert isinstance(first, AlignedPair) and "similarity fit" in first.prior.steps[-1]
    assert isinstance(second, PriorUnreadable)
    assert isinstance(third, AlignedPair) and third.quality["fitted_shift"] == pytest.approx(0.05, abs=0.002)


def test_a_device_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    pair = a_pair(tmp_path, a_body(64, 64), a_body(64, 60))

    with pytest.raises((RuntimeError, AssertionError)):
        align_batch([pair], device="cuda")


def test_frames_that_hardly_overlap_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AlignmentFailed):
        align_pair(a_pair(tmp_path, a_body(64, 64), a_body(128, 128), **spacing(0.05, 0.4)))


def test_padding_of_the_prior_stays_invalid(tmp_path: Path) -> None:
    padded = a_body(64, 64) + np.uint16(1)
    padded[:, :16] = 0
    tags = {"prior_PixelPaddingValue": 0, **spacing(0.4, 0.2)}
    aligned = align_pair(a_pair(tmp_path, padded, a_body(128, 128), **tags))

    assert not aligned.prior.valid[:, :31].any()
    assert aligned.prior.valid[:, 33:].mean() > 0.97
    # No grey of the padding has leaked into its neighbours.
    edge, inside = aligned.prior.values[0][:, 33], aligned.prior.values[0][:, 36]
    assert np.abs(edge - inside).max() < 0.05


def test_a_lost_or_changed_prior_is_said(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, a_body(64, 64), a_body(64, 60))

    with pytest.raises(PriorUnreadable):
        align_pair(replace(pair, prior=replace(pair.prior, sha256="0" * 64)))
    pair.prior.path.unlink()
    with pytest.raises(PriorUnreadable):
        align_pair(pair)


def test_a_lost_or_changed_current_is_said(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, a_body(64, 64), a_body(64, 60))

    with pytest.raises(FileChanged):
        align_pair(replace(pair, current=replace(pair.current, sha256="0" * 64)))
    pair.current.path.unlink()
    with pytest.raises(Undecodable):
        align_pair(pair)


def test_a_pair_of_no_known_domain_is_an_error(tmp_path: Path) -> None:
    pair = a_pair(tmp_path, a_body(64, 64), a_body(64, 60))

    with pytest.raises(UnknownDomain):
        align_pair(replace(pair, current=replace(pair.current, domain="dentistry")))


def test_black_borders_count_nothing_and_the_body_does() -> None:
    values = np.zeros((100, 100), dtype=np.float32)
    values[20:80, 30:70] = 0.5
    # A black lung inside the body does not hang together with the border.
    values[40:50, 45:55] = 0.0

    weight = body_weight(values, np.ones((100, 100), dtype=np.bool_))

    assert not weight[values == 0][: 20 * 100].any()
    assert weight[40:50, 45:55].min() == 1.0
    assert weight[20, 50] < 0.5 < weight[25, 50]


def pixels(values: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> Pixels:
    """An image on a grid of its own."""
    height, width = values.shape
    grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=height, width=width, frame="detector:1")
    mask = np.ones((height, width), dtype=np.bool_) if valid is None else valid
    return Pixels(values=values[np.newaxis], valid=mask, grid=grid)


@settings(max_examples=30)
@given(st.integers(4, 40), st.integers(4, 40), st.floats(0.3, 4.0), st.floats(0.0, 1.0))
def test_a_uniform_image_stays_uniform_wherever_it_is_valid(height: int, width: int, scale: float, grey: float) -> None:
    image = pixels(np.full((height, width), grey, dtype=np.float32))
    grid = Grid(affine=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), height=20, width=30, frame="detector:2")

    placed = place(image, grid, matrix=scale * np.eye(2), offset=(-2.0, 1.0))

    assert placed.values[0][placed.valid] == pytest.approx(grey, abs=1e-4)
    assert not placed.values[0][~placed.valid].any()


def test_a_shift_by_whole_pixels_moves_the_values_unchanged() -> None:
    values = np.random.default_rng(5).random((12, 15), dtype=np.float32)
    image = pixels(values)

    placed = place(image, image.grid, matrix=np.eye(2), offset=(3.0, -2.0))

    assert placed.values[0, :9, 2:] == pytest.approx(values[3:, :13], abs=1e-6)
    assert placed.valid[:9, 2:].all()
    assert placed.valid.sum() == 9 * 13


def test_a_uniform_image_has_no_measured_fit() -> None:
    flat = np.full((64, 64), 0.5, dtype=np.float32)

    assert measure_fit(flat, flat, np.ones((64, 64), dtype=np.bool_)) == {}
