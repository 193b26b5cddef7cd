"""With which settings does GDAL read the files of an archive?"""

import warnings

import rasterio
from rasterio.env import getenv, hasenv
from rasterio.errors import NotGeoreferencedWarning

# A raster without a place is refused by an error of its own. rasterio hides this warning itself around arrays that it
# warps, but by `warnings.catch_warnings`, which fails where two threads do so at a time.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

#: Bytes of GDAL's block cache in a process; by itself GDAL takes 5 % of the machine's memory, too much for several
#: workers. Rasterio passes the number on as bytes, whatever GDAL's own reading of small numbers.
CACHE = 128 * 2**20


def gdal_environment(*, cache: int = CACHE) -> rasterio.Env:
    """Context in which rasters are opened and read.

    Args:
        cache: Bytes of decoded blocks that GDAL keeps, of all open files of the process together; an environment
            around this one that keeps more stays as it is.
    """
    around = getenv() if hasenv() else {}
    return rasterio.Env(
        # one thread: GDAL's JPEG 2000 reader loses the errors of its helper threads
        GDAL_NUM_THREADS="1",
        GDAL_CACHEMAX=max(cache, around.get("GDAL_CACHEMAX", 0)),
        # no file of an archive sends a reader to the network or to code: nothing on a server has this name
        CPL_VSIL_CURL_ALLOWED_FILENAME="/vsicurl/none",
        GDAL_VRT_ENABLE_PYTHON="NO",
    )
