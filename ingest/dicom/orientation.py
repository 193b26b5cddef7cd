"""How must a radiograph be turned so that the patient stands upright in it, as readers expect?"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ingest.dicom.header import holds, texts

#: Directions along the body, and across it as seen from the front and from the side.
_ALONG, _ACROSS = frozenset("HF"), frozenset("LRAP")
#: Rows that run this way are reversed: the patient's left is to be at the right of the picture, the back in a view from
#: the side.
_REVERSED = frozenset("RA")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Exchange of rows and columns, then reversals; nothing is interpolated.

    Attributes:
        transposed: Rows become columns.
        upside_down: The order of the rows is then reversed.
        mirrored: The order of the columns is then reversed.
    """

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def __bool__(self) -> bool:
        return self.transposed or self.upside_down or self.mirrored

    def apply(self, picture: NDArray[Any]) -> NDArray[Any]:
        """View of a (H, W) picture, (W, H) if transposed."""
        turned = picture.T if self.transposed else picture
        return turned[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


def turn_upright(dataset: Dataset) -> Turn:
    """What brings the picture to rows towards the patient's left (or back) and columns towards the feet.

    Images without PatientOrientation stay as they are: nothing is guessed from the picture. So do those with a place
    in the patient's own coordinates (CT, MR), and those whose axes are not along and across the body (mammograms).

    Raises:
        BadHeader: The element cannot be read.

    Source: DICOM PS3.3 C.7.6.1.1.1 (rows, then columns; the first letter is the main direction).
    """
    letters = [one[:1].upper() for one in texts(dataset, "PatientOrientation")]
    if len(letters) != 2 or holds(dataset, "ImageOrientationPatient"):
        return Turn()
    transposed = letters[0] in _ALONG
    across, along = letters[::-1] if transposed else letters
    if along not in _ALONG or across not in _ACROSS:
        return Turn()
    return Turn(transposed=transposed, upside_down=along == "H", mirrored=across in _REVERSED)
