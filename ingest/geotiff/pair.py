"""Which earlier scene is the prior of which scene?"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.geotiff.bands import is_comparable
from ingest.geotiff.place import LEAST_OVERLAP
from ingest.pairing import Pair, Pairing, interval_in_days, make_pair

if TYPE_CHECKING:
    from ingest.geotiff.footprint import Footprints

#: Scenes of one platform taken within this time are tiles or strips of one pass.
_ONE_PASS = timedelta(hours=1)

#: Below this share of the current covered by its prior, the reader is told.
_MOSTLY = 0.8

#: First processing baseline of Sentinel-2 whose digital numbers carry an offset of 1000.
_OFFSET_BASELINE = "0400"


def pair_scenes(acquisitions: Sequence[Acquisition]) -> Pairing:
    """Pairs of scenes: each with the most recent earlier pass over the same place.

    A prior shows the same place (`ingest.geotiff.place.assign_places` has run), shares at least half of the smaller
    valid footprint, has comparable bands and product, and belongs to an earlier pass. Where a pass offers
    several, the one in the same CRS and nearest resolution that covers most of the current is taken. Equal files and
    equal pixels under two dates are duplicates: the earliest stays, the others are refused. The order of the input
    does not matter.
    """
    from ingest.geotiff.footprint import Footprints

    scenes = tuple(sorted(acquisitions, key=_order))
    footprints = Footprints(scenes)
    refusals: list[Refusal] = []
    pairs: list[Pair] = []
    kept: set[int] = set()
    for index, scene in enumerate(scenes):
        if scene.time is None:
            refusals.append(
                _refuse(
                    scene,
                    "DATE_UNKNOWN",
                    "No acquisition date in tags or file name; write one into either.",
                )
            )
            continue
        original = _original(index, scenes, kept, footprints)
        if original is not None:
            refusals.append(
                _refuse(
                    scene,
                    "DUPLICATE",
                    f"The same picture as {scenes[original].name} under another name or date; find out which date is "
                    "true and remove the other file.",
                )
            )
            continue
        found = _choose(index, scenes, kept, footprints)
        kept.add(index)
        if isinstance(found, Refusal):
            refusals.append(found)
        else:
            pairs.append(found)
    pairs.sort(key=lambda pair: (pair.subject, _order(pair.current)))
    return Pairing(pairs=tuple(pairs), unpaired=tuple(sorted(refusals)))


def _order(scene: Acquisition) -> tuple[bool, datetime, str]:
    """Dated scenes by time, then undated ones; ties by name."""
    return scene.time is None, scene.time or datetime.min, scene.name


def _refuse(scene: Acquisition, code: str, reason: str) -> Refusal:
    return Refusal(item=scene.name, level="acquisition", code=code, reason=reason)


def _original(index: int, scenes: tuple[Acquisition, ...], kept: set[int], footprints: "Footprints") -> int | None:
    """The earliest kept scene with the same picture of the same ground."""
    scene = scenes[index]
    for other in footprints.near(index):
        # hashes are empty as long as only headers were read
        hashes = {scene.pixel_sha256, scene.sha256} & {scenes[other].pixel_sha256, scenes[other].sha256}
        same = bool(hashes - {""})
        if same and other in kept and footprints.overlap(index, other) >= LEAST_OVERLAP:
            return other
    return None


def _choose(index: int, scenes: tuple[Acquisition, ...], kept: set[int], footprints: "Footprints") -> Pair | Refusal:
    """The pair of a dated scene with its prior, or why it has none."""
    current = scenes[index]
    earlier = [other for other in footprints.near(index) if other in kept and not _one_pass(scenes[other], current)]
    usable: list[int] = []
    other_bands: set[str] = set()
    widest = 0.0
    for other in reversed(earlier):
        if usable and not _one_pass(scenes[other], scenes[usable[0]]):
            break
        share = footprints.overlap(index, other)
        if not is_comparable(scenes[other], current):
            if share >= LEAST_OVERLAP:
                other_bands.add(_kind(scenes[other]))
        elif share >= LEAST_OVERLAP:
            usable.append(other)
        else:
            widest = max(widest, share)
    if usable:
        covered = {other: footprints.coverage(index, other) for other in usable}
        other = min(covered, key=lambda candidate: _distance(scenes[candidate], current, covered[candidate]))
        return _pair(scenes[other], current, covered[other])
    if widest > 0:
        return _refuse(
            current,
            "NO_OVERLAP",
            f"Earlier scenes share at most {widest:.0%} of the smaller valid footprint; at least {LEAST_OVERLAP:.0%} "
            "is needed. Add a scene that covers this ground.",
        )
    if other_bands:
        return _refuse(
            current,
            "NO_COMPARABLE_VIEW",
            f"Earlier scenes of this place have other bands or another product ({', '.join(sorted(other_bands))}) than "
            f"this one ({_kind(current)}); add an earlier scene of the same product.",
        )
    return _refuse(current, "NO_PRIOR", "No earlier dated scene in the archive covers this place; it is the first one.")


def _kind(scene: Acquisition) -> str:
    """Product, bands and value type in words."""
    return f"{scene.attributes['product'] or 'unknown product'}, {scene.group}"


def _one_pass(one: Acquisition, other: Acquisition) -> bool:
    """True if two dated scenes come from one pass over the area, so that neither is the other's prior."""
    if one.time is None or other.time is None:
        return False
    by_day = "day" in (one.attributes["time_precision"], other.attributes["time_precision"])
    if by_day:
        return one.time.date() == other.time.date()
    return abs(one.time - other.time) <= _ONE_PASS


