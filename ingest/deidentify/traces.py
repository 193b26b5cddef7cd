"""Which words of a file would betray the patient if they stood anywhere in the result?"""

import re
from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from ingest.deidentify.errors import PARSER_FAULTS
from ingest.deidentify.vocabulary import VOCABULARY

#: Elements whose whole value is an identifier, beside every name of a person and every date.
_IDENTIFIERS = frozenset(
    {"PatientID", "IssuerOfPatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "MilitaryRank"}
    | {"MedicalRecordLocator", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest"}
    | {"RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID", "PatientTelephoneNumbers"}
    | {"InsurancePlanIdentification", "ServiceEpisodeID", "DeviceSerialNumber", "InstitutionName", "StationName"}
)
#: Shorter words are too common to say anything: initials, "CT".
_LEAST_LENGTH = 3
#: Shorter ones are not looked for in coded pixels, where a few bytes meet by chance.
_LEAST_CODED = 6
_WORD = re.compile(r"[^\W_]+")
#: Six digits can be a date or a number of a patient; dates come with marks between, too.
_NUMBER = re.compile(r"\d{6}|\d{1,4}[./-]\d{1,2}[./-]\d{2,4}")


class Traces:
    """The identity that one file records, for finding it where it does not belong."""

    def __init__(self, dataset: Dataset) -> None:
        self._words: set[str] = set()
        self._coded: set[bytes] = set()
        for recorded in _recorded(dataset):
            for part in (recorded, *_WORD.findall(recorded)):
                self._add(part.strip(" \0"))

    def are_in(self, text: str) -> bool:
        """True if the text holds one of the words, or a number that may be a date or an identifier."""
        words = {word.casefold() for word in (text.strip(), *_WORD.findall(text))}
        if _NUMBER.search(text):
            return True
        return any(word in self._words and word.upper() not in VOCABULARY for word in words)

    def are_in_pixels(self, coded: bytes) -> bool:
        """True if one of the longer words stands in bytes, as in the comment of a code stream."""
        return any(word in coded for word in self._coded)

    def _add(self, word: str) -> None:
        if len(word) < _LEAST_LENGTH:
            return
        self._words.add(word.casefold())
        if word.upper() in VOCABULARY:
            return
        for form in (word, word.upper(), word.lower(), word.title()):
            coded = form.encode("utf-8", "surrogateescape")
            # A run of one byte is how an even area of a picture looks.
            if len(coded) >= _LEAST_CODED and len(set(coded)) > 2:
                self._coded.add(coded)


def _recorded(dataset: Dataset) -> Iterator[str]:
    """Every value that identifies, of all levels of the dataset."""
    for tag in dataset.keys():  # noqa: SIM118  iterating the dataset itself parses every element
        element = _parsed(dataset, tag)
        if element is None:
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _recorded(item)
        elif element.VR in ("PN", "DA", "DT") or element.keyword in _IDENTIFIERS:
            value = element.value
            for one in value if isinstance(value, (list, tuple, MultiValue)) else (value,):
                yield str(one or "")


def _parsed(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """The element; None where its bytes do not fit its type, which decides later whether the file is refused."""
    try:
        return dataset[tag]
    except PARSER_FAULTS:
        return None
