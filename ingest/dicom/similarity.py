"""Which turn, shift and scale lays one radiograph on another?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: Pixels along the side of the copies that are compared.
SIZE = 96
#: What may move: turn and shift; or scale too.
Freedom = Literal["rigid", "similarity"]

#: Largest turn in degrees, natural logarithm of the largest scale, largest shift as a share of the side: what lies
#: beyond them is not one body part in one projection on two films any more.
LARGEST_TURN_DEG = 15.0
LARGEST_LOG_SCALE = 0.35
LARGEST_SHIFT = 0.25
#: Turns in degrees and logarithms of scales from which the search starts; every shift is tried with each.
_TURNS_DEG = (-4.0, 0.0, 4.0)
_LOG_SCALES = tuple(float(one) for one in np.linspace(-0.25, 0.25, 9))
#: Size of the copies on which every start is tried, and the side of the window within which contrast is levelled there.
_SEARCH_SIZE, _SEARCH_WINDOW = 48, 13
#: Standard deviation of display values in a window below which its contrast counts as noise.
_NOISE = 0.02
#: The climb from the best start: size of the copies, steps, and length of the first (share of half the side, radians).
_CLIMB_SIZE, _CLIMB_STEPS, _CLIMB_LENGTH = 48, 10, 0.01
#: Steps of least squares on the full copies; each divides the error by several, after three nothing moves.
_LAST_STEPS = 3
#: Longest such step, in the numbers of `_affine`.
_LAST_LENGTH = 0.05
#: Window of the local correlation, in pixels: a rib and the space beside it.
_WINDOW = 9


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Position in the prior = matrix @ position in the current + shift, and how well they fit.

    Attributes:
        matrix: (2, 2), rows then columns: a turn times a scale.
        shift: Rows then columns, as shares of the copies' side, positions counted from its centre.
        scale: Length in the prior for one in the current.
        turn_deg: Angle of the turn.
        before: Squared local cross-correlation as the two lay before, mean over the body that both show, 0 to 1.
        after: The same with the fit.
        inconsistency: Largest distance, as a share of the side, between a corner of the middle 60 % and the place to
            which it returns by way of this fit and the fit found independently for the two images exchanged.
        within_limits: False if turn, scale or shift was held back by its limit.
    """

    matrix: NDArray[np.float64]
    shift: tuple[float, float]
    scale: float
    turn_deg: float
    before: float
    after: float
    inconsistency: float
    within_limits: bool


def register(
    prior: NDArray[np.float32],
    prior_weight: NDArray[np.float32],
    current: NDArray[np.float32],
    current_weight: NDArray[np.float32],
    *,
    freedom: Freedom,
    device: str = "cpu",
) -> list[Similarity]:
    """Fits of N pairs at once: all shifts from several turns and scales, then uphill on the local cross-correlation.

    The search multiplies the two, each with its contrast levelled locally, for all shifts by Fourier transform. The
    best start climbs MONAI's local normalised cross-correlation, and least squares on the levelled images find the
    last fraction of a pixel. Each pair is fitted in both directions, independently of each other. Nothing is random.

    Args:
        prior: (N, 96, 96) display values.
        prior_weight: (N, 96, 96) in [0, 1], how much each pixel counts.
        current: As `prior`.
        current_weight: As `prior_weight`.
        freedom: Whether scale may change.
        device: A torch device. One that is not there is torch's error; there is no other in its stead.

    Source: Avants et al., Med Image Anal 12 (2008) 26 to 41 (local cross-correlation); Christensen and Johnson, IEEE
    Trans Med Imaging 20 (2001) 568 to 582 (consistency with the inverse).
    """
    import torch

    def stack(one: NDArray[np.float32], other: NDArray[np.float32]) -> Tensor:
        # Both directions are one batch: N times forward, then N times backward. (2N, 1, 96, 96)
        return torch.from_numpy(np.concatenate([one, other]).astype(np.float32)).to(device)[:, None]

    moving = torch.cat([stack(prior, current), stack(prior_weight, current_weight)], dim=1)
    fixed = torch.cat([stack(current, prior), stack(current_weight, prior_weight)], dim=1)
    values = _search(_at_size(moving, _SEARCH_SIZE), _at_size(fixed, _SEARCH_SIZE), freedom)
    values = _climb(values, _at_size(moving, _CLIMB_SIZE), _at_size(fixed, _CLIMB_SIZE), freedom)
    with torch.no_grad():
        values = _finish(values, moving, fixed, freedom)
        before = _correlation(torch.zeros_like(values), moving, fixed).cpu().numpy()
        after = _correlation(values, moving, fixed).cpu().numpy()
        held = (values.abs() >= _limits(values) * (1 - 1e-6)).any(dim=1).cpu().numpy()
        affine = _affine(values).double().cpu().numpy()
    numbers = values.double().cpu().numpy()
    count = len(prior)
    return [
        Similarity(
            # Torch has columns before rows.
            matrix=affine[index, ::-1, 1::-1].copy(),
            shift=(float(numbers[index, 3]) / 2, float(numbers[index, 2]) / 2),
            scale=float(np.exp(numbers[index, 0])),
            turn_deg=float(np.degrees(numbers[index, 1])),
            before=float(before[index]),
            after=float(after[index]),
            inconsistency=_inconsistency(affine[index], affine[count + index]),
            within_limits=not bool(held[index]),
        )
        for index in range(count)
    ]


