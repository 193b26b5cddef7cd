"""What does a radiograph show: which part of the body, from which side?"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from pydicom.dataset import Dataset

from ingest.dicom.header import items, text

#: Modalities that are one group: projection radiographs.  RF counts where it is a single frame; XR is an older term.
RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "RF", "XR"})
CHEST = "CHEST"

#: Words for the chest in headers and descriptions.
_CHEST_WORDS = frozenset({"CHEST", "THORAX", "LUNG", "LUNGS", "TORAX", "CXR"})
#: Words that say another part, in descriptions.
_OTHER_WORDS = frozenset(
    {"ABDOMEN", "ANKLE", "ARM", "CLAVICLE", "CSPINE", "ELBOW", "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD"}
    | {"HIP", "HUMERUS", "JAW", "KNEE", "LEG", "LSPINE", "NECK", "PELVIS", "SHOULDER", "SKULL", "SPINE", "TIBIA"}
    | {"TOE", "TSPINE", "WRIST"}
)
#: Codes for the chest and the lung.  Source: DICOM PS3.16, context group 4009 and Annex L, SNOMED CT and SRT.
_CHEST_CODES = frozenset({"51185008", "T-D3000", "39607008", "T-28000", "43799004", "T-D3050"})
#: Codes for views.  Source: DICOM PS3.16, context group 4010, SNOMED CT and SRT.
_VIEW_CODES = {
    "399348003": "AP",
    "R-10206": "AP",
    "272479007": "PA",
    "R-10214": "PA",
    "R-40888": "PA",
    "399067008": "LATERAL",
    "R-102CD": "LATERAL",
    "399173006": "LATERAL",
    "R-10236": "LATERAL",
    "399198007": "LATERAL",
    "R-10232": "LATERAL",
}
_TAG_WORDS = {
    "AP": "AP",
    "PA": "PA",
    "LL": "LATERAL",
    "RL": "LATERAL",
    "LLAT": "LATERAL",
    "RLAT": "LATERAL",
    "LAT": "LATERAL",
    "LATERAL": "LATERAL",
}
#: In free text only the unmistakable words count: "LL" may be a lobe.
_DESCRIPTION_WORDS = {"AP": "AP", "PA": "PA", "LAT": "LATERAL", "LATERAL": "LATERAL"}
#: Words that make an AP or lateral view something else.
_OTHER_VIEW = frozenset({"AXIAL", "LORDOTIC", "APICAL", "DECUB", "DECUBITUS", "OBLIQUE", "OBL"})


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What is shown, from where, and who says so.

    Attributes:
        body_part: "CHEST", another part as recorded, or "" if unknown.
        body_part_source: The element that decided, or "".
        view: "AP", "PA", "LATERAL" or "".
        view_source: The element that decided, or "".
        view_stated: What ViewPosition says, upper case, for views outside the list.
        laterality: "L", "R" or "".
        warnings: Sentences about labels that contradict each other.
    """

    body_part: str
    body_part_source: str
    view: str
    view_source: str
    view_stated: str
    laterality: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def group(self) -> str:
        """What must be equal to be compared: modality group, body part, and the side of a paired part."""
        side = f":{self.laterality}" if self.laterality and self.body_part not in (CHEST, "") else ""
        return f"radiograph:{self.body_part or 'unknown'}{side}"


def read_projection(dataset: Dataset) -> Projection:
    """Body part, view and side from tags, then codes, then descriptions; the source is kept.

    An absent view stays unknown: it is never taken for PA.

    Raises:
        BadHeader: One of the elements cannot be read.
    """
    part, part_source = _body_part(dataset)
    view, view_source = _view(dataset)
    described = _description_view(text(dataset, "SeriesDescription"))
    warnings: tuple[str, ...] = ()
    if view and described and view != described:
        warnings = (f"The view label says {view}, the series description {described}; {view_source} was believed.",)
    laterality = (text(dataset, "ImageLaterality") or text(dataset, "Laterality")).upper()
    return Projection(
        body_part=part,
        body_part_source=part_source,
        view=view,
        view_source=view_source,
        view_stated=text(dataset, "ViewPosition").upper(),
        laterality=laterality if laterality in ("L", "R") else "",
        warnings=warnings,
    )


def _words(recorded: str) -> list[str]:
    return re.findall(r"[A-Z]+", recorded.upper())


def _body_part(dataset: Dataset) -> tuple[str, str]:
    stated = text(dataset, "BodyPartExamined")
    if stated:
        return _named_part(stated) or "_".join(_words(stated)) or stated.upper(), "BodyPartExamined"
    for region in items(dataset, "AnatomicRegionSequence"):
        if text(region, "CodeValue") in _CHEST_CODES:
            return CHEST, "AnatomicRegionSequence"
        if part := _named_part(text(region, "CodeMeaning")):
            return part, "AnatomicRegionSequence"
    for procedure in items(dataset, "ProcedureCodeSequence"):
        if part := _named_part(text(procedure, "CodeMeaning")):
            return part, "ProcedureCodeSequence"
    for keyword in (
        "PerformedProcedureStepDescription",
        "RequestedProcedureDescription",
        "StudyDescription",
        "SeriesDescription",
        "ProtocolName",
    ):
        if part := _named_part(text(dataset, keyword)):
            return part, keyword
    return "", ""


# The files of an archive have few descriptions between them.
@lru_cache(4096)
def _named_part(recorded: str) -> str:
    """The one part that the words name; empty if they name none or several."""
    words = set(_words(recorded))
    named = words & _OTHER_WORDS
    if words & _CHEST_WORDS:
        named.add(CHEST)
    return named.pop() if len(named) == 1 else ""


def _view(dataset: Dataset) -> tuple[str, str]:
    if stated := text(dataset, "ViewPosition"):
        return _stated_view(stated), "ViewPosition"
    for code in items(dataset, "ViewCodeSequence"):
        if view := _VIEW_CODES.get(text(code, "CodeValue")):
            return view, "ViewCodeSequence"
    view = _description_view(text(dataset, "SeriesDescription"))
    return view, "SeriesDescription" if view else ""


@lru_cache(4096)
def _description_view(recorded: str) -> str:
    return _one_view(recorded, _DESCRIPTION_WORDS)


@lru_cache(4096)
def _stated_view(recorded: str) -> str:
    return _one_view(recorded, _TAG_WORDS)


def _one_view(recorded: str, table: dict[str, str]) -> str:
    """The one view that the words name; empty for none, for several ("PA and LAT") and for special ones."""
    words = _words(recorded)
    if _OTHER_VIEW & set(words):
        return ""
    views = {table[word] for word in words if word in table}
    return views.pop() if len(views) == 1 else ""
