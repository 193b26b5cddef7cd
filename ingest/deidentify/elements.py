"""What does a dataset hold once everything that could tell who the patient is has gone?"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from ingest.deidentify.actions import Action, actions, is_dropped, is_registered
from ingest.deidentify.dates import plain_time, shift_date, shift_datetime
from ingest.deidentify.errors import PARSER_FAULTS
from ingest.deidentify.secret import Person
from ingest.deidentify.traces import Traces
from ingest.deidentify.vocabulary import known_words
from ingest.dicom.errors import BadHeader
from ingest.dicom.header import text

#: Stands where an element must not be empty.
_REMOVED = "REMOVED"
#: Longest text that can be a technical term; the longest of LO.
_LONGEST_TERM = 64
#: From this age on, people are few enough to be known by it.  Source: 45 CFR 164.514(b)(2)(i)(C).
_OLDEST = 90
#: Text that a physicist writes and nobody about a patient.
_TECHNICAL = frozenset(
    {"Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel", "FilterType", "ImagedNucleus"}
    | {"SequenceName", "PulseSequenceName", "TransmitCoilName", "ReceiveCoilName", "RescaleType", "ModalityLUTType"}
    | {"PositionReferenceIndicator", "ContrastBolusRoute", "StackID", "CodeValue", "CodingSchemeDesignator"}
    | {"LongCodeValue", "PlateType", "GridName", "CollimatorGridName", "Radiopharmaceutical", "LUTLabel"}
    | {"ProcessingFunction", "AcquisitionDeviceProcessingCode", "TimezoneOffsetFromUTC"}
)
#: Dictionaries of codes whose meanings nobody writes by hand.  Source: DICOM PS3.16, Table 8-1.
_PUBLIC_SCHEMES = frozenset(
    {
        "DCM",
        "SRT",
        "SCT",
        "SNM3",
        "SNM",
        "99SDM",
        "LN",
        "UCUM",
        "RADLEX",
        "FMA",
        "ACR",
        "UMLS",
        "I10",
        "I10P",
        "I9",
        "C4",
    }
    | {"NCIt", "MSH", "ISO3166_1", "RFC5646"}
)
_TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "AE"})
_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "OF", "OD", "OL", "OV", "AT"})
_BYTES = frozenset({"OB", "OW"})
#: Elements of bytes that are pixels, or that turn stored values into shown ones.
_PICTURE = frozenset(
    {"PixelData", "FloatPixelData", "DoubleFloatPixelData", "LUTData"}
    | {f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue", "Alpha")}
    | {f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue", "Alpha")}
)
#: Characters that a value has room for.  Source: DICOM PS3.5, 6.2.
_ROOM = {"SH": 16, "CS": 16, "AE": 16, "LO": 64}
_AGE = re.compile(r"\d{3}[DWMY]")


@dataclass(frozen=True, kw_only=True)
class Cleaner:
    """Cleans the datasets of one file.

    Attributes:
        person: Whose replacements are used.
        traces: The identity that the file records.
        characteristics: True with the Retain Patient Characteristics Option.
    """

    person: Person
    traces: Traces
    characteristics: bool

    def clean(self, dataset: Dataset) -> None:
        """Changes the dataset and all items of its sequences in place.

        Elements are kept only where something says that they are harmless: the standard's table, the type of their
        value, or a list of technical terms. What nobody knows is removed.

        Raises:
            BadHeader: A kept element's bytes do not fit its type.

        Source: DICOM PS3.15 2026c, Annex E.
        """
        for tag in list(dataset.keys()):
            if is_dropped(tag):
                del dataset[tag]
                continue
            action = actions(characteristics=self.characteristics).get(int(tag), Action.BY_TYPE)
            if action is Action.REMOVE:
                del dataset[tag]
                continue
            element = _parsed(dataset, tag)
            replaced = self._replacement(element, action, dataset)
            if replaced is None:
                del dataset[tag]
            elif replaced is not element:
                dataset[tag] = replaced

    def _replacement(self, element: DataElement, action: Action, dataset: Dataset) -> DataElement | None:
        """The element to have in its place; None for no element."""
        if action is Action.EMPTY:
            return _with(element, [] if element.VR == "SQ" else None)
        if action is Action.DUMMY:
            return _dummy(element)
        if action is Action.PSEUDONYM:
            return _with(element, self._pseudonym(element))
        if action is Action.WORDS and element.VR in _TEXT:
            # That contrast was given is not said by the words alone.
            otherwise = _REMOVED if element.keyword == "ContrastBolusAgent" else ""
            return _each(element, lambda one: _words(one, element.VR) or otherwise)
        return self._by_type(element, dataset)

    def _pseudonym(self, element: DataElement) -> str:
        recorded = str(element.value or "").strip(" \0")
        if element.keyword == "PatientID":
            return self.person.id if recorded else ""
        if element.keyword == "PatientName":
            return self.person.name(recorded)
        return self.person.birth_date(recorded)

    def _by_type(self, element: DataElement, dataset: Dataset) -> DataElement | None:
        # Where the type depends on other elements, every candidate is one of the two kinds below.
        kinds = set(element.VR.split(" or "))
        if element.VR == "SQ":
            for item in element.value or ():
                self.clean(item)
            return element
        if element.VR == "PN":
            return _with(element, None)
        if element.VR in _TEXT:
            return _each(element, self._text_rule(element, dataset))
        rule = self._rule(element.VR)
        if rule is not None:
            return _each(element, rule)
        if kinds <= _NUMBERS or (kinds <= _NUMBERS | _BYTES and element.keyword in _PICTURE):
            return element
        return None

    def _rule(self, vr: str) -> Callable[[str], str] | None:
        """What becomes of a value of this type, where the type alone decides."""
        shift = self.person.shift
        rules: dict[str, Callable[[str], str]] = {
            "DA": lambda one: shift_date(one, shift),
            "DT": lambda one: shift_datetime(one, shift),
            "TM": plain_time,
            "UI": self._uid,
            "CS": lambda one: self._term(one) or _words(one, "CS"),
            "AS": _age,
        }
        return rules.get(vr)

    def _uid(self, recorded: str) -> str:
        return recorded if not recorded or is_registered(recorded) else self.person.secret.uid(recorded)

    def _text_rule(self, element: DataElement, dataset: Dataset) -> Callable[[str], str]:
        may_be_term = element.keyword in _TECHNICAL or (
            element.keyword == "CodeMeaning" and _scheme(dataset) in _PUBLIC_SCHEMES
        )

        def rule(recorded: str) -> str:
            term = self._term(recorded) if may_be_term else ""
            return term or _words(recorded, element.VR) or (_REMOVED if recorded else "")

        return rule

    def _term(self, recorded: str) -> str:
        """A technical term as it is; empty if it could be something else."""
        is_plain = recorded.isascii() and recorded.isprintable() and len(recorded) <= _LONGEST_TERM
        return recorded if is_plain and not self.traces.are_in(recorded) else ""


def _parsed(dataset: Dataset, tag: BaseTag) -> DataElement:
    try:
        return dataset[tag]
    except PARSER_FAULTS as error:
        name = keyword_for_tag(tag) or str(tag)
        raise BadHeader(f"The header's {name} cannot be read; correct it at the source.") from error


def _scheme(dataset: Dataset) -> str:
    return text(dataset, "CodingSchemeDesignator")


def _with(element: DataElement, value: Any) -> DataElement:
    """The element with another value; itself if the value is the same."""
    return element if element.value == value else DataElement(element.tag, element.VR, value)


def _each(element: DataElement, rule: Callable[[str], str]) -> DataElement:
    """The element with the rule applied to each of its values; no value stays no value."""
    recorded = element.value
    if recorded is None or recorded == "":
        return element
    if isinstance(recorded, (list, MultiValue)):
        return _with(element, [rule(str(one).strip(" \0")) for one in recorded])
    return _with(element, rule(str(recorded).strip(" \0")))


def _words(recorded: str, vr: str) -> str:
    """The known words of a text, as many as its type has room for."""
    kept = ""
    for word in known_words(recorded):
        longer = f"{kept} {word}".strip()
        if len(longer) > _ROOM.get(vr, _LONGEST_TERM):
            break
        kept = longer
    return kept


def _age(recorded: str) -> str:
    if not _AGE.fullmatch(recorded):
        return ""
    return f"{_OLDEST:03d}Y" if recorded.endswith("Y") and int(recorded[:3]) > _OLDEST else recorded


def _dummy(element: DataElement) -> DataElement | None:
    """A value that is valid for the type and says nothing; None where only absence says nothing."""
    if element.VR in _TEXT or element.VR in ("PN", "CS"):
        return _with(element, _REMOVED)
    if element.VR in ("DS", "IS"):
        return _with(element, "0")
    if element.VR == "UR":
        # Reserved for this.  Source: RFC 2606.
        return _with(element, "http://removed.invalid")
    return None
