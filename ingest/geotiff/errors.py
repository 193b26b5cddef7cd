"""Why does a scene, or a pair of scenes, give no report?"""

from pathlib import Path
from typing import ClassVar

from ingest.errors import IngestError


class NotARaster(IngestError):
    """The file is named like a raster and holds none; remove it or give it its true suffix."""

    code: ClassVar[str] = "NOT_A_RASTER"


class TruncatedRaster(IngestError):
    """The raster's blocks cannot all be read; copy the file again from its source."""

    code: ClassVar[str] = "TRUNCATED"


class NoCrs(IngestError):
    """The raster states no coordinate reference system; assign one (`gdal_edit -a_srs`) and index again."""

    code: ClassVar[str] = "NO_CRS"


class UnsupportedBands(IngestError):
    """The raster's bands cannot be shown as red, green and blue; name them in the band descriptions."""

    code: ClassVar[str] = "UNSUPPORTED_BANDS"


class NoValidPixels(IngestError):
    """Every pixel of the raster is nodata; leave the file out."""

    code: ClassVar[str] = "NO_VALID_PIXELS"


class TooLargeBlocks(IngestError):
    """The raster cannot be read in parts that fit into memory; write it in tiles (`gdal_translate -of COG`)."""

    code: ClassVar[str] = "TOO_LARGE_BLOCKS"


class LeadsElsewhere(IngestError):
    """What lies beside the raster, or its metadata, makes GDAL open other files; remove it."""

    code: ClassVar[str] = "LEADS_ELSEWHERE"


class UnsupportedVrt(IngestError):
    """The virtual mosaic does more than lay out rasters of this archive; write it as a GeoTIFF (gdal_translate)."""

    code: ClassVar[str] = "UNSUPPORTED_VRT"


class BadItem(IngestError):
    """The STAC item is not as it should be; ask its source."""

    code: ClassVar[str] = "BAD_STAC_ITEM"


class BadDates(IngestError):
    """The table of dates needs a name and a full ISO 8601 date for each scene; correct it and index again."""

    code: ClassVar[str] = "BAD_DATES"


class NoOverlap(IngestError):
    """Prior and current share too little valid ground to be compared; choose another prior."""

    code: ClassVar[str] = "NO_OVERLAP"


class TooCloudy(IngestError):
    """Clouds hide too much of one of the two scenes; choose another prior."""

    code: ClassVar[str] = "TOO_CLOUDY"


class AlignmentFailed(IngestError):
    """Prior and current cannot be brought onto one grid; check the coordinate reference systems of both files."""

    code: ClassVar[str] = "ALIGNMENT_FAILED"


def without_path(error: Exception, path: Path) -> str:
    """GDAL's own message with the file's name in place of its absolute path, in one line."""
    # rasterio wraps the message that names the block in one that names nothing
    return " ".join(str(error.__cause__ or error).replace(str(path), path.name).replace(str(path.parent), "").split())
