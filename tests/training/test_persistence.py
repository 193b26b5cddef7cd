"""The experiment on long reports: its task, its counting, and that it goes on where it was stopped."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import TrainingError
from training.experiment import claim
from training.persistence.__main__ import run_all
from training.persistence.experiment import LENGTHS, THIRDS, VARIANTS, Result, Settings, result_file
from training.persistence.table import draw_figure, write_page
from training.persistence.task import (
    CELL_OF,
    CELLS,
    CLASSES,
    ID,
    VOCABULARY,
    batch,
    counts,
    draw_case,
    read_report,
    report_ids,
)

SMALL = Settings(tower_steps=2, start_steps=2, start_sentences=2, tune_steps=2, batch=2, test_images=2)


@given(st.integers(0, 999), st.integers(1, CELLS))
def test_a_report_says_what_its_case_holds_as_far_as_it_goes(seed: int, sentences: int) -> None:
    case = draw_case(np.random.default_rng(seed))
    reference = {rank: kind for rank, kind in case.findings().items() if rank < sentences}

    said = read_report(report_ids(case, sentences), case)

    assert said == reference
    assert counts(said, case.findings(), range(CELLS)) == (len(reference), len(reference), len(case.findings()))


def test_ranks_begin_at_the_cell_that_the_prompt_names() -> None:
    case = replace(draw_case(np.random.default_rng(0)), first=47)

    assert case.order()[:3] == [47, 48, 0]
    assert [CELL_OF[index] for index in report_ids(case, 3) if index in CELL_OF] == [47, 48, 0]
    prompt = batch([case])["input_ids"][0].tolist()
    assert VOCABULARY[prompt[prompt.index(ID["begin at"]) + 1]] == "cell 47"


def test_what_is_no_sentence_states_nothing_and_the_first_on_a_cell_counts() -> None:
    case = replace(draw_case(np.random.default_rng(0)), first=0)
    words = [
        "cell 3",
        "ring",
        ".",
        "cell 3",
        "line",
        ".",
        "ring",
        ".",
        "cell 4",
        "cell 5",
        "ring",
        ".",
        "cell 6",
        "clear",
        ".",
    ]

    assert read_report([ID[word] for word in (*words, "<end>", "cell 7", "ring", ".")], case) == {3: "ring"}


def test_a_wrong_kind_is_said_and_not_right() -> None:
    assert counts({0: "ring", 1: "line", 40: "ring"}, {0: "ring", 1: "ring", 2: "line"}, range(17)) == (1, 2, 3)


def test_early_middle_and_late_are_the_whole_report() -> None:
    assert [rank for ranks in THIRDS for rank in ranks] == list(range(CELLS))


def test_findings_are_equally_frequent_everywhere_in_the_report() -> None:
    rng = np.random.default_rng(3)
    cases = [draw_case(rng) for _ in range(400)]
    share = np.mean([[rank in case.findings() for rank in range(CELLS)] for case in cases], axis=0)

    assert np.abs(share - 0.6).max() < 0.12  # five standard deviations of 400 draws
    classes = np.bincount(np.concatenate([case.classes for case in cases]), minlength=len(CLASSES))
    np.testing.assert_allclose(classes[1:] / classes.sum(), 0.1, atol=0.01)


def test_only_reports_are_supervised() -> None:
    cases = [draw_case(np.random.default_rng(seed)) for seed in range(3)]
    inputs = batch(cases, 5)

    for row, case in zip(range(3), cases, strict=True):
        labels = inputs["labels"][row]
        assert labels[labels >= 0].tolist() == report_ids(case, 5)


def test_the_run_goes_on_where_it_was_stopped_and_writes_its_page(tmp_path: Path) -> None:
    results = run_all(tmp_path / "run", SMALL, [1])
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    gone = result_file(tmp_path / "run", "memory", "short", 1)
    before = Result.read(gone)
    gone.unlink()

    again = run_all(tmp_path / "run", SMALL, [1])

    assert {(one.variant, one.length) for one in results} == {(v, length) for v in VARIANTS for length in LENGTHS}
    assert all(path.stat().st_mtime_ns == time for path, time in written.items() if path != gone)
    assert replace(Result.read(gone), seconds=before.seconds) == before
    controls = {one.variant: one.parameters for one in again}
    assert controls["host"] < controls["mlp"]
    assert controls["memory"] == pytest.approx(controls["mlp"], abs=400)
    assert all(len(one.gates) == (0 if one.variant == "host" else 3) for one in again)

    draw_figure(again, tmp_path / "figure.svg")
    page = write_page(again, SMALL, "make it", "figure.svg")
    assert "![F1 by place in the report](figure.svg)" in page
    assert page.count("| host with PVM |") == 2
    assert "late less early" in page
    with pytest.raises(TrainingError, match="other settings"):
        claim(tmp_path / "run", replace(SMALL, tune_steps=3))


def test_f1_by_place_is_of_those_places_only(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    values = dict.fromkeys(("whole", "loss", "seconds"), 0.0) | {"variant": "host", "length": "short", "revision": "x"}
    right = [(1, 1, 1)] * 17 + [(0, 1, 1)] * 16 + [(0, 0, 1)] * 16
    path.write_text(
        json.dumps(
            {
                **values,
                "seed": 1,
                "counts": right,
                "looked_up": [1.0] * CELLS,
                "parameters": 1,
                "gates": [],
                "hardware": "x",
            }
        )
    )

    result = Result.read(path)

    assert [result.f1(ranks) for ranks in THIRDS] == [1, 0, 0]
    assert result.f1() == pytest.approx(2 * 17 / (33 + 49))
