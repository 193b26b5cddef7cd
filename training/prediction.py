"""What does a model say about one pair, and how do several such answers become one?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ingest.chips import Chip, iter_chips
from ingest.grid import Grid
from ingest.pixels import AlignedPair
from reports.compose import compose
from reports.finding import Certainty, Finding
from reports.mosaic import Box, PartFindings, merge_parts
from reports.vocabulary import Domain

#: Chips that are held and reported on at once.
CHIPS_AT_ONCE = 16

#: Cells of the evidence map of a scene along its longer side, at most.
_EVIDENCE_CELLS = 128


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one aligned pair.

    Attributes:
        text: The report, composed of the findings with their certainty.
        findings: What was found, in report order.
        evidence: Update map, (rows, columns) float32: how much the prior changed each token of the current.
        raw_output: What was generated, before parsing.
        unparsed: Sentences of the raw output that are no finding.
        quality: What was looked at of a scene that was cut into chips: `chips`, `chips_unclear` (left out) and
            `compared_share`, the share of the scene that is valid in both dates and lies in the others. Empty where
            all was looked at at once.
    """

    text: str
    findings: tuple[Finding, ...]
    evidence: NDArray[np.float32]
    raw_output: str
    unparsed: tuple[str, ...]
    quality: dict[str, float] = field(default_factory=dict)


def surest_findings(reports: Iterable[Sequence[Finding]]) -> tuple[Finding, ...]:
    """Each finding at each place once, in the order in which they appear: of several the first of the surest."""
    order = list(Certainty)
    surest: dict[tuple[str, str], Finding] = {}
    for finding in (one for report in reports for one in report):
        known = surest.setdefault((finding.finding, finding.place), finding)
        if order.index(finding.certainty) < order.index(known.certainty):
            surest[finding.finding, finding.place] = finding
    return tuple(surest.values())


def whole_grid(aligned: AlignedPair) -> Grid:
    """Where the whole of a pair lies at native resolution, held at once or not."""
    return aligned.current.grid if aligned.native is None else aligned.native.grid


def report_by_chips(
    aligned: AlignedPair,
    domain: Domain,
    *,
    chip_size: int,
    report: Callable[[Sequence[AlignedPair]], Sequence[Prediction]],
) -> Prediction:
    """One report on a scene that is larger than what a model is shown at once.

    What several chips see is merged on the map; where two things of one kind and place changed differently, the report
    holds the one that is surest. Memory holds one strip of the scene and `CHIPS_AT_ONCE` chips.

    Args:
        aligned: The pair.
        domain: A domain whose places are places of the picture.
        chip_size: Side of a chip in native pixels.
        report: Reports on chips.

    Raises:
        IngestError: A file cannot be read any more.
    """
    grid = whole_grid(aligned)
    evidence = _Mosaic(grid.shape)
    parts: list[PartFindings] = []
    raw: list[str] = []
    unparsed: list[str] = []
    n_chips = 0
    chips = iter_chips(aligned, size=chip_size)
    while batch := list(islice(chips, CHIPS_AT_ONCE)):
        n_chips += len(batch)
        clear = [chip for chip in batch if chip.is_clear]
        for chip, said in zip(clear, report([chip.pair for chip in clear]) if clear else (), strict=True):
            box = Box(top=chip.rows.start, left=chip.columns.start, bottom=chip.rows.stop, right=chip.columns.stop)
            parts.append(PartFindings(box=box, findings=said.findings))
            raw.append(said.raw_output)
            unparsed.extend(said.unparsed)
            evidence.add(chip, said.evidence)
    findings = surest_findings([merge_parts(grid.shape, parts)])
    return Prediction(
        text=compose(domain, findings),
        findings=findings,
        evidence=evidence.values,
        raw_output="\n".join(raw),
        unparsed=tuple(unparsed),
        quality={
            "chips": float(n_chips),
            "chips_unclear": float(n_chips - len(parts)),
            "compared_share": float(evidence.is_seen.mean()),
        },
    )


class _Mosaic:
    """Evidence of the whole in cells of equal size; where chips overlap, the stronger evidence stays."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._cell = max(1.0, max(shape) / _EVIDENCE_CELLS)
        cells = max(1, round(shape[0] / self._cell)), max(1, round(shape[1] / self._cell))
        self.values: NDArray[np.float32] = np.zeros(cells, dtype=np.float32)
        self.is_seen: NDArray[np.bool_] = np.zeros(cells, dtype=np.bool_)

    def add(self, chip: Chip, evidence: NDArray[np.float32]) -> None:
        """Puts a chip's (rows, columns) evidence at its place, by the token at the middle of each cell."""
        rows, middles_down = self._cells(chip.rows, self.values.shape[0])
        columns, middles_right = self._cells(chip.columns, self.values.shape[1])
        region = np.ix_(rows, columns)
        height, width = chip.pair.current.grid.shape
        tokens = np.ix_(
            (middles_down / height * evidence.shape[0]).astype(np.intp),
            (middles_right / width * evidence.shape[1]).astype(np.intp),
        )
        self.values[region] = np.maximum(self.values[region], evidence[tokens])
        both = chip.pair.prior.valid & chip.pair.current.valid
        self.is_seen[region] |= both[np.ix_(middles_down.astype(np.intp), middles_right.astype(np.intp))]

    def _cells(self, part: slice, n_cells: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Cells whose middle lies in a part along one side, and how far from the part's beginning, in pixels."""
        middles = (np.arange(n_cells) + 0.5) * self._cell
        cells = np.flatnonzero((middles >= part.start) & (middles < part.stop))
        return cells, middles[cells] - part.start
