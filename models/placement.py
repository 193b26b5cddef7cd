"""Which decoder layers get a retrieval branch?"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

from torch import Tensor

from models.errors import InvalidConfig

#: Places that the authors chose by an even stride, as (branch's number times stride plus offset) / depth, for the width
#: of the decoder: {8, 16, 24} and {5, 11, 17} of 36 layers. Source: arXiv 2605.00814, code at commit 8d784fe.
_PUBLISHED: Final = {4096: (Fraction(8, 36), 0), 2560: (Fraction(6, 36), -1)}


def strided(depth: int, width: int) -> tuple[int, ...]:
    """Three layers at an even stride, as the authors placed theirs; fewer when there are not so many.

    The rule for other hosts is ours: of the two published placements take that of the host whose width is nearer by
    ratio, and scale its stride with the depth. So decoders from a width of about 3,240 on get round(k * 2/9 * depth),
    narrower ones round(k * depth / 6) - 1, for k = 1, 2, 3; layers that would fall together move one on.

    Args:
        depth: Decoder layers.
        width: Width of the decoder.

    Source: arXiv 2605.00814, placement "Strided" (the best of its three).
    """
    nearest = min(_PUBLISHED, key=lambda known: abs(math.log(known / width)))
    stride, offset = _PUBLISHED[nearest]
    layers: list[int] = []
    for number in range(1, min(3, depth) + 1):
        least = layers[-1] + 1 if layers else 0
        layers.append(max(least, round(number * stride * depth) + offset))
    return tuple(layers)


def peak_attention(mass: Tensor, count: int = 3) -> tuple[int, ...]:
    """The layers with the highest mean visual attention mass.

    Args:
        mass: (layers, steps) visual attention mass while decoding, of `models.attention_mass`; NaN for layers that have
            no attention.
        count: How many layers.

    Source: arXiv 2605.00814, placement "Peak Attention".
    """
    return _highest(mass.nanmean(-1), count)


def max_decay(mass: Tensor, count: int = 3) -> tuple[int, ...]:
    """The layers that lose most visual attention mass: its mean over the first quarter of steps less that of the last.

    Args:
        mass: (layers, steps), as for `peak_attention`.
        count: How many layers.

    Source: arXiv 2605.00814, placement "Max Decay"; which statistic was taken is not stated, this one is ours.
    """
    quarter = max(1, mass.shape[-1] // 4)
    return _highest(mass[:, :quarter].nanmean(-1) - mass[:, -quarter:].nanmean(-1), count)


def _highest(values: Tensor, count: int) -> tuple[int, ...]:
    known = values.isfinite()
    if not 1 <= count <= int(known.sum()):
        raise InvalidConfig(f"{count} layers are asked for, but {int(known.sum())} have a measured attention mass.")
    return tuple(sorted(values.masked_fill(~known, -math.inf).topk(count).indices.tolist()))
