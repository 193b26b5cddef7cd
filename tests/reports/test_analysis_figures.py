"""Figures of analyses: whole SVG files, the same bytes for the same numbers, with every name in them as text."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reports.analysis_figures import draw_attention, draw_controls, draw_gates, draw_lens, draw_retrieval
from reports.bootstrap import Interval

RNG = np.random.default_rng(0)
MASS = RNG.uniform(0.1, 0.9, size=(4, 40)).astype(np.float32)
MASS[1] = np.nan
IMAGE = RNG.integers(0, 255, size=(32, 32, 3), dtype=np.uint8)
MAP = np.full((4, 4), 1 / 32, dtype=np.float32)
INTERVAL = Interval(low=0.2, high=0.7, level=0.95, resamples=10, subjects=5)

FIGURES: list[tuple[Callable[[Path], None], list[str]]] = [
    (lambda path: draw_attention(MASS, path), ["layer 0", "layer 2", "visual attention mass", "text-to-visual ratio"]),
    (lambda path: draw_attention(np.tile(MASS[:1], (36, 1)), path), ["layer", "decoding step"]),
    (lambda path: draw_lens({"as it is": MASS[0], "gates closed": MASS[2]}, path), ["as it is", "gates closed"]),
    (lambda path: draw_gates([0, 25, 50], {"pvm.8": [0, 0.1, 0.2], "pvm.16": [0, -0.1, 0]}, path), ["layer 8", "gate"]),
    (
        lambda path: draw_retrieval([("A road is new.", MAP, MAP)], IMAGE, IMAGE, path),
        ["A road is new.", "prior, 50 %"],
    ),
    (
        lambda path: draw_controls([("as it is", 0.5, INTERVAL), ("wrong image", None, None)], path),
        ["as it is", "wrong image", "0.500"],
    ),
]


@pytest.mark.parametrize(("draw", "words"), FIGURES)
def test_a_figure_is_one_svg_with_its_names_and_the_same_each_time(
    draw: Callable[[Path], None], words: list[str], tmp_path: Path
) -> None:
    draw(tmp_path / "first.svg")
    draw(tmp_path / "second.svg")

    text = (tmp_path / "first.svg").read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    shown = " ".join(ET.fromstring(text).itertext())
    for word in words:
        assert word in shown
    assert (tmp_path / "second.svg").read_text() == text


def test_a_layer_without_attention_has_no_line(tmp_path: Path) -> None:
    draw_attention(MASS, tmp_path / "figure.svg")

    assert "layer 1" not in (tmp_path / "figure.svg").read_text()
