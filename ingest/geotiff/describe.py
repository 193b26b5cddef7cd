"""What do the scenes of an archive become by what other files say of them?"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.geotiff.acquired import parse_time
from ingest.geotiff.compose import stack_bands, virtual_scene
from ingest.geotiff.layout import with_stated_nodata
from ingest.geotiff.scene import with_pass
from ingest.record import Record


@dataclass
class _Archive:
    """Scenes by archive name while descriptions are applied.

    Attributes:
        scenes: Those that are left, by the name of their file.
        made: Scenes of several files.
        refusals: Descriptions that lead to no scene.
    """

    scenes: dict[str, Acquisition]
    made: list[Acquisition] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, item: str, code: str, reason: str) -> None:
        self.refusals.append(Refusal(item=item, level="acquisition", code=code, reason=reason))


def describe_scenes(
    scenes: Iterable[Acquisition], descriptions: Iterable[Record]
) -> tuple[list[Acquisition], list[Refusal]]:
    """The scenes with what descriptions say of them, those of several files put together; and what leads to none.

    In order of trust: the user's own dates, then STAC items, then the product's metadata, then what the raster itself
    or its name says. Only files that the index has accepted can be meant: a description never makes one be opened.
    """
    archive = _Archive({one.name: one for one in scenes})
    told = [(one.name, one.header) for one in descriptions]
    dates = {name: text for _, header in told for name, text in header.get("dates", {}).items()}
    for _, header in told:
        if "product" in header:
            _apply_product(archive, header["product"])
    items = [(name, item) for name, header in told for item in header.get("items", ())]
    for name, item in items:
        _apply_item(archive, f"{name}#{item['id']}", item)
    for name, text in dates.items():
        if name in archive.scenes:
            archive.scenes[name] = _dated(archive.scenes[name], text)
    for _, item in items:
        _stack_item(archive, item)
    for name, header in told:
        if "mosaic" in header:
            _apply_virtual(archive, name, header["mosaic"], dates)
    left = [with_stated_nodata(one) for one in archive.scenes.values()]
    return sorted([*left, *archive.made], key=lambda one: one.name), archive.refusals


def _apply_product(archive: _Archive, product: Mapping[str, Any]) -> None:
    for name, scene in archive.scenes.items():
        if name.startswith(product["prefix"]):
            archive.scenes[name] = _described(scene, product)


def _apply_item(archive: _Archive, item_name: str, item: Mapping[str, Any]) -> None:
    """Tells the scenes of an item what it says; an item that leads to none is refused."""
    data = [asset for asset in item["assets"] if asset["is_data"]]
    found = [asset for asset in data if asset["name"] in archive.scenes]
    for asset in found:
        scene = _described(archive.scenes[asset["name"]], item)
        told = {"item": item["id"], "stac_nodata": "" if asset["nodata"] is None else repr(asset["nodata"])}
        archive.scenes[asset["name"]] = replace(scene, attributes={**scene.attributes, **told})
    if found:
        return
    elsewhere = {asset["elsewhere"] for asset in data}
    if "outside" in elsewhere:
        archive.refuse(
            item_name, "OUTSIDE_ARCHIVE", "The item names files outside the archive, which are never opened."
        )
    elif "remote" in elsewhere:
        archive.refuse(
            item_name, "NOT_FETCHED", "The item's files are on a server; `interval mirror` fetches them into a folder."
        )
    else:
        archive.refuse(item_name, "NO_ASSETS", "No usable raster of the item is in the archive; see what was refused.")


def _stack_item(archive: _Archive, item: Mapping[str, Any]) -> None:
    """Puts the bands of an item that lie in files of their own into one scene."""
    single: dict[str, Acquisition] = {}
    for asset in item["assets"]:
        scene = archive.scenes.get(asset["name"])
        if scene is not None and asset["is_data"] and len(asset["bands"]) == 1 and asset["bands"][0]:
            single.setdefault(asset["bands"][0], scene)
    stacked = stack_bands(single)
    if stacked is not None:
        for one in stacked.files:
            del archive.scenes[one.name]
        archive.made.append(stacked)


def _apply_virtual(archive: _Archive, name: str, mosaic: Mapping[str, Any], dates: Mapping[str, str]) -> None:
    """Puts the rasters of a virtual mosaic together, if all are usable and of one day."""
    names = list(dict.fromkeys(part[0] for band in mosaic["bands"] for part in band))
    missing = [one for one in names if one not in archive.scenes]
    if missing or not names:
        archive.refuse(
            name,
            "VRT_SOURCES",
            f"{len(missing)} of the {len(names)} rasters that it names are not usable or part of another scene; those "
            "that are usable are indexed themselves.",
        )
        return
    made = virtual_scene(mosaic, [archive.scenes[one] for one in names])
    if isinstance(made, str):
        archive.refuse(name, "UNSUPPORTED_VRT", made)
        return
    if mosaic["time"]:
        made = _described(made, mosaic)
    if name in dates:
        made = _dated(made, dates[name])
    if made.time is None and len({archive.scenes[one].time for one in names}) > 1:
        archive.refuse(
            name,
            "MIXED_DATES",
            "The mosaic mixes pictures of several days, and what changed between them; its rasters are used "
            "themselves.",
        )
        return
    for one in names:
        del archive.scenes[one]
    archive.made.append(made)


def _described(scene: Acquisition, told: Mapping[str, Any]) -> Acquisition:
    """The scene with time, platform, product, baseline and cloud share as another file tells them."""
    attributes = dict(scene.attributes)
    for key in ("platform", "product", "baseline", "processed", "cloud_cover", "boa_offset_applied"):
        if told.get(key):
            attributes[key] = told[key]
    time, source = scene.time, scene.time_source
    if told["time"]:
        time, source = datetime.fromisoformat(told["time"]), told["time_source"]
        attributes["time_precision"] = "day" if told["by_day"] else "second"
        warnings = [attributes["warnings"], told.get("warning", "")]
        if scene.time is not None and abs(scene.time - time) > timedelta(days=1):
            warnings.append(
                f"{source} says {time:%Y-%m-%d} and the raster {scene.time:%Y-%m-%d}; the former was taken."
            )
        attributes["warnings"] = " ".join(filter(None, warnings))
    # what is stored of a scene is found by its id, and must not outlive what it was told
    content = json.dumps([scene.id, dict(told) | {"assets": None}], sort_keys=True)
    identity = "scene:" + hashlib.sha256(content.encode()).hexdigest()[:32]
    return with_pass(replace(scene, id=identity, time=time, time_source=source, attributes=attributes))


def _dated(scene: Acquisition, text: str) -> Acquisition:
    """The scene with the time that the user states."""
    found = parse_time(text)
    if found is None:
        return scene
    told = {"time": found[0].isoformat(), "time_source": "sidecar", "by_day": found[1]}
    return _described(scene, told)
