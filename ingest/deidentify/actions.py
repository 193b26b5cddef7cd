"""What does DICOM PS3.15 say is to be done with an element?"""

from enum import Enum
from functools import cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.tag import BaseTag
from pydicom.uid import UID

#: Edition of the table, as the package with it names its module.
EDITION = "2026c"


class Action(Enum):
    """What happens to an element that is present. An absent one stays absent."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    #: A replacement that belongs to the person: PatientID, PatientName, PatientBirthDate.
    PSEUDONYM = "pseudonym"
    #: Only words of the vocabulary stay.  Option: Clean Descriptors.
    WORDS = "C"
    #: Kept as it is where it is plain technical text.
    KEEP = "K"
    #: Nothing is said of it, or its type decides: UIDs, dates, sequences.
    BY_TYPE = "by type"


#: Where the table leaves a choice by the type that the element has in its module, what is valid for every type.
_CHOICES = {
    "D_TAGS": Action.DUMMY,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.REMOVE,
    "U_TAGS": Action.BY_TYPE,
    "Z_D_TAGS": Action.DUMMY,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.DUMMY,
    "X_Z_D_TAGS": Action.DUMMY,
    # "Replacement of contained instance UIDs": the items are cleaned like everything else.
    "X_Z_U_STAR_TAGS": Action.BY_TYPE,
}
#: Kept by the Clean Descriptors Option, as far as the vocabulary goes; all others of its column are removed.
_DESCRIPTORS = (
    "StudyDescription",
    "SeriesDescription",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
    "ScheduledProcedureStepDescription",
    "ProtocolName",
    "ContrastBolusAgent",
)
#: Kept by the Retain Patient Characteristics Option; those of its column that hold free text are removed.
_CHARACTERISTICS = (
    "PatientAge",
    "PatientSex",
    "PatientSexNeutered",
    "PatientSize",
    "PatientWeight",
    "PregnancyStatus",
    "SmokingStatus",
)
#: Dates that say nothing of the patient. Shifted like the patient's, one that is public would give the shift away: the
#: date of a code's dictionary, of a device's making. What names a context group goes with its version.
_PUBLIC_DATES = (
    "ContextIdentifier",
    "ContextUID",
    "MappingResource",
    "MappingResourceUID",
    "MappingResourceName",
    "ContextGroupVersion",
    "ContextGroupLocalVersion",
    "ContextGroupExtensionFlag",
    "ContextGroupExtensionCreatorUID",
    "CodingSchemeVersion",
    "CodingSchemeIdentificationSequence",
    "ContentTemplateSequence",
    "DateOfLastCalibration",
    "TimeOfLastCalibration",
    "DateOfLastDetectorCalibration",
    "TimeOfLastDetectorCalibration",
    "DateOfManufacture",
    "DateOfInstallation",
    "GPSTimeStamp",
    "PatientBirthTime",
)
#: Written anew for every file.
_RECORD = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
#: The only character set of the results is the default one.
_CHARACTER_SET = "SpecificCharacterSet"


@cache
def actions(*, characteristics: bool) -> dict[int, Action]:
    """Action of each tag that the standard or this project names.

    Dates and times are left to the type of their element, since the Retain Longitudinal Temporal Information With
    Modified Dates Option covers them.

    Args:
        characteristics: True with the Retain Patient Characteristics Option.

    Source: DICOM PS3.15 2026c, Table E.1-1, column Basic Profile, as dicom-anonymizer carries it.
    """
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    table = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    # Rows with a mask are the curves and overlays, whose groups are removed altogether.
    rows = {tag[0] << 16 | tag[1]: action for name, action in _CHOICES.items() for tag in table[name] if len(tag) == 2}
    found = {tag: Action.BY_TYPE if _is_time(tag) else action for tag, action in rows.items()}
    for keyword in ("PatientID", "PatientName", "PatientBirthDate"):
        found[_tag(keyword)] = Action.PSEUDONYM
    for keyword in _DESCRIPTORS:
        found[_tag(keyword)] = Action.WORDS
    for keyword in _PUBLIC_DATES:
        found[_tag(keyword)] = Action.REMOVE
    for keyword in (*_RECORD, _CHARACTER_SET):
        found[_tag(keyword)] = Action.REMOVE
    # X/Z in the table; where a composite object has it, an empty one is not allowed.  Source: DICOM PS3.3 C.7.2.1.
    found[_tag("ReferencedStudySequence")] = Action.REMOVE
    # An offset from UTC is needed to keep intervals between machines exact; the option's column allows it.
    found[_tag("TimezoneOffsetFromUTC")] = Action.KEEP
    if characteristics:
        for keyword in _CHARACTERISTICS:
            found[_tag(keyword)] = Action.KEEP
    return found


def is_registered(uid: str) -> bool:
    """True for UIDs of the standard: they say what something is. All others say which one it is."""
    return bool(UID(uid).type)


def is_dropped(tag: BaseTag) -> bool:
    """True for what no option keeps: private elements, curves, overlays, group lengths, padding, commands."""
    return (
        tag.is_private
        or tag.element == 0
        or tag.group < 0x0008
        or tag.group == 0xFFFC
        or 0x5000 <= tag.group <= 0x50FF
        or 0x6000 <= tag.group <= 0x60FF
    )


def _is_time(tag: int) -> bool:
    return dictionary_has_tag(tag) and dictionary_VR(tag) in ("DA", "DT", "TM")


def _tag(keyword: str) -> int:
    found = tag_for_keyword(keyword)
    assert found is not None, keyword
    return int(found)
