"""Which scenes are one pass, so that they are one scene, and which were replaced by a newer processing?"""

from collections import defaultdict
from collections.abc import Sequence

import shapely

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.geotiff.compose import composed, files_of, lattice_offset
from ingest.geotiff.footprint import Footprints, native_footprint, raster_outline
from ingest.geotiff.layout import Layout, Part, is_plain, layout_of_text

#: Share of a scene's valid ground that a newer processing must cover to take its place.
_REPLACED = 0.98

#: Longest side of merged tiles, in pixels; wider passes stay in tiles, which are never paired with each other.
_MOST_SIDE = 2**15


def drop_replaced(scenes: Sequence[Acquisition]) -> tuple[list[Acquisition], list[Refusal]]:
    """The scenes without those that a newer processing of the same picture replaces, and why these are refused.

    The same picture: platform, product, bands and acquisition time agree. Newer: a higher baseline, or a later
    processing time in the product's name. What covers ground that the newer one lacks is kept.
    """
    groups: dict[tuple[str, ...], list[Acquisition]] = defaultdict(list)
    for one in scenes:
        if one.time is not None and one.attributes["platform"]:
            product = one.attributes["product"]
            key = (one.attributes["platform"], product, one.group, one.time.isoformat())
            groups[key].append(one)
    refusals: dict[str, Refusal] = {}
    for group in groups.values():
        if len(group) < 2:
            continue
        footprints = Footprints(tuple(group))
        for at, one in enumerate(group):
            for other in footprints.near(at):
                if _is_newer(group[other], one) and footprints.coverage(at, other) >= _REPLACED:
                    refusals[one.id] = _replaced(one, group[other])
    dropped = [one for one in scenes if one.id in refusals]
    files = [_file_refusal(name, refusals[one.id]) for one in dropped for name in one.names]
    return [one for one in scenes if one.id not in refusals], files


def _is_newer(one: Acquisition, other: Acquisition) -> bool:
    """True if both state their version and the one's is higher."""
    mine, theirs = (scene.attributes["baseline"] for scene in (one, other))
    if mine != theirs:
        return bool(mine and theirs) and mine > theirs
    made, earlier = (scene.attributes["processed"] for scene in (one, other))
    return bool(made and earlier) and made > earlier


def _version(scene: Acquisition) -> str:
    baseline, processed = scene.attributes["baseline"], scene.attributes["processed"]
    return ", ".join(filter(None, (f"baseline {baseline}" if baseline else "", processed)))


def _replaced(scene: Acquisition, newer: Acquisition) -> Refusal:
    return Refusal(
        item=scene.name,
        level="file",
        code="REPROCESSED",
        reason=f"{newer.name} is a newer processing of the same picture ({_version(newer)} after {_version(scene)}) "
        "and is used; nothing to do.",
    )


def _file_refusal(name: str, refusal: Refusal) -> Refusal:
    return Refusal(item=name, level=refusal.level, code=refusal.code, reason=refusal.reason)


def merge_passes(scenes: Sequence[Acquisition]) -> list[Acquisition]:
    """The scenes with those of one pass merged: tiles and strips of one platform and solar day that touch.

    Merged are scenes of one product, baseline and kind of bands whose pixels lie on one lattice; the grid of the
    merged scene covers all of them, and where they overlap the first by name counts. Ground that none covers is
    nodata, so they need a value for it. What cannot be merged stays a scene of its own; pairing never makes two of
    one pass a pair.
    """
    groups: dict[tuple[str, ...], list[Acquisition]] = defaultdict(list)
    alone: list[Acquisition] = []
    for one in scenes:
        attributes = one.attributes
        if one.time is None or not attributes["platform"] or not attributes["nodata"] or not _is_mergeable(one):
            alone.append(one)
            continue
        keys = ("platform", "product", "baseline", "dtype", "nodata", "band_indexes", "common_bands", "n_bands")
        groups[(one.study, one.group, *(attributes[key] for key in keys), one.grid.frame)].append(one)
    for group in groups.values():
        for cluster in _touching(sorted(group, key=lambda one: one.name)):
            merged = _merged(cluster) if len(cluster) > 1 else None
            alone.extend(cluster if merged is None else [merged])
    return sorted(alone, key=lambda one: one.name)


