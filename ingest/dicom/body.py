"""Which part of a radiograph shows the body, and not the black around it?"""

import numpy as np
from numpy.typing import NDArray

#: Display value up to which a pixel that hangs together with the border is collimator, shutter or air: the darkest
#: lung is brighter in any window that shows lungs.
_BLACK = 0.03
#: Share of the long side over which the weight rises from 0 at the body's edge to 1: the edges of frame and collimator
#: are the sharpest lines of the picture and lie elsewhere in each exposure, as do the letters near them.
_MARGIN = 0.04


def body_weight(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W) in [0, 1]: 0 on padding and on the black that reaches the border, rising to 1 inside the body.

    Lungs are deliberately not told from the rest by their darkness: an opaque lung is a finding, and a field that left
    it out would follow the disease instead of the chest. Ribs, spine, heart and diaphragm guide the fit by their
    local contrast, soft tissue without contrast adds nothing to it.

    Args:
        values: (H, W), air dark.
        valid: (H, W), True where the pixel means something.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(~valid | (values < _BLACK))
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    # A line of one pixel is noise on the border, not a collimator.
    outside = ndimage.binary_opening(np.isin(labels, border[border > 0])) | ~valid
    depth = ndimage.distance_transform_edt(np.pad(~outside, 1))[1:-1, 1:-1]
    weight: NDArray[np.float32] = np.clip((depth - 1) / (_MARGIN * max(values.shape)), 0, 1).astype(np.float32)
    return weight
