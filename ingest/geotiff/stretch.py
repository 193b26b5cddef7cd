"""How do stored values of two dates become display values that can be compared?"""

import numpy as np
from numpy.typing import NDArray

#: Percentiles of the values of both dates that become black and white.
LOW, HIGH = 2.0, 98.0

#: Most pixels that take part in the percentiles, evenly spread.
SAMPLE = 1_000_000

#: Values that are worked on at a time, few enough to stay in a processor's cache from one operation to the next.
_CACHED = 2**16


def common_stretch(
    prior: NDArray[np.float32], current: NDArray[np.float32], *, is_8_bit: bool
) -> tuple[float, float, str]:
    """Values that become 0 and 1 in both dates, and the step for provenance.

    One range for both dates and for all bands: a range for each date would turn the stretch into change, and one for
    each band would turn a green field grey. 8-bit scenes are pictures already and keep 0 to 255.

    Args:
        prior: (C, N) values of the pixels that are valid in both dates.
        current: The same of the current.
        is_8_bit: True if both are stored with 8 bits.
    """
    if is_8_bit:
        return 0.0, 255.0, "display: 8-bit values / 255"
    stride = max(1, prior.shape[1] // SAMPLE)
    values = np.concatenate([prior[:, ::stride].ravel(), current[:, ::stride].ravel()])
    low, high = (float(value) for value in np.percentile(values, [LOW, HIGH]))
    if high <= low:
        high = low + 1.0
    return low, high, f"display: percentiles {LOW:g} to {HIGH:g} of both dates, {low:.6g} to {high:.6g}"


def display(
    values: NDArray[np.float32],
    low: float | NDArray[np.float32],
    high: float | NDArray[np.float32],
    *,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """(3, H, W) float32 in [0, 1], 0 where invalid; a single band is shown in all three.

    Args:
        values: (C, H, W), NaN where invalid.
        low: Value that becomes 0, one for all bands or (C, 1, 1).
        high: Value that becomes 1.
        out: (3, H, W) where to put it; made if there is none.
    """
    black, white = (np.asarray(level, dtype=np.float32) for level in (low, high))
    shown = np.empty((3, *values.shape[1:]), np.float32) if out is None else out
    scale = np.float32(1) / (white - black)
    n_bands, height, width = values.shape
    step = max(1, _CACHED // (n_bands * max(1, width)))
    for top in range(0, height, step):
        part = values[:, top : top + step] - black
        part *= scale
        np.clip(part, np.float32(0), np.float32(1), out=part)
        is_hole = np.isnan(part)
        if is_hole.any():
            part[is_hole] = 0
        shown[:, top : top + step] = part if n_bands == 3 else np.broadcast_to(part, (3, *part.shape[1:]))
    return shown