def _affine(values: Tensor) -> Tensor:
    """(B, 4) logarithm of scale, turn in radians, shift right and down in half sides; to (B, 2, 3), columns first."""
    import torch

    scale = torch.exp(values[:, 0])
    cos, sin = scale * torch.cos(values[:, 1]), scale * torch.sin(values[:, 1])
    return torch.stack(
        [torch.stack([cos, -sin, values[:, 2]], dim=1), torch.stack([sin, cos, values[:, 3]], dim=1)], dim=1
    )


def _limits(values: Tensor) -> Tensor:
    return values.new_tensor([LARGEST_LOG_SCALE, np.radians(LARGEST_TURN_DEG), 2 * LARGEST_SHIFT, 2 * LARGEST_SHIFT])


def _moved(values: Tensor, moving: Tensor) -> Tensor:
    """(B, C, S, S) seen through the fits, 0 outside."""
    from torch.nn import functional

    where = functional.affine_grid(_affine(values), list(moving.shape), align_corners=False)
    return functional.grid_sample(moving, where, align_corners=False, padding_mode="zeros")


def _at_size(images: Tensor, size: int) -> Tensor:
    from torch.nn import functional

    return images if images.shape[-1] == size else functional.adaptive_avg_pool2d(images, size)


def _search(moving: Tensor, fixed: Tensor, freedom: Freedom) -> Tensor:
    """(B, 4): the best of all shifts from every start. `moving` and `fixed` are (B, 2, S, S), values and weights."""
    import torch

    size = fixed.shape[-1]
    # Room for the longest shift on one side; more is not needed, since a transform wraps around.
    padded = size + round(LARGEST_SHIFT * size)
    scales = _LOG_SCALES if freedom == "similarity" else (0.0,)
    starts = moving.new_tensor([[scale, np.radians(turn), 0.0, 0.0] for scale in scales for turn in _TURNS_DEG])
    levelled = _levelled(moving, _SEARCH_WINDOW)
    target = torch.fft.rfft2(_levelled(fixed, _SEARCH_WINDOW), s=(padded, padded)).conj()
    scores = []
    for start in starts:
        placed = _moved(start.expand(len(moving), -1), levelled)
        products = torch.fft.irfft2(torch.fft.rfft2(placed, s=(padded, padded)) * target, s=(padded, padded))
        # Half the mean over what both show, half over all: neither a sliver that fits well nor mere overlap wins.
        shared = products[:, 1].clamp(min=0) + fixed[:, 1].sum(dim=(1, 2))[:, None, None]
        scores.append(products[:, 0] / shared.clamp(min=1))
    reach = round(LARGEST_SHIFT * size) - 1
    shifts = torch.arange(-reach, reach + 1, device=moving.device)
    within = torch.stack(scores, dim=1)[:, :, shifts][:, :, :, shifts]  # (B, starts, shifts down, shifts right)
    best = within.flatten(1).argmax(dim=1)
    values = starts[best // len(shifts) ** 2].clone()
    down, right = shifts[best // len(shifts) % len(shifts)], shifts[best % len(shifts)]
    # The shift was found behind turn and scale; in the fit it comes after them.
    shift = torch.stack([right, down], dim=1).to(values) * 2 / size
    values[:, 2:] = (_affine(values)[:, :, :2] @ shift[:, :, None])[:, :, 0]
    return values


def _levelled(images: Tensor, window: int) -> Tensor:
    """Values less their local mean, over their local deviation, times the weight; and the weight."""
    import torch
    from torch.nn import functional

    values, weight = images[:, :1], images[:, 1:]

    def mean(one: Tensor) -> Tensor:
        # Along one axis after the other: a fraction of the work of the square window.
        rows = functional.avg_pool2d(one, (window, 1), 1, (window // 2, 0))
        return functional.avg_pool2d(rows, (1, window), 1, (0, window // 2))

    share = mean(weight).clamp(min=1e-3)
    middle = mean(values * weight) / share
    variance = (mean(values * values * weight) / share - middle * middle).clamp(min=0)
    return torch.cat([(values - middle) / torch.sqrt(variance + _NOISE**2) * weight, weight], dim=1)


def _climb(values: Tensor, moving: Tensor, fixed: Tensor, freedom: Freedom) -> Tensor:
    """The fits a few steps up the gradient of the local correlation, within the limits."""
    import torch

    limits = _limits(values)
    values = torch.clamp(values, -limits, limits).requires_grad_()
    optimiser = torch.optim.Adam([values], lr=_CLIMB_LENGTH)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _CLIMB_STEPS)
    for _ in range(_CLIMB_STEPS):
        optimiser.zero_grad()
        # One pair's figure depends on its own numbers only, so the sum's gradient holds that of each.
        (-_correlation(values, moving, fixed).sum()).backward()  # type: ignore[no-untyped-call]
        if freedom == "rigid" and values.grad is not None:
            values.grad[:, 0] = 0.0
        optimiser.step()
        slower.step()
        with torch.no_grad():
            values.clamp_(-limits, limits)
    return values.detach()


def _finish(values: Tensor, moving: Tensor, fixed: Tensor, freedom: Freedom) -> Tensor:
    """The fits after a few Gauss-Newton steps on the difference of the levelled images, within the limits."""
    import torch

    limits = _limits(values)
    size = fixed.shape[-1]
    places = (torch.arange(size, device=values.device, dtype=values.dtype) * 2 + 1) / size - 1
    down, right = torch.meshgrid(places, places, indexing="ij")
    target = _levelled(fixed, _WINDOW)
    values = values.clone()
    for _ in range(_LAST_STEPS):
        placed = _levelled(_moved(values, moving), _WINDOW)
        slope_down, slope_right = torch.gradient(placed[:, 0], spacing=2 / size, dim=(1, 2))
        # How the moved image changes with each number: scale and turn move a place along and across its radius; a
        # shift counts in the coordinates behind turn and scale.
        behind = torch.linalg.inv(_affine(values)[:, :, :2]).transpose(1, 2)[:, :, :, None, None]
        changes = torch.stack(
            [
                slope_right * right + slope_down * down,
                slope_down * right - slope_right * down,
                behind[:, 0, 0] * slope_right + behind[:, 0, 1] * slope_down,
                behind[:, 1, 0] * slope_right + behind[:, 1, 1] * slope_down,
            ],
            dim=-1,
        )
        if freedom == "rigid":
            changes[..., 0] = 0.0
        weight = (placed[:, 1] * target[:, 1]).flatten(1)[:, :, None]
        slopes = changes.flatten(1, 2) * weight  # (B, pixels, numbers)
        rest = (target[:, 0] - placed[:, 0]).flatten(1)[:, :, None] * weight
        normal = slopes.transpose(1, 2) @ slopes
        # Damped, so that a direction in which nothing changes (a uniform image, a scale that is kept) is left alone.
        normal = normal + torch.diag_embed(1e-3 * normal.diagonal(dim1=1, dim2=2) + 1e-6)
        step = torch.linalg.solve(normal, slopes.transpose(1, 2) @ rest)[:, :, 0]
        values = torch.clamp(values + step.clamp(-_LAST_LENGTH, _LAST_LENGTH), -limits, limits)
    return values


def _correlation(values: Tensor, moving: Tensor, fixed: Tensor) -> Tensor:
    """(B,): squared local cross-correlation, 0 to 1, mean over the body that both show."""
    from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss

    loss = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=2, kernel_size=_WINDOW, reduction="none", smooth_dr=_WINDOW**2 * _NOISE**2
    )
    placed = _moved(values, moving)
    weight = placed[:, 1:] * fixed[:, 1:]
    mapped: Tensor = loss(placed[:, :1], fixed[:, :1])
    return -(mapped * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1)


def _inconsistency(forward: NDArray[np.float64], backward: NDArray[np.float64]) -> float:
    corners = np.array([(x, y) for x in (-0.6, 0.6) for y in (-0.6, 0.6)])
    there = corners @ forward[:, :2].T + forward[:, 2]
    back = there @ backward[:, :2].T + backward[:, 2]
    return float(np.hypot(*(back - corners).T).max() / 2)
