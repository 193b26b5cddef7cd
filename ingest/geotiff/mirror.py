"""How do the items of a STAC API become a folder that is indexed like any archive?"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import requests

from ingest.errors import IngestError, Refusal
from ingest.geotiff.formats import SUFFIXES
from ingest.geotiff.stac import ItemAsset, item_assets
from ingest.geotiff.stac_session import HostNotAllowed, ServiceUnavailable, Session, host_of, open_client
from ingest.sidecar import MIRROR_WORK

if TYPE_CHECKING:
    from pystac import Item

#: Common names of the bands that are fetched unless others are asked for.
_BANDS = ("red", "green", "blue", "nir", "swir16")
#: Keys of quality layers, which are fetched along.
_QUALITY = re.compile(r"(?i)scl|qa_pixel|fmask|qa60|msk_classi\w*|cmask")
#: Bytes that are fetched at a time.
_PIECE = 2**20


class FetchFailed(IngestError):
    """A file was not given; the next run tries again."""

    code: ClassVar[str] = "FETCH_FAILED"


class FolderTaken(IngestError):
    """Another process mirrors into the folder, or the folder mirrors another service; give another one."""

    code: ClassVar[str] = "FOLDER_BUSY"


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which items are fetched, and which of their files.

    Attributes:
        collections: Ids of collections; empty for all.
        bbox: West, south, east, north in degrees; empty for everywhere.
        datetime: A time or an interval FROM/TO, ISO 8601; empty for always.
        cloud_cover: Highest cloud share of an item in per cent; None for any.
        assets: Keys of the files; empty for the bands by common name, and the quality layers.
        limit: Most items; None for all.
    """

    collections: tuple[str, ...] = ()
    bbox: tuple[float, ...] = ()
    datetime: str = ""
    cloud_cover: float | None = None
    assets: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(kw_only=True)
class Summary:
    """What a run did.

    Attributes:
        items: Items that the search found.
        complete: Those of which all wanted files are in the folder.
        fetched: Files fetched by this run.
        kept: Items that were there before.
        refusals: Items that could not be fetched, with the reason.
    """

    items: int = 0
    complete: int = 0
    fetched: int = 0
    kept: int = 0
    refusals: list[Refusal] = field(default_factory=list)


