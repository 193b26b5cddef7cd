"""With which settings does GDAL read the files of an archive?"""

import rasterio

#: Bytes of GDAL's block cache in a process; by itself GDAL takes 5 % of the machine's memory, too much for several
#: workers. Rasterio passes the number on as bytes, whatever GDAL's own reading of small numbers.
_CACHE = 128 * 2**20


def gdal_environment() -> rasterio.Env:
    """Context in which rasters are opened and read."""
    return rasterio.Env(
        # one thread: GDAL's JPEG 2000 reader loses the errors of its helper threads
        GDAL_NUM_THREADS="1",
        GDAL_CACHEMAX=_CACHE,
        # no file of an archive sends a reader to the network or to code: nothing on a server has this name
        CPL_VSIL_CURL_ALLOWED_FILENAME="/vsicurl/none",
        GDAL_VRT_ENABLE_PYTHON="NO",
    )
