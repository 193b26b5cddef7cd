"""What does an MR image weigh: images of different weighting show one tissue at different brightness."""

import re

from pydicom.dataset import Dataset

from ingest.dicom.header import numbers, text

#: Words of a series' description, the more telling ones first, and the standard's name for what they mean.
#: Source of the names: DICOM PS3.3 C.8.13.3.1.1 (Acquisition Contrast), and T2_STAR.
_WORDS = (
    ("FLUID_ATTENUATED", frozenset({"FLAIR", "DARKFLUID"})),
    ("DIFFUSION", frozenset({"DWI", "DIFF", "DIFFUSION", "DTI", "TRACEW", "ADC"})),
    ("T2_STAR", frozenset({"SWI", "SWAN", "HEMO", "T2STAR", "GRE"})),
    ("T1", frozenset({"T1", "T1W", "MPRAGE", "BRAVO", "VIBE", "SPGR", "FSPGR"})),
    ("T2", frozenset({"T2", "T2W"})),
    ("PROTON_DENSITY", frozenset({"PD", "PDW"})),
)
#: Echo times in ms: up to the first T1 or proton density, from the second T2, by gradient echo from the third already.
_SHORT_ECHO, _LONG_ECHO, _STAR_ECHO = 30.0, 60.0, 12.0
#: Repetition time in ms between T1 and proton density, and inversion time between T1 and fluid attenuation.
_SHORT_REPETITION, _LONG_INVERSION = 1200.0, 1500.0


def weighting(dataset: Dataset) -> str:
    """ "T1", "T2", "FLUID_ATTENUATED", ...; "" if the header does not tell.

    Taken from the element that says it in multi-frame files, else from the b-value, else from words of the description,
    else from the times of echo, repetition and inversion.
    """
    stated = text(dataset, "AcquisitionContrast").upper()
    if stated not in ("", "UNKNOWN", "MIXED"):
        return stated
    if _number(dataset, "DiffusionBValue") > 0:
        return "DIFFUSION"
    described = f"{text(dataset, 'SeriesDescription')} {text(dataset, 'ProtocolName')}".upper().replace("T2*", "T2STAR")
    words = set(re.split("[^A-Z0-9]+", described))
    return next((name for name, meant in _WORDS if words & meant), "") or _by_times(dataset)


def _by_times(dataset: Dataset) -> str:
    echo = _number(dataset, "EffectiveEchoTime") or _number(dataset, "EchoTime")
    repetition, inversion = _number(dataset, "RepetitionTime"), _number(dataset, "InversionTime")
    if not echo or not repetition:
        return ""
    if echo >= _LONG_ECHO:
        return "FLUID_ATTENUATED" if inversion >= _LONG_INVERSION else "T2"
    if "GR" in text(dataset, "ScanningSequence") and echo >= _STAR_ECHO:
        return "T2_STAR"
    if echo > _SHORT_ECHO:
        return ""
    return "T1" if repetition <= _SHORT_REPETITION or 0 < inversion < _LONG_INVERSION else "PROTON_DENSITY"


def _number(dataset: Dataset, keyword: str) -> float:
    return (numbers(dataset, keyword) or (0.0,))[0]
