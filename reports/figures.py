"""How does an array become a picture in a page?"""

import base64
import io
from typing import TYPE_CHECKING, Literal

from reports.errors import UnusableImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Codec = Literal["png", "jpeg"]

#: Nine equidistant stops of the colour map "inferno" (red, green, blue), whose lightness rises evenly with the value.
#: Source: Smith and van der Walt, matplotlib 1.5, CC0.
INFERNO = (
    (0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84), (228, 90, 49), (249, 142, 9),
    (249, 203, 53), (252, 255, 164),
)  # fmt: skip

#: Part of the colour map in use: its black start would darken the picture where nothing is shown.
_FIRST_COLOUR = 0.25
_OPACITY = 0.8
#: Distance of the hatch lines over invalid pixels, in pixels of the encoded picture.
_HATCH_PX = 8


def to_png_data_uri(
    values: "NDArray[np.floating]", *, valid: "NDArray[np.bool_] | None" = None, max_side: int = 384
) -> str:
    """A picture as a lossless ``data:image/png`` address; larger ones are shrunk, smaller ones kept.

    Args:
        values: (H, W), (1, H, W) or (3, H, W) in [0, 1].
        valid: (H, W); False is dimmed and hatched.
        max_side: Longest side of the picture, pixels.

    Raises:
        UnusableImage: Shape or values are not as above.
    """
    return _encode(_shrunk(values, valid, max_side), "png")


def to_jpeg_data_uri(
    values: "NDArray[np.floating]", *, valid: "NDArray[np.bool_] | None" = None, max_side: int = 256
) -> str:
    """The same as a ``data:image/jpeg`` address: for pages with many pictures, about a quarter of the size.

    Raises:
        UnusableImage: As `to_png_data_uri`.
    """
    return _encode(_shrunk(values, valid, max_side), "jpeg")


def evidence_overlay(
    current: "NDArray[np.floating]",
    evidence: "NDArray[np.floating]",
    *,
    valid: "NDArray[np.bool_] | None" = None,
    max_side: int = 384,
    codec: Codec = "png",
) -> str:
    """The current image in grey with the evidence over it, as a data address.

    The scale is the map's own: its median and less has no colour, its maximum the brightest and least transparent one.
    A constant map therefore leaves the image as it is. Colours of two pairs cannot be compared.

    Args:
        current: (H, W), (1, H, W) or (3, H, W) in [0, 1].
        evidence: (h, w), any size and unit; interpolated to the picture.
        valid: (H, W); False is dimmed and hatched.
        max_side: Longest side of the picture, pixels.
        codec: "png" or "jpeg".

    Raises:
        UnusableImage: As `to_png_data_uri`, or the map is not 2-dimensional and finite.
    """
    import numpy as np
    from PIL import Image

    if evidence.ndim != 2 or not evidence.size or not np.isfinite(evidence).all():
        raise UnusableImage(f"The evidence map {evidence.shape} is no array (h, w) of finite numbers.")
    picture = _shrunk(current, valid, max_side)
    grey = (picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]

    low, high = float(np.median(evidence)), float(evidence.max())
    scaled = (evidence - low).clip(0) / (high - low) if high > low else np.zeros(evidence.shape)
    smooth = Image.fromarray(scaled.astype(np.float32)).resize(
        (picture.shape[1], picture.shape[0]), Image.Resampling.BICUBIC
    )
    strength = np.asarray(smooth).clip(0, 1)

    stops = np.linspace(0, 1, len(INFERNO))
    position = _FIRST_COLOUR + (1 - _FIRST_COLOUR) * strength
    colour = np.stack([np.interp(position, stops, channel) for channel in zip(*INFERNO, strict=True)], axis=-1)
    alpha = _OPACITY * strength[..., None]
    return _encode(((1 - alpha) * grey + alpha * colour).round().astype(np.uint8), codec)


def _shrunk(values: "NDArray[np.floating]", valid: "NDArray[np.bool_] | None", max_side: int) -> "NDArray[np.uint8]":
    """(H, W, 3) for the encoder, at most `max_side` long, invalid pixels dimmed and hatched."""
    import numpy as np
    from PIL import Image

    planes = values[None] if values.ndim == 2 else values
    if planes.ndim != 3 or planes.shape[0] not in (1, 3) or not planes.size:
        raise UnusableImage(f"An array {values.shape} cannot be drawn; give (H, W), (1, H, W) or (3, H, W).")
    # float32 arithmetic upstream may leave [0, 1] by a rounding error
    if not (planes.min() >= -1e-3 and planes.max() <= 1 + 1e-3):
        raise UnusableImage(
            f"Values from {planes.min():.4g} to {planes.max():.4g} cannot be drawn; scale them to 0 to 1 first."
        )
    if valid is not None and valid.shape != planes.shape[1:]:
        raise UnusableImage(f"The valid mask {valid.shape} does not fit the image {planes.shape[1:]}.")

    full = np.broadcast_to((planes.clip(0, 1) * 255).round().astype(np.uint8), (3, *planes.shape[1:]))
    height, width = planes.shape[1:]
    scale = min(1.0, max_side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = np.asarray(
        Image.fromarray(np.ascontiguousarray(full.transpose(1, 2, 0))).resize(size, Image.Resampling.LANCZOS)
    )
    if valid is None or valid.all():
        return picture
    shown = np.asarray(Image.fromarray(valid.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)) > 0
    rows, columns = np.indices(shown.shape)
    lines = (rows + columns) % _HATCH_PX < 2
    dimmed = 0.35 * picture + np.where(lines, 110, 40)[..., None]
    return np.where(shown[..., None], picture, dimmed.round().astype(np.uint8))


def _encode(picture: "NDArray[np.uint8]", codec: Codec) -> str:
    import numpy as np
    from PIL import Image

    # a grey picture needs one plane only
    is_grey = bool((picture == picture[..., :1]).all())
    image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if is_grey else picture))
    buffer = io.BytesIO()
    if codec == "png":
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=85, optimize=True)
    return f"data:image/{codec};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
