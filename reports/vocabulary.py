"""Which findings and places exist in each domain, and how a change is worded there?"""

from enum import StrEnum
from typing import Final

from reports.change import Change


class Domain(StrEnum):
    """Radiographs of patients or scenes of places."""

    RADIOLOGY = "radiology"
    SATELLITE = "satellite"


#: The 27 findings of the finding-level protocol on Medical-Diff-VQA, by anatomical group.
#: Source: arXiv 2606.04433, appendix F, table 18.
RADIOLOGY_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "lungs": (
        "atelectasis", "lung opacity", "edema", "pneumonia", "consolidation", "emphysema", "infection", "granuloma",
        "contusion",
    ),
    "pleura": ("pleural effusion", "pneumothorax", "pleural thickening", "blunting of the costophrenic angle"),
    "cardiac": ("cardiomegaly", "vascular congestion", "heart failure", "hilar congestion"),
    "mediastinum, aorta, hernia": (
        "hernia", "pneumomediastinum", "tortuosity of the thoracic aorta", "tortuosity of the descending aorta",
    ),
    "chest wall, skeletal": ("calcification", "fracture", "scoliosis", "hematoma"),
    "adjacent, other": ("air collection", "gastric distention"),
}  # fmt: skip

#: Land-cover objects that a scene report names.
SCENE_FINDINGS: Final[tuple[str, ...]] = ("building", "road", "vegetation", "water", "bare soil")

FINDINGS: Final[dict[Domain, tuple[str, ...]]] = {
    Domain.RADIOLOGY: tuple(name for group in RADIOLOGY_GROUPS.values() for name in group),
    Domain.SATELLITE: SCENE_FINDINGS,
}

#: Sides and zones are the patient's, so `left` is on the right of an upright frontal image; quadrants are map
#: directions of the pair's grid, north up.
PLACES: Final[dict[Domain, tuple[str, ...]]] = {
    Domain.RADIOLOGY: (
        "right", "left", "bilateral", "right upper", "right lower", "left upper", "left lower", "central",
    ),
    Domain.SATELLITE: ("north-west", "north-east", "south-west", "south-east"),
}  # fmt: skip

#: How a change reads in a sentence after "<place> <finding> ".
CHANGE_WORDS: Final[dict[Domain, dict[Change, str]]] = {
    Domain.RADIOLOGY: {
        Change.NEW: "is new",
        Change.WORSE: "is worse",
        Change.STABLE: "is stable",
        Change.IMPROVED: "is improved",
        Change.RESOLVED: "is resolved",
        Change.ABSENT: "is absent",
        Change.NOT_ASSESSABLE: "is not assessable",
    },
    Domain.SATELLITE: {
        Change.NEW: "has appeared",
        Change.WORSE: "has grown",
        Change.STABLE: "is unchanged",
        Change.IMPROVED: "has shrunk",
        Change.RESOLVED: "was removed",
        Change.ABSENT: "is absent",
        Change.NOT_ASSESSABLE: "is not assessable",
    },
}

#: The whole report when neither image shows a finding.
NOTHING_FOUND: Final[dict[Domain, str]] = {
    Domain.RADIOLOGY: "No finding in either image.",
    Domain.SATELLITE: "No object of interest in either image.",
}
