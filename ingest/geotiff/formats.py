"""Which files are rasters, which belong to one, and which of GDAL's drivers reads them?"""

from pathlib import Path

from ingest.geotiff.errors import LeadsElsewhere

#: Suffixes of rasters.
SUFFIXES = frozenset({".tif", ".tiff", ".gtif", ".gtiff", ".jp2", ".j2k", ".vrt", ".png", ".jpg", ".jpeg"})

#: Suffixes of files that GDAL reads together with the raster of the same name.
_COMPANIONS = {
    ".ovr": "Overviews of the raster of the same name.",
    ".msk": "Valid mask of the raster of the same name, applied with it.",
    **dict.fromkeys((".tfw", ".tifw", ".j2w", ".pgw", ".jgw", ".wld"), "World file of the raster of the same name."),
    ".prj": "Coordinate reference system of the raster of the same name.",
}
COMPANION_SUFFIXES = frozenset(_COMPANIONS)

#: First bytes of the formats that are read, and GDAL's driver for each. No other driver is ever tried on a file.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),
    (b"MM\0+", "GTiff"),
    (b"\0\0\0\x0cjP  ", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
)


def is_raster(path: Path) -> bool:
    """True if the suffix or the first bytes are those of a raster, or of its companion, that `read_header` takes."""
    return path.suffix.lower() in SUFFIXES or companion_reason(path) is not None or driver_of(path) is not None


def companion_reason(path: Path) -> str | None:
    """What a file beside a raster is for; None if it is no companion or its raster is not there."""
    reason = _COMPANIONS.get(path.suffix.lower())
    # scene.tif.msk and scene.tfw both belong to scene.tif
    owners = (path.with_suffix(""), *(path.with_suffix(suffix) for suffix in sorted(SUFFIXES)))
    return reason if reason and any(owner.suffix.lower() in SUFFIXES and owner.is_file() for owner in owners) else None


def check_beside(path: Path) -> None:
    """Refuses a raster whose overviews or mask lie beside it in anything but a TIFF: GDAL would take any format.

    Raises:
        LeadsElsewhere: There is such a file; a virtual raster in its place could name any file or address.
    """
    for suffix in (".ovr", ".msk", ".OVR", ".MSK", ".msk.ovr", ".ovr.msk"):
        beside = path.with_name(path.name + suffix)
        if beside.is_file() and driver_of(beside) != "GTiff":
            raise LeadsElsewhere(f"{beside.name} is no TIFF, and overviews and masks are read from nothing else.")


def has_raster_magic(head: bytes) -> bool:
    """True if the first bytes of a file are those of a supported raster."""
    return any(head.startswith(magic) for magic, _ in _MAGIC)


def driver_of(path: Path) -> str | None:
    """GDAL's driver for the first bytes of a file; None if they belong to no supported raster."""
    with path.open("rb") as file:
        head = file.read(12)
    return next((driver for magic, driver in _MAGIC if head.startswith(magic)), None)