def _is_mergeable(scene: Acquisition) -> bool:
    return is_plain(scene) or bool(scene.files and scene.attributes.get("layout"))


def _touching(group: Sequence[Acquisition]) -> list[list[Acquisition]]:
    """The scenes in clusters whose rasters overlap or touch and lie on one lattice."""
    outlines = [raster_outline(one.grid).buffer(abs(one.grid.affine[0]) / 2, join_style="mitre") for one in group]
    tree = shapely.STRtree(outlines)
    clusters: list[set[int]] = []
    for at, one in enumerate(group):
        hits = {int(hit) for hit in tree.query(outlines[at], predicate="intersects")}
        linked = {hit for hit in hits if lattice_offset(group[hit].grid, one.grid) is not None}
        joined = [cluster for cluster in clusters if cluster & linked]
        clusters = [cluster for cluster in clusters if not cluster & linked]
        clusters.append(set.union(linked, *joined))
    return [[group[at] for at in sorted(cluster)] for cluster in clusters]


def _merged(cluster: Sequence[Acquisition]) -> Acquisition | None:
    """One scene of several on one lattice; None if it would be too large."""
    first = cluster[0].grid
    offsets = [lattice_offset(first, one.grid) for one in cluster]
    if any(offset is None for offset in offsets):
        return None
    places = [offset for offset in offsets if offset is not None]
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    width = max(place[0] + one.grid.width for place, one in zip(places, cluster, strict=True)) - left
    height = max(place[1] + one.grid.height for place, one in zip(places, cluster, strict=True)) - top
    if max(width, height) > _MOST_SIDE:
        return None
    grid = first.part(slice(top, top + height), slice(left, left + width))
    layouts = [_layout(one) for one in cluster]
    bands: list[list[Part]] = [[] for _ in layouts[0].bands]
    n_files = 0
    for place, one, layout in zip(places, cluster, layouts, strict=True):
        for into, band in zip(bands, layout.bands, strict=True):
            into.extend(_moved(part, n_files, place[0] - left, place[1] - top) for part in band)
        n_files += len(files_of(one))
    valid = shapely.make_valid(shapely.union_all([native_footprint(one) for one in cluster]))
    merged = Layout(
        grid=grid,
        dtype=layouts[0].dtype,
        nodata=float(cluster[0].attributes["nodata"]),
        names=layouts[0].names,
        bands=tuple(tuple(band) for band in bands),
    )
    attributes = cluster[0].attributes
    common = [""] * len(bands)
    for text in filter(None, attributes["common_bands"].split(",")):
        name, number = text.split("=")
        common[int(number) - 1] = name
    display = [int(index) for index in attributes["band_indexes"].split(",")]
    return composed(cluster, merged, valid, role=attributes["bands"], display=display, common=common)


def _layout(scene: Acquisition) -> Layout:
    """How a scene lies in its files; one file as it is."""
    if scene.attributes.get("layout"):
        return layout_of_text(scene.attributes["layout"])
    whole = (0, 0, scene.grid.width, scene.grid.height)
    n_bands = int(scene.attributes["n_bands"])
    return Layout(
        grid=scene.grid,
        dtype=scene.attributes["dtype"],
        nodata=float(scene.attributes["nodata"]),
        names=("",) * n_bands,
        bands=tuple((Part(file=0, band=index, source=whole, target=whole),) for index in range(1, n_bands + 1)),
    )


def _moved(part: Part, first_file: int, columns: int, rows: int) -> Part:
    x, y, width, height = part.target
    return Part(
        file=part.file + first_file, band=part.band, source=part.source, target=(x + columns, y + rows, width, height)
    )
