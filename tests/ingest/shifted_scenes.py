"""Pairs of windows of real scenes that are displaced by a known fraction of a pixel, with clouds and noise."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

#: Fields in summer, a valley in winter, a town, a region in pixels of 300 m; and the side of the window that is cut
#: from each, in pixels of the file.
SCENES: Final = (
    ("s2_t33uuu/ref_S2A_20160608T153121_T33UUU_sub.jp2", 576),
    ("s2_t33uuu/T33UUU_20170216T102101_B04.jp2", 576),
    ("duplicate_control/rgbn_20160101.tif", 402),
    ("landsat_montreal/mosaic_cog2.tif", 320),
)

#: Pixels of the file along the side of one of the pair's: both dates are aliased as by a sensor, each in its own way.
_REDUCED = 2

#: Pixels of the pair that are cut off around it: there the content fades out, so that it may go round.
_EDGE = 16


@dataclass(frozen=True, kw_only=True)
class Case:
    """One pair.

    Attributes:
        prior: (H, W) values.
        current: (H, W) values in other light.
        clear: For each date (H, W) False under its clouds, a tenth of it.
        shift: Rows and columns by which the current's content lies further down and to the right.
        scene: File that it was cut from.
    """

    prior: NDArray[np.float32]
    current: NDArray[np.float32]
    clear: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    shift: tuple[float, float]
    scene: str


def make_case(root: Path, seed: int, *, noise: float = 0.1) -> Case:
    """A displacement of 0.1 to 5 pixels along each axis, in either direction, exact by the shift theorem.

    Args:
        root: Folder of the satellite test data.
        seed: Everything follows from it.
        noise: Standard deviation of each date's noise, as a share of that of its values.
    """
    rng = np.random.default_rng(seed)
    name, side = SCENES[seed % len(SCENES)]
    band = _band(root / name)
    fine = np.zeros((1, 1))
    while (fine == 0).mean() > 0.001:
        top, left = (int(rng.integers(0, length - side + 1)) for length in band.shape)
        fine = band[top : top + side, left : left + side]
    rows, columns = (float(step) for step in rng.uniform(0.1, 5, 2) * rng.choice([-1, 1], 2))
    ramp = np.clip((np.arange(side) + 0.5) / (_EDGE * _REDUCED / 2), 0, 1)
    ramp = np.sin(np.pi / 2 * np.minimum(ramp, ramp[::-1])) ** 2
    fine = (fine - fine.mean()) * ramp[:, None] * ramp + fine.mean()
    dates = [_reduced(fine), _reduced(_moved(fine, rows * _REDUCED, columns * _REDUCED))]
    # other light, another sun
    dates[1] = dates[1] * rng.uniform(0.7, 1.4) + rng.uniform(-0.5, 0.5) * dates[1].std()
    clear = []
    for date in dates:
        spread = date.std()
        date += rng.normal(0, noise * spread, date.shape)
        haze = gaussian_filter(rng.standard_normal(date.shape), date.shape[0] / 20, mode="wrap")
        edge = np.quantile(haze, 0.9)
        date += 4 * spread * np.sqrt(np.clip((haze - edge) / (haze.max() - edge), 0, 1))
        clear.append(haze <= edge)
    return Case(
        prior=dates[0].astype(np.float32),
        current=dates[1].astype(np.float32),
        clear=(clear[0], clear[1]),
        shift=(rows, columns),
        scene=name,
    )


@cache
def _band(path: Path) -> NDArray[np.float64]:
    with rasterio.open(path) as src:
        return np.asarray(src.read(1), dtype=np.float64)


def _moved(values: NDArray[np.float64], rows: float, columns: float) -> NDArray[np.float64]:
    """The content moved down and to the right; what leaves at one edge comes back at the other."""
    down, right = (fft.fftfreq(length) for length in values.shape)
    turned = fft.fft2(values) * np.exp(-2j * np.pi * (down[:, None] * rows + right * columns))
    return np.asarray(fft.ifft2(turned).real)


def _reduced(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of blocks, without the edge."""
    side = values.shape[0] // _REDUCED
    means = values.reshape(side, _REDUCED, side, _REDUCED).mean(axis=(1, 3))
    return np.asarray(means[_EDGE:-_EDGE, _EDGE:-_EDGE])