def _distance(prior: Acquisition, current: Acquisition, covered: float) -> tuple[bool, bool, float, float, str]:
    """Order among the scenes of one pass: product, CRS, resolution, share of the current covered, name."""
    from ingest.geotiff.crs import same_crs

    ratio = float(prior.attributes["gsd_m"]) / float(current.attributes["gsd_m"])
    other_crs = not same_crs(prior.grid.frame, current.grid.frame)
    other_product = prior.attributes["product"] != current.attributes["product"]
    return other_product, other_crs, round(max(ratio, 1 / ratio), 1), -round(covered, 3), prior.name


def _pair(prior: Acquisition, current: Acquisition, covered: float) -> Pair:
    """The pair, with the sentences a reader must see."""
    from ingest.geotiff.crs import same_crs

    if prior.time is None or current.time is None:
        raise ValueError("only dated scenes are paired")
    days = interval_in_days(prior.time, current.time)
    warnings = [
        f"{scene.name}: {scene.attributes['warnings']}" for scene in (prior, current) if scene.attributes["warnings"]
    ]
    if not same_crs(prior.grid.frame, current.grid.frame):
        warnings.append("Prior and current are in different coordinate reference systems; the prior is warped.")
    fine, coarse = sorted(float(scene.attributes["gsd_m"]) for scene in (prior, current))
    if coarse > 1.2 * fine:
        warnings.append(f"Resolutions differ ({fine:g} m and {coarse:g} m); both are compared at the coarser one.")
    if covered < _MOSTLY:
        warnings.append(f"The prior covers {covered:.0%} of the current's valid ground; the rest is not compared.")
    products = [scene.attributes["product"] for scene in (prior, current)]
    if products[0] != products[1]:
        warnings.append(
            f"Only one of the names states a product ({products[0] or products[1]}); that both are of it is assumed."
        )
    platforms = {scene.attributes["platform"] for scene in (prior, current)} - {""}
    if len(platforms) > 1:
        warnings.append(f"The scenes come from different satellites: {' and '.join(sorted(platforms))}.")
    baselines = [scene.attributes["baseline"] for scene in (prior, current)]
    if all(baselines) and len({baseline >= _OFFSET_BASELINE for baseline in baselines}) > 1:
        warnings.append(
            f"Processing baselines {baselines[0]} and {baselines[1]} differ by an offset of 1000 in every band, which "
            "is not removed: brightness is not comparable."
        )
    return make_pair(
        prior,
        current,
        reason=f"Most recent earlier scene of this place with the same bands, {days:.4g} days before; it covers "
        f"{covered:.0%} of the current's valid footprint.",
        warnings=tuple(warnings),
    )