def mirror_items(
    address: str,
    folder: Path,
    *,
    search: Search | None = None,
    session: Session | None = None,
    sign: Callable[[str], str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Fetches what the folder lacks, item by item; what is there is never fetched again, changed or removed.

    An item comes into the archive, as a folder with its files and its description with relative addresses, when all
    wanted files were fetched. One that fails is listed and does not end the run. May be killed and repeated.

    Args:
        address: Of the STAC API.
        folder: Where to; made if it does not exist.
        search: Which items; all if None.
        session: Connections and allowed hosts; only the API's own host if None.
        sign: Makes an address that may be read of one that is listed; called when the file is read, not before, as
            signed addresses expire.
        progress: Called with the number of items done, and of items known.

    Raises:
        BadServiceAddress: The address is none.
        ServiceUnavailable: The service cannot be searched.
        FolderTaken: The folder is another's.
    """
    search = search or Search()
    session = session or Session(address)
    summary = Summary()
    with _taken(folder, address) as work:
        client = open_client(address, session)
        for item in _found(client, search, summary):
            summary.items += 1
            name = safe_name(str(item.id))
            if (folder / name).exists():
                summary.kept += 1
                summary.complete += 1
            else:
                try:
                    summary.fetched += _fetch_item(item, name, work, search, session, sign)
                    (work / name).rename(folder / name)
                    summary.complete += 1
                except IngestError as error:
                    refusal = Refusal(item=name, level="acquisition", code=error.code, reason=str(error))
                    summary.refusals.append(refusal)
            if progress is not None:
                progress(summary.complete + len(summary.refusals), summary.items)
    return summary


def safe_name(item_id: str) -> str:
    """A folder's name for an item: its id, with a hash behind it where that is no plain name."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", item_id)[:120].lstrip(".")
    return plain if plain == item_id and plain else f"{plain}_{hashlib.sha256(item_id.encode()).hexdigest()[:12]}"


def _found(client: Any, search: Search, summary: Summary) -> "Iterator[Item]":
    """Items of a search; where the service stops in between, this is noted and what was found is kept.

    The limits are asked for and looked at here again: services ignore what they do not know.
    """
    from pystac_client.exceptions import APIError

    given: dict[str, Any] = {"max_items": search.limit}
    if search.collections:
        given["collections"] = list(search.collections)
    if search.bbox:
        given["bbox"] = list(search.bbox)
    if search.datetime:
        given["datetime"] = search.datetime
    try:
        for item in client.search(**given).items():
            cloud = item.properties.get("eo:cloud_cover")
            if search.cloud_cover is None or (isinstance(cloud, (int, float)) and cloud <= search.cloud_cover):
                yield item
    except (APIError, requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        if not summary.items:
            raise ServiceUnavailable() from error
        reason = "The service stopped answering the search; the next run goes on."
        summary.refusals.append(Refusal(item="search", level="peer", code="PEER_UNAVAILABLE", reason=reason))


def _fetch_item(
    item: "Item", name: str, work: Path, search: Search, session: Session, sign: Callable[[str], str] | None
) -> int:
    """Gathers an item in the working folder; gives the number of files fetched.

    Raises:
        IngestError: A file cannot be fetched, or must not be.
    """
    chosen = choose_assets(list(item_assets(item, "")), search.assets)
    if not chosen:
        raise FetchFailed("The item has no band with a common name and none of the wanted files; name them (--asset).")
    place = work / name
    place.mkdir(mode=0o700, exist_ok=True)
    values = item.to_dict(include_self_link=False, transform_hrefs=False)
    assets = {}
    n_fetched = 0
    for asset in chosen:
        href = str(item.assets[asset.key].href)
        target = place / f"{name}_{safe_name(asset.key)}{_suffix(href)}"
        if not target.exists():
            _fetch(href, target, session, sign)
            n_fetched += 1
        # Signed addresses and other copies have no place in an archive.
        assets[asset.key] = {**values["assets"][asset.key], "href": f"./{target.name}"}
        assets[asset.key].pop("alternate", None)
    described = place / f"{name}.json"
    described.write_text(json.dumps({**values, "assets": assets, "links": []}), encoding="utf-8")
    return n_fetched


def choose_assets(assets: Sequence[ItemAsset], keys: Sequence[str]) -> list[ItemAsset]:
    """The files of an item that are wanted: by key, or one for each common name, with the quality layers.

    A picture in natural colours is taken only where the item has not red, green and blue of their own.
    """
    if keys:
        return [one for one in assets if one.key in keys]
    bands: dict[str, ItemAsset] = {}
    for one in assets:
        if one.is_data and len(one.bands) == 1 and one.bands[0] in _BANDS:
            bands.setdefault(one.bands[0], one)
    chosen = list(bands.values())
    if not {"red", "green", "blue"} <= bands.keys():
        colours = [one for one in assets if one.is_data and set(one.bands) >= {"red", "green", "blue"}]
        chosen = colours[:1] or chosen
    return [*chosen, *(one for one in assets if chosen and _QUALITY.fullmatch(one.key) and one not in chosen)]


def _fetch(href: str, target: Path, session: Session, sign: Callable[[str], str] | None) -> None:
    """Fetches one file whole.

    Raises:
        HostNotAllowed: It lies elsewhere than on an allowed host.
        FetchFailed: It is not given.
    """
    if not host_of(href):
        raise HostNotAllowed("A file lies at no web address (s3, a local path); ask the service for https addresses.")
    aside = target.with_name(target.name + ".part")
    try:
        # A signature may be refused because it has just expired: a second one is asked for once.
        for attempt in (0, 1) if sign is not None else (1,):
            with session.get(sign(href) if sign is not None else href, stream=True) as response:
                if response.status_code in (401, 403) and not attempt:
                    continue
                if response.status_code != requests.codes.ok:
                    raise FetchFailed(
                        f"A file was not given (status {response.status_code}); the next run tries again."
                    )
                n_bytes = 0
                with aside.open("wb") as file:
                    for piece in response.iter_content(_PIECE):
                        n_bytes += file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                stated = response.headers.get("Content-Length", "")
                if stated.isdigit() and "Content-Encoding" not in response.headers and int(stated) != n_bytes:
                    raise FetchFailed("A file ended before its end; the next run tries again.")
                break
        aside.rename(target)
    except requests.RequestException as error:
        # The text of the error quotes the address, which may be signed.
        raise FetchFailed(f"A file was not given ({type(error).__name__}); the next run tries again.") from error
    finally:
        aside.unlink(missing_ok=True)


def _suffix(href: str) -> str:
    suffix = PurePosixPath(urlsplit(href).path).suffix.lower()
    return suffix if suffix in SUFFIXES - {".vrt"} else ".tif"


@contextmanager
def _taken(folder: Path, address: str) -> Iterator[Path]:
    """The working folder while one process has hold of it.

    Raises:
        FolderTaken: Another process has, or the folder mirrors another service.
    """
    work = folder / MIRROR_WORK
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderTaken() from error
        peer = work / "peer"
        if peer.exists() and peer.read_text(encoding="utf-8") != address:
            raise FolderTaken()
        peer.write_text(address, encoding="utf-8")
        for left in work.rglob("*.part"):
            left.unlink()
        yield work
        for left in work.iterdir():
            if left.is_dir() and not any(left.iterdir()):
                shutil.rmtree(left)
