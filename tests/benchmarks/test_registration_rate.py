"""How exact is the displacement of real scenes, and how long does it take, beside scikit-image and AROSICS?

AROSICS runs in an interpreter of its own, which AROSICS_PYTHON names; without it its rows are left out.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ingest.shifted_scenes import Case, make_case
from tests.ingest.test_geotiff_shift import masked, measured

pytestmark = pytest.mark.benchmark

CASES = 100


def one_window(case: Case) -> tuple[float, float]:
    """Phase correlation of scikit-image on the largest window, clouds at the mean, to a hundredth of a pixel."""
    from skimage.registration import phase_cross_correlation

    taper = np.hanning(case.prior.shape[0])[:, None] * np.hanning(case.prior.shape[1])
    dates = []
    for values in masked(case):
        mean = np.nanmean(values)
        dates.append(np.where(np.isfinite(values), values - mean, 0) * taper)
    shift, _, _ = phase_cross_correlation(dates[1], dates[0], upsample_factor=100)
    return float(shift[0]), float(shift[1])


def by_arosics(python: str, cases: list[Case], folder: Path) -> dict[str, list[list[Any]]]:
    stored = {}
    for number, case in enumerate(cases):
        stored |= {f"{number}_prior": case.prior, f"{number}_current": case.current}
        stored |= {f"{number}_clear_prior": case.clear[0], f"{number}_clear_current": case.clear[1]}
    np.savez(folder / "cases.npz", **stored)
    worker = Path(__file__).parent / "arosics_worker.py"
    command = [python, "-W", "ignore", worker, folder / "cases.npz", folder / "found.json"]
    subprocess.run(command, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    return dict(json.loads((folder / "found.json").read_text()))


def test_exactness_and_time_of_registration(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [make_case(shared_data / "satellite", seed) for seed in range(CASES)]
    measured(*masked(cases[0]))  # imports
    one_window(cases[0])
    rows: dict[str, list[list[Any]]] = {}
    for case in cases:
        for name in ("Interval", "scikit-image, one window"):
            started = time.perf_counter()
            if name == "Interval":
                found = measured(*masked(case))
                shift = found.rows, found.columns
            else:
                shift = one_window(case)
            rows.setdefault(name, []).append([*shift, time.perf_counter() - started])
    if python := os.environ.get("AROSICS_PYTHON"):
        rows |= {f"AROSICS, {name}": found for name, found in by_arosics(python, cases, tmp_path).items()}

    with capsys.disabled():
        print(f"\n{CASES} pairs of real scenes, 0.1 to 5 px along each axis, a tenth under known clouds, noise of 10 %")
        for name, found in rows.items():
            errors = np.asarray(
                [
                    np.inf if row is None else max(abs(row - case.shift[0]), abs(column - case.shift[1]))
                    for (row, column, _), case in zip(found, cases, strict=True)
                ]
            )
            seconds = np.mean([took for _, _, took in found])
            print(
                f"{name}: within 0.1 px {np.count_nonzero(errors <= 0.1)} of {CASES}, median error "
                f"{np.median(errors):.3f} px, 95th percentile {np.quantile(errors, 0.95, method='higher'):.3f} px, "
                f"{seconds:.3f} s a pair, {seconds / np.mean([took for _, _, took in rows['Interval']]):.1f} of ours"
            )
