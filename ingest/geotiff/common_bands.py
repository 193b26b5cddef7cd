"""Which bands of a scene have a common name, so that they mean the same in every product?"""

import re
from collections.abc import Sequence
from typing import Final

#: STAC common name of each band number. Source: STAC electro-optical extension 2.0, common band names.
_SENTINEL_2: Final = {2: "blue", 3: "green", 4: "red", 8: "nir", 11: "swir16", 12: "swir22"}
_LANDSAT_8: Final = {2: "blue", 3: "green", 4: "red", 5: "nir", 6: "swir16", 7: "swir22"}
_LANDSAT_4: Final = {1: "blue", 2: "green", 3: "red", 4: "nir", 5: "swir16", 7: "swir22"}

#: Other words for the common names.
_WORDS: Final = {
    "blue": "blue", "green": "green", "red": "red", "b": "blue", "g": "green", "r": "red",
    "nir": "nir", "nir08": "nir", "nearinfrared": "nir",
    "swir16": "swir16", "swir1": "swir16", "swir22": "swir22", "swir2": "swir22",
}  # fmt: skip

#: sen2r stacks bands 1 to 12 without 8A, the L2A ones also without 10, and does not name them: how many there are, and
#: where the two short-wave bands lie.
_SEN2R: Final = {"TOA": (12, 11, 12), "BOA": (11, 10, 11)}


def common_bands(name: str, descriptions: Sequence[str | None], colours: Sequence[str]) -> dict[str, int]:
    """Band numbers, from 1, by STAC common name; bands that nothing names are left out, never guessed.

    Args:
        name: File name without folders.
        descriptions: Band descriptions, None where a band has none.
        colours: Names of GDAL's colour interpretation, lower case, one a band.
    """
    sen2r = re.search(r"S2[A-D][12][AC]_\d{8}_\d{3}_.*_(TOA|BOA)_", name)
    if sen2r and len(descriptions) == _SEN2R[sen2r[1]][0]:
        _, swir16, swir22 = _SEN2R[sen2r[1]]
        return {"blue": 2, "green": 3, "red": 4, "nir": 8, "swir16": swir16, "swir22": swir22}
    numbers = _numbers(name, descriptions)
    found: dict[str, list[int]] = {}
    for index, (description, colour) in enumerate(zip(descriptions, colours, strict=True), start=1):
        word = _plain(description or "")
        if re.fullmatch(r"(?:band)?\d*", word):
            # "Band 1" is a place in the file and no name
            word = _plain(colour)
        number = band_number(word)
        common = _WORDS.get(word) if number is None else numbers.get(number)
        if common is not None:
            found.setdefault(common, []).append(index)
    # a name that two bands claim tells nothing
    return {common: indexes[0] for common, indexes in found.items() if len(indexes) == 1}


def common_of(word: str, platform: str) -> str:
    """Common name of one band by a word or by a known satellite's band name; empty if it has none.

    Args:
        word: Such as "red", "nir08", "B04" or "SR_B4".
        platform: Such as "sentinel-2a" or "LANDSAT_8"; empty if unknown.
    """
    number = band_number(word)
    if number is None:
        return _WORDS.get(_plain(word), "")
    satellite = _plain(platform)
    by_satellite = {"sentinel2": _SENTINEL_2, "landsat8": _LANDSAT_8, "landsat9": _LANDSAT_8}
    by_satellite |= {f"landsat{older}": _LANDSAT_4 for older in (4, 5, 7)}
    numbers = next((table for start, table in by_satellite.items() if satellite.startswith(start)), {})
    return numbers.get(number, "")


def band_number(word: str) -> int | None:
    """Number that a band's name states, such as 4 for "B04" and "SR_B4"; None if it states none."""
    match = re.fullmatch(r"(?:sr)?b0?(\d{1,2})", _plain(word))
    return int(match[1]) if match else None


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _numbers(name: str, descriptions: Sequence[str | None]) -> dict[int, str]:
    """What band numbers mean in this product; nothing where the product is unknown."""
    if re.search(r"L[COTEM]0[89]_|HLS\.L30\.", name):
        return _LANDSAT_8
    if re.search(r"L[TEM]0[1-7]_", name):
        return _LANDSAT_4
    words = {_plain(description or "") for description in descriptions}
    # only Sentinel-2 has a band 8A, and writes its four bands of 10 m like this
    if {"b8a", "b08a"} & words or words == {"b02", "b03", "b04", "b08"}:
        return _SENTINEL_2
    if re.search(r"S2[A-D]_|S2[A-D][12][AC]_|T\d{2}[C-X][A-Z]{2}_|HLS\.S30\.", name):
        return _SENTINEL_2
    # band 6 of the Landsats before is thermal and has no reflectance
    return _LANDSAT_8 if "srb6" in words else {}
