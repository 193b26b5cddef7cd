"""How much vegetation, water and built-up surface came and went, by the spectral bands?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.geotiff.radiometry import radiometry_of
from ingest.geotiff.scene import display_indexes
from ingest.pairing import Pair

#: By how much an index must change for a pixel to count: what noise and season's light move it by is less.
LEAST_CHANGE: Final = 0.1

#: The thresholds are moved by this much both ways to say how certain an area is.
MARGIN: Final = 0.05

#: Rows that are measured at a time, few enough to stay in a processor's cache from one operation to the next.
_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class SpectralIndex:
    """A normalised difference of two bands, (high - low) / (high + low).

    Attributes:
        surface: What it shows.
        name: Its usual name.
        high: Common name of the band that this surface reflects more.
        low: Common name of the band that it reflects less.
        threshold: From which value on a pixel counts as this surface.
    """

    surface: str
    name: str
    high: str
    low: str
    threshold: float


#: Sources: NDVI, Rouse et al. 1974, with the usual limit of closed vegetation; NDWI, McFeeters 1996, doi
#: 10.1080/01431169608948714, water above 0; NDBI, Zha et al. 2003, doi 10.1080/01431160304987, built-up above 0, and
#: with it bare ground, which this index does not tell from it.
INDICES: Final = (
    SpectralIndex(surface="vegetation", name="NDVI", high="nir", low="red", threshold=0.4),
    SpectralIndex(surface="water", name="NDWI", high="green", low="nir", threshold=0.0),
    SpectralIndex(surface="built_up_or_bare", name="NDBI", high="swir16", low="nir", threshold=0.0),
)

#: Bands that any of the indices needs.
NEEDED: Final = ("green", "red", "nir", "swir16")


def normalized_difference(high: NDArray[np.float32], low: NDArray[np.float32]) -> NDArray[np.float32]:
    """(high - low) / (high + low); NaN where a band has no value or the sum is not positive."""
    total = high + low
    with np.errstate(divide="ignore", invalid="ignore"):
        index = np.where(total > 0, (high - low) / total, np.float32(np.nan))
    return np.asarray(index, dtype=np.float32)


def measure_changes(
    prior: Mapping[str, NDArray[np.float32]], current: Mapping[str, NDArray[np.float32]]
) -> dict[str, tuple[int, int, int]]:
    """Pixels that gained and lost each surface: as counted, at least, at most.

    A pixel gains a surface when its index crosses the threshold upwards by `LEAST_CHANGE` at least. The bounds come
    from thresholds moved by `MARGIN` both ways, and contain the count.

    Args:
        prior: (H, W) values by common band name, proportional to reflectance, NaN where there is none.
        current: The same of the current; bands that only one of the two has are not used.
    """
    shared = prior.keys() & current.keys()
    found: dict[str, tuple[int, int, int]] = {}
    for index in INDICES:
        if not {index.high, index.low} <= shared:
            continue
        thresholds = (index.threshold, index.threshold - MARGIN, index.threshold + MARGIN)
        counts = {"gained": np.zeros(3, np.int64), "lost": np.zeros(3, np.int64)}
        for top in range(0, len(prior[index.high]), _ROWS):
            before, after = (
                normalized_difference(bands[index.high][top : top + _ROWS], bands[index.low][top : top + _ROWS])
                for bands in (prior, current)
            )
            for verb, one, other in (("gained", before, after), ("lost", after, before)):
                has_changed = other - one >= LEAST_CHANGE
                counts[verb] += [
                    np.count_nonzero(has_changed & (one < threshold) & (other >= threshold)) for threshold in thresholds
                ]
        for verb, (count, *others) in counts.items():
            found[f"{index.surface}_{verb}"] = (int(count), int(min(count, *others)), int(max(count, *others)))
    return found


def describe(names: frozenset[str]) -> str:
    """What was measured from bands of these names, for provenance."""
    used = [one for one in INDICES if {one.high, one.low} <= names]
    rules = "; ".join(f"{one.surface.replace('_', ' ')} is {one.name} of at least {one.threshold:g}" for one in used)
    return (
        f"areas from spectral indices: {rules}; counted where the index changes by {LEAST_CHANGE:g} or more, bounds "
        f"from thresholds moved by {MARGIN:g}"
    )


@dataclass(frozen=True, kw_only=True)
class Areas:
    """What was measured beside the model's words.

    Attributes:
        hectares: `<surface>_gained_ha` and `<surface>_lost_ha`, each also with `_least` and `_most`; empty where a
            scene does not name the bands that are needed.
        steps: How, for provenance.
    """

    hectares: dict[str, float]
    steps: tuple[str, ...] = ()


def measured_names(pair: Pair) -> tuple[str, ...]:
    """Common names of the bands from which areas of a pair are measured; none where the bands for it are not named."""
    names = frozenset(band_numbers(pair.prior)) & frozenset(band_numbers(pair.current)) & frozenset(NEEDED)
    return tuple(sorted(names)) if any({index.high, index.low} <= names for index in INDICES) else ()


def bands_read(scene: Acquisition, names: Sequence[str]) -> list[int]:
    """Numbers, from 1, of the display bands of a scene, and after them of those of `names` that are not shown."""
    shown = display_indexes(scene)
    return [*shown, *(number for name in names if (number := band_numbers(scene)[name]) not in shown)]


def named_bands(
    values: NDArray[np.float32], scene: Acquisition, names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """(H, W) by name of (C, H, W) values of `bands_read`."""
    places = bands_read(scene, names)
    return {name: values[places.index(band_numbers(scene)[name])] for name in names}


def measure_areas(
    pair: Pair,
    prior: Mapping[str, NDArray[np.float32]],
    current: Mapping[str, NDArray[np.float32]],
    both: NDArray[np.bool_],
    *,
    gsd_m: tuple[float, float],
) -> Areas:
    """Areas of a pair on its grid, over the ground that both dates show.

    Args:
        pair: Both scenes.
        prior: (H, W) stored values by the common names of `measured_names`, aligned.
        current: The same of the current.
        both: (H, W) True where both dates have values.
        gsd_m: Ground distance of one column step and of one row step, in metres.
    """
    if not prior:
        return Areas(hectares={})
    found = [radiometry_of(scene) for scene in (pair.prior, pair.current)]
    dates = [
        {name: np.where(both, band + np.float32(one.offset), np.float32(np.nan)) for name, band in bands.items()}
        for bands, one in zip((prior, current), found, strict=True)
    ]
    hectare = math.prod(gsd_m) / 10_000
    hectares: dict[str, float] = {}
    for name, counts in measure_changes(*dates).items():
        for suffix, count in zip(("_ha", "_ha_least", "_ha_most"), counts, strict=True):
            hectares[name + suffix] = count * hectare
    sources = f"offsets by {found[0].source} (prior) and {found[1].source} (current)"
    return Areas(
        hectares=hectares,
        steps=(f"{describe(frozenset(prior))}; {sources}",),
    )


def band_numbers(scene: Acquisition) -> dict[str, int]:
    """Band numbers, from 1, by common name, as the index recorded them."""
    recorded = scene.attributes.get("common_bands", "")
    pairs = (part.split("=") for part in recorded.split(",") if part)
    return {name: int(number) for name, number in pairs}
