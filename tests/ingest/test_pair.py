from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.acquisition import Acquisition
from ingest.explain import explain
from ingest.index import UnknownDomain, index_archive
from ingest.pair import pair_acquisitions
from ingest.pairing import interval_in_days, make_pair, pair_id
from tests.ingest.radiograph_files import an_entry

START = datetime(2020, 1, 1)

times = st.one_of(
    st.none(),
    st.integers(0, 12).map(lambda hours: START + timedelta(hours=6 * hours)),
    st.integers(0, 12).map(lambda hours: START.replace(tzinfo=UTC) + timedelta(hours=6 * hours)),
)


@st.composite
def archives(draw: st.DrawFn) -> list[Acquisition]:
    """Up to twelve radiographs of two patients, as awkward as indexes get."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        time = draw(times)
        by_day = time is not None and time.hour == 0 and draw(st.booleans())
        made.append(
            an_entry(
                number,
                time=time,
                view=draw(st.sampled_from(["PA", "AP", "LATERAL", ""])),
                study=f"1.3.{draw(st.integers(0, 5))}",
                subject=f"patient:{draw(st.integers(0, 1))}",
                body_part=draw(st.sampled_from(["CHEST", "CHEST", "HAND", ""])),
                pixel_sha256=f"{draw(st.integers(0, 6)):064x}",
                time_precision="day" if by_day else "second",
                birth_key=draw(st.sampled_from(["a", "a", "b"])),
                longitudinal=draw(st.sampled_from(["", "", "REMOVED"])),
            )
        )
    return made


@given(archives())
def test_a_prior_is_earlier_than_its_current_and_of_the_same_patient(archive: list[Acquisition]) -> None:
    for pair in pair_acquisitions(archive).pairs:
        assert pair.interval_days > 0
        assert pair.prior.time is not None
        assert pair.current.time is not None
        assert interval_in_days(pair.prior.time, pair.current.time) == pair.interval_days
        assert pair.prior.subject == pair.current.subject
        assert pair.prior.study != pair.current.study
        assert (pair.prior.view == "LATERAL") == (pair.current.view == "LATERAL")
        assert pair.prior.pixel_sha256 != pair.current.pixel_sha256


@given(archives(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(archive: list[Acquisition], random: object) -> None:
    shuffled = archive.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert pair_acquisitions(shuffled) == pair_acquisitions(archive)


@given(archives())
def test_every_acquisition_is_accounted_for_once(archive: list[Acquisition]) -> None:
    pairing = pair_acquisitions(archive)
    named = [refusal.item for refusal in (*pairing.unpaired, *pairing.unused) if refusal.level == "acquisition"]
    currents = [pair.current.id for pair in pairing.pairs]
    refused_pairs = [refusal for refusal in pairing.unpaired if refusal.level == "pair"]

    assert len(named) + len(currents) + len(refused_pairs) == len(archive)
    assert len(set(named + currents)) == len(named) + len(currents)


@given(archives())
def test_a_study_is_reported_on_at_most_once_a_body_part(archive: list[Acquisition]) -> None:
    reported = [(pair.subject, pair.current.study, pair.current.group) for pair in pair_acquisitions(archive).pairs]

    assert len(reported) == len(set(reported))


@given(archives())
def test_explain_has_a_line_for_every_image(archive: list[Acquisition]) -> None:
    for subject in {acquisition.subject for acquisition in archive}:
        lines = explain(archive, subject)
        heads = sorted(line.split()[0] for line in lines if not line.startswith(" "))
        assert heads == sorted(one.name for one in archive if one.subject == subject)


def test_a_pairs_id_depends_on_both_files_and_on_their_order() -> None:
    one, other = an_entry(1), an_entry(2)
    ids = {
        pair_id(one, other),
        pair_id(other, one),
        pair_id(replace(one, sha256="0" * 64), other),
        pair_id(one, replace(other, id="1.2.9")),
    }

    assert len(ids) == 4
    assert pair_id(replace(one, name="moved.dcm", path=Path("/elsewhere")), other) in ids


def test_a_pair_cannot_be_made_backwards_across_patients_or_undated() -> None:
    one, other = an_entry(1, time=START), an_entry(2, time=START + timedelta(days=1))

    assert make_pair(one, other, reason="").interval_days == 1.0
    for prior, current in [
        (other, one),
        (one, one),
        (an_entry(3), other),
        (one, replace(other, subject="patient:2")),
    ]:
        with pytest.raises(ValueError, match="a pair needs"):
            make_pair(prior, current, reason="")


def test_an_acquisition_of_no_known_domain_is_an_error() -> None:
    with pytest.raises(UnknownDomain):
        pair_acquisitions([replace(an_entry(1), domain="dentistry")])


def test_real_files_pair_neither_across_modality_nor_view(shared_data: Path) -> None:
    index = index_archive(shared_data / "dicom", workers=2)

    pairing = pair_acquisitions(index.acquisitions)

    by_id = {acquisition.id: acquisition.name for acquisition in index.acquisitions}
    found = {by_id.get(refusal.item): refusal.code for refusal in (*pairing.unpaired, *pairing.unused)}
    # Of patient 77654033 there is one cervical spine study from three sides, and a CT that is no radiograph.
    assert not [pair for pair in pairing.pairs if "77654033" in pair.current.name]
    assert found["dx_image.dcm"] == "NO_PRIOR"
    # The two codings of one chest radiograph are two images of one study.
    assert not pairing.pairs
    assert len(pairing.unpaired) + len(pairing.unused) == len(index.acquisitions)
