"""What may the one who runs a de-identification decide?"""

from dataclasses import dataclass
from enum import StrEnum


class PixelStep(StrEnum):
    """What happens to pictures that may show text. Nothing else is done to pixels."""

    #: Images that may show text are refused.
    REFUSE = "refuse"
    #: Text is looked for in them, and masked.
    RISKY = "risky"
    #: Text is looked for in every image, and masked.
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of PS3.15 that are not always taken.

    Attributes:
        pixels: What happens to pictures that may show text.
        characteristics: Keep sex, age, size, weight, pregnancy and smoking: Retain Patient Characteristics Option.
    """

    pixels: PixelStep = PixelStep.REFUSE
    characteristics: bool = False
