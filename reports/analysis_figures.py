"""How are analyses of a model drawn? As SVG files; equal numbers give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reports.bootstrap import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Layers that are named in a figure of lines; more are told apart by the colour scale alone.
_NAMED: Final = 10


def draw_attention(mass: NDArray[np.float32], path: Path) -> None:
    """Visual attention mass and text-to-visual ratio of each layer over the steps of decoding, both axes logarithmic.

    A power law is a straight line there. The thick lines are means over a twentieth of the steps. Layers without
    attention are left out.

    Args:
        mass: (layers, steps), NaN where there is no attention.
        path: Of the SVG file.
    """
    import numpy as np

    with _figure(path, 2, (9, 3.6)) as (figure, (left, right)):
        steps = np.arange(1, mass.shape[1] + 1)
        layers = [index for index, row in enumerate(mass) if np.isfinite(row).any()]
        colours = _colours(len(layers))
        for layer, colour in zip(layers, colours, strict=True):
            for axes, values in ((left, mass[layer]), (right, (1 - mass[layer]) / mass[layer])):
                axes.plot(steps, values, color=colour, lw=0.5, alpha=0.3)
                axes.plot(*_smoothed(steps, values), color=colour, lw=1.6, label=f"layer {layer}")
        left.set(xscale="log", yscale="log", xlabel="decoding step", ylabel="visual attention mass")
        right.set(xscale="log", yscale="log", xlabel="decoding step", ylabel="text-to-visual ratio")
        _legend(figure, left, layers, "layer")


def draw_lens(profiles: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """KL divergence of each layer's reading from the last layer's, a line for each name; the last one's 0 is left out.

    Args:
        profiles: (layers + 1) nats, the decoder's input first.
        path: Of the SVG file.
    """
    with _figure(path, 1, (5.5, 3.4)) as (_, (axes,)):
        for (name, profile), colour in zip(profiles.items(), _colours(len(profiles)), strict=True):
            axes.plot(range(len(profile) - 1), profile[:-1], "o-", color=colour, label=name, ms=3)
        axes.set(xlabel="behind layer (0: input of the decoder)", ylabel="KL to the last layer, nats", yscale="log")
        axes.set_xticks(range(0, len(profile) - 1, max(1, len(profile) // 12)))
        axes.legend(frameon=False)


def draw_gates(steps: Sequence[int], gates: Mapping[str, Sequence[float]], path: Path) -> None:
    """The gate of each layer over the steps of training.

    Args:
        steps: Of the lines of the run's metrics.
        gates: For each layer its gate at each of them.
        path: Of the SVG file.
    """
    with _figure(path, 1, (5.5, 3.4)) as (_, (axes,)):
        axes.axhline(0, color="#999999", lw=0.8)
        for (name, values), colour in zip(gates.items(), _colours(len(gates)), strict=True):
            axes.plot(steps, values, color=colour, label=f"layer {name.removeprefix('pvm.')}")
        axes.set(xlabel="step of training", ylabel="gate")
        axes.legend(frameon=False)


def draw_retrieval(
    sentences: Sequence[tuple[str, NDArray[np.float32], NDArray[np.float32]]],
    prior: NDArray[np.uint8],
    current: NDArray[np.uint8],
    path: Path,
) -> None:
    """Where each sentence was read from: a row a sentence, prior beside current, one colour scale in a row.

    Args:
        sentences: Each with its map (rows, columns) over the prior and over the current.
        prior: (S, S, 3) the prior as the model saw it.
        current: The same of the current.
        path: Of the SVG file.
    """
    import numpy as np

    with _figure(path, (len(sentences), 2), (5.6, 2.9 * len(sentences))) as (_, panels):
        for row, (sentence, *maps) in enumerate(sentences):
            highest = max(float(one.max()) for one in maps)
            share = float(maps[0].sum()), float(maps[1].sum())
            for column, (image, found) in enumerate(zip((prior, current), maps, strict=True)):
                axes = panels[2 * row + column]
                side = image.shape[0]
                axes.imshow(image.mean(-1).astype(np.uint8), cmap="gray", vmin=0, vmax=255, extent=(0, side, side, 0))
                axes.imshow(
                    found,
                    cmap="inferno",
                    vmin=0,
                    vmax=highest,
                    alpha=0.75 * np.clip(found / highest, 0, 1),
                    extent=(0, side, side, 0),
                    interpolation="nearest",
                )
                axes.set_axis_off()
                name = "prior" if column == 0 else "current"
                axes.set_title(f"{name}, {100 * share[column]:.0f} % of the reading", fontsize=8)
            panels[2 * row].text(
                0, -0.03, sentence, transform=panels[2 * row].transAxes, va="top", fontsize=8, fontweight="bold"
            )


def draw_controls(scores: Sequence[tuple[str, float | None, Interval | None]], path: Path) -> None:
    """A headline score under each condition, with its interval; a score that is undefined has no mark.

    Args:
        scores: Name, F1 and interval of each condition.
        path: Of the SVG file.
    """
    with _figure(path, 1, (6, 0.8 + 0.42 * len(scores))) as (_, (axes,)):
        for place, (_name, value, interval) in enumerate(reversed(scores)):
            if interval is not None:
                axes.plot([interval.low, interval.high], [place, place], color="#1b6ca8", lw=2)
            if value is not None:
                axes.plot(value, place, "o", color="#1b6ca8")
                axes.annotate(
                    f"{value:.3f}", (value, place), (0, 5), textcoords="offset points", ha="center", fontsize=8
                )
        axes.set_yticks(range(len(scores)), [name for name, _, _ in reversed(scores)])
        axes.set(xlabel="F1 of finding, place and change", xlim=(0, 1), ylim=(-0.5, len(scores) - 0.3))


@contextmanager
def _figure(path: Path, panels: int | tuple[int, int], size: tuple[float, float]) -> Iterator[tuple[Any, list[Any]]]:
    """A figure with its panels, row by row, that is written to the file in the end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows, columns = panels if isinstance(panels, tuple) else (1, panels)
    # Text stays text, and ids do not depend on the clock.
    with pyplot.rc_context({"svg.hashsalt": "interval", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        try:
            yield figure, list(axes.flat)
            figure.savefig(path, format="svg", metadata={"Date": None})
        finally:
            pyplot.close(figure)


def _smoothed(steps: NDArray[np.int64], values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over windows of a twentieth of the steps, and the steps in the middle of them."""
    import numpy as np

    width = max(1, len(steps) // 20)
    window = np.full(width, 1 / width)
    return np.convolve(steps, window, "valid"), np.convolve(values, window, "valid")


def _colours(count: int) -> list[Any]:
    """As many colours, from dark to light, none too light for white paper."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.85 * index / max(1, count - 1)) for index in range(count)]


def _legend(figure: Any, axes: Any, layers: Sequence[int], title: str) -> None:
    """Names of a few lines, or a colour scale where there are many."""
    if len(layers) <= _NAMED:
        axes.legend(frameon=False, fontsize=7)
        return
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    scale = LinearSegmentedColormap.from_list("layers", _colours(256))
    figure.colorbar(ScalarMappable(Normalize(layers[0], layers[-1]), scale), ax=figure.axes, label=title)
