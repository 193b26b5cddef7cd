"""Lists give every row once whatever the page size, writes may be repeated, and nothing is overwritten."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.grid import Grid
from ingest.pairing import Pair, make_pair
from reports.change import Change
from reports.finding import Finding
from reports.vocabulary import Domain
from services import repository, store
from services.database import Database, ReadSession
from services.errors import InvalidCursor, InvalidLimit, RecordNotFound
from services.identity import ModelIdentity
from services.paging import Page, decode_cursor, encode_cursor
from services.schema import upgrade_database
from services.tables import Finding as FindingRow
from services.tables import Report

IDENTITY = ModelIdentity(name="one", model_hash="m", adapter_hash="a", prompt_version="1")
SUBJECTS = 4
VISITS = 3


def make_acquisition(subject: int, visit: int, domain: Domain) -> Acquisition:
    name = f"{domain}/{subject}/{visit}.tif"
    return Acquisition(
        id=f"uid {name}",
        domain=domain,
        subject=f"subject:{subject}",
        time=datetime(2020, 1, 1) + timedelta(days=visit),
        time_source="tag",
        path=Path("/archive") / name,
        name=name,
        sha256=f"sha {name}",
        pixel_sha256="",
        grid=Grid(affine=(1, 0, 0, 0, 1, 0), height=4, width=4, frame="f"),
    )


def make_pairs() -> list[Pair]:
    pairs = []
    for domain in Domain:
        for subject in range(SUBJECTS):
            visits = [make_acquisition(subject, visit, domain) for visit in range(VISITS)]
            pairs += [make_pair(one, two, reason="latest") for one, two in pairwise(visits)]
    return pairs


def make_prediction(predictors: ModuleType, domain: Domain, number: int) -> Any:
    finding, places = (
        ("edema", ("left", "right")) if domain is Domain.RADIOLOGY else ("road", ("north-west", "south-east"))
    )
    change = list(Change)[number % 5]
    findings = tuple(Finding(domain=domain, finding=finding, place=place, change=change) for place in places)
    return predictors.QuadrantPrediction(
        text=f"text {number}", findings=findings, evidence=np.full((2, 3), number / 4, np.float32), raw_output="raw"
    )


def put_report(database: Database, pair_id: str, prediction: Any, identity: ModelIdentity = IDENTITY) -> bool:
    with database.read() as session:
        row = repository.get_pair(session, pair_id)
    with database.write() as session:
        return store.put_report(
            session,
            pair=row,
            identity=identity,
            prediction=prediction,
            quality={"share": 1.0},
            warnings=[],
            provenance={},
            prior_jpeg=b"p",
            current_jpeg=b"c",
        )


def fill(database: Database, predictors: ModuleType) -> list[str]:
    pairs = make_pairs()
    with database.write() as session:
        archive = store.put_archive(
            session,
            root="/archive",
            name="archive",
        )
        store.put_counts(session, archive, files_seen=30, sidecars=1)
        store.put_acquisitions(
            session, archive, {one.id: one for pair in pairs for one in (pair.prior, pair.current)}.values()
        )
        store.put_pairs(session, archive, pairs)
        store.put_refusals(
            session,
            archive,
            [Refusal(item=f"{n}.bin", level="file", code=("A", "B")[n % 2], reason="It is so.") for n in range(7)],
        )
    keys = [store.pair_key(archive, pair) for pair in pairs]
    for number, (pair, key) in enumerate(zip(pairs, keys, strict=True)):
        put_report(database, key, make_prediction(predictors, Domain(pair.domain), number))
    return keys


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, predictors: ModuleType) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('filled') / 'interval.sqlite'}")
    upgrade_database(database)
    fill(database, predictors)
    yield database
    database.dispose()


LISTS: dict[str, Callable[..., Page[Any]]] = {
    "archive": repository.list_archives,
    "acquisition": repository.list_acquisitions,
    "pair": repository.list_pairs,
    "report": repository.list_reports,
    "finding": repository.list_findings,
    "refusal": repository.list_refusals,
    "audit": repository.list_audits,
}


def read_all(session: ReadSession, listing: Callable[..., Page[Any]], limit: int, **filters: Any) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        page = listing(session, cursor=cursor, limit=limit, **filters)
        assert len(page.items) <= limit
        keys += [row.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return keys


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(LISTS)), limit=st.integers(1, 40))
def test_pages_of_any_size_give_each_row_once_and_in_one_order(filled: Database, name: str, limit: int) -> None:
    with filled.read() as session:
        whole = read_all(session, LISTS[name], 1000)
        expected = repository.count_rows(session)[name]

        assert read_all(session, LISTS[name], limit) == whole
        assert len(set(whole)) == len(whole) == expected


def test_both_databases_give_the_same_rows(database: Database, filled: Database, predictors: ModuleType) -> None:
    fill(database, predictors)

    with database.read() as here, filled.read() as there:
        for listing in LISTS.values():
            assert set(read_all(here, listing, 5)) == set(read_all(there, listing, 5))


def test_a_row_that_arrives_between_two_pages_hides_and_repeats_none(
    database: Database, predictors: ModuleType
) -> None:
    keys = fill(database, predictors)
    with database.read() as session:
        first = repository.list_reports(session, limit=5)
    before = make_acquisition(-1, 0, Domain.RADIOLOGY), make_acquisition(-1, 1, Domain.RADIOLOGY)
    new = make_pair(*(replace(one, subject="subject:") for one in before), reason="latest")
    with database.write() as session:
        archive = store.archive_key("/archive")
        store.put_acquisitions(session, archive, before)
        store.put_pairs(session, archive, [new])
    put_report(database, store.pair_key(archive, new), make_prediction(predictors, Domain.RADIOLOGY, 1))

    with database.read() as session:
        rest = repository.list_reports(session, limit=1000, cursor=first.next_cursor)

    assert {row.pair_id for row in (*first.items, *rest.items)} == set(keys)
    assert len(first.items) + len(rest.items) == len(keys)


@pytest.mark.parametrize(
    ("listing", "filters", "column", "expected"),
    [
        ("pair", {"domain": "satellite"}, "domain", {"satellite"}),
        ("pair", {"subject": "subject:2"}, "subject", {"subject:2"}),
        ("finding", {"finding": "road"}, "domain", {"satellite"}),
        ("finding", {"change": "worse", "place": "left"}, "place", {"left"}),
        ("refusal", {"code": "B"}, "code", {"B"}),
        ("acquisition", {"subject": "subject:1", "domain": "radiology"}, "subject", {"subject:1"}),
    ],
)
def test_filters_give_what_they_name_and_all_of_it(
    filled: Database, listing: str, filters: dict[str, str], column: str, expected: set[str]
) -> None:
    with filled.read() as session:
        found = LISTS[listing](session, limit=1000, **filters).items
        whole = LISTS[listing](session, limit=1000).items

    names = {key for key in filters if hasattr(whole[0], key)}
    wanted = [row.id for row in whole if all(getattr(row, key) == filters[key] for key in names)]
    assert [row.id for row in found] == wanted
    assert {getattr(row, column) for row in found} == expected


def test_findings_can_be_asked_for_by_subject(filled: Database) -> None:
    with filled.read() as session:
        found = repository.list_findings(session, subject="subject:3", limit=1000).items

    assert {row.report.pair.subject for row in found} == {"subject:3"}
    assert len(found) == 2 * (VISITS - 1) * len(Domain)


def test_a_listed_report_has_its_findings_and_files_but_not_its_images(filled: Database) -> None:
    from sqlalchemy.exc import InvalidRequestError

    with filled.read() as session:
        row = repository.list_reports(session, limit=1).items[0]

        assert [one.ordinal for one in row.findings] == [0, 1]
        assert row.pair.prior.name.endswith("0.tif")
        with pytest.raises(InvalidRequestError):
            _ = row.evidence


def test_a_whole_report_has_its_images_and_evidence(filled: Database) -> None:
    with filled.read() as session:
        listed = repository.list_reports(session, limit=3).items[2]
        row = repository.get_report(session, listed.id)

    number = int(row.text.split()[1])
    assert (row.prior_jpeg, row.current_jpeg) == (b"p", b"c")
    np.testing.assert_array_equal(repository.evidence_map(row), np.full((2, 3), number / 4, np.float32))


@pytest.mark.parametrize(
    "get",
    [
        repository.get_archive, repository.get_pair, repository.get_report, repository.get_finding,
        repository.get_refusal, repository.get_audit,
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(filled: Database, get: Callable[[ReadSession, str], object]) -> None:
    with filled.read() as session, pytest.raises(RecordNotFound, match="nothing-like-it"):
        get(session, "nothing-like-it")


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")) | st.integers(-(2**63), 2**63 - 1),
        max_size=4,
    )
)
def test_a_cursor_carries_its_key(values: list[str | int]) -> None:
    assert decode_cursor(encode_cursor(values)) == values


@given(st.text(max_size=40))
def test_any_text_as_cursor_is_a_page_or_a_clear_refusal(text: str) -> None:
    try:
        decoded = decode_cursor(text)
    except InvalidCursor:
        return
    assert all(type(value) in (str, int) for value in decoded)


@pytest.mark.parametrize("cursor", ["", "x", encode_cursor([1, 2]), encode_cursor(["a", "b", "c", "d", "e"])])
def test_a_cursor_of_another_list_is_refused(filled: Database, cursor: str) -> None:
    with filled.read() as session, pytest.raises(InvalidCursor):
        repository.list_findings(session, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_an_impossible_page_size_is_refused(filled: Database, limit: int) -> None:
    with filled.read() as session, pytest.raises(InvalidLimit):
        repository.list_pairs(session, limit=limit)


def test_storing_everything_twice_writes_nothing_new(
    database: Database,
    predictors: ModuleType,
    content_of: Callable[[str], dict[str, list[tuple[object, ...]]]],
) -> None:
    url = database.url.render_as_string(hide_password=False)
    fill(database, predictors)
    before = content_of(url)

    fill(database, predictors)

    assert content_of(url) == before


def test_a_report_that_is_there_keeps_its_words(database: Database, predictors: ModuleType) -> None:
    key = fill(database, predictors)[0]
    other = replace(make_prediction(predictors, Domain.RADIOLOGY, 3), text="something else", findings=())

    added = put_report(database, key, other)

    with database.read() as session:
        row = repository.get_report(session, IDENTITY.report_id(key))
    assert not added
    assert row.text == "text 0"
    assert len(row.findings) == 2


def test_another_model_makes_another_report_of_the_same_pair(database: Database, predictors: ModuleType) -> None:
    key = fill(database, predictors)[0]
    second = replace(IDENTITY, adapter_hash="b")

    assert put_report(database, key, make_prediction(predictors, Domain.RADIOLOGY, 0), second)

    with database.read() as session:
        assert len(repository.list_reports(session, pair_id=key).items) == 2
        assert repository.list_models(session) == [IDENTITY, second]


def test_a_report_is_written_with_all_its_findings_or_not_at_all(database: Database, predictors: ModuleType) -> None:
    key = fill(database, predictors)[0]
    broken = make_prediction(predictors, Domain.RADIOLOGY, 0)
    bad = replace(broken, findings=(*broken.findings, object()))

    with pytest.raises(AttributeError):
        put_report(database, key, bad, replace(IDENTITY, adapter_hash="c"))

    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Report).where(Report.adapter_hash == "c")) == 0
        assert (
            session.scalar(select(func.count()).select_from(FindingRow)) == 2 * repository.count_rows(session)["pair"]
        )


def test_a_refusal_that_a_later_index_no_longer_gives_goes(database: Database, predictors: ModuleType) -> None:
    fill(database, predictors)
    archive = store.archive_key("/archive")
    present = store.Present()
    kept = Refusal(item="1.bin", level="file", code="B", reason="It is so.")
    present.refusals.add(store.refusal_key(archive, kept, ""))

    with database.write() as session:
        store.drop_stale(session, archive, present)

    with database.read() as session:
        assert [row.item for row in repository.list_refusals(session).items] == ["1.bin"]


def test_what_was_reported_stays_and_what_is_gone_without_a_report_goes(
    database: Database, predictors: ModuleType
) -> None:
    keys = fill(database, predictors)
    archive = store.archive_key("/archive")
    first, second = (replace(make_acquisition(9, visit, Domain.RADIOLOGY), subject="new") for visit in range(2))
    pair = make_pair(first, second, reason="latest")
    with database.write() as session:
        store.put_acquisitions(session, archive, [first, second])
        store.put_pairs(session, archive, [pair])
        store.put_refusals(
            session,
            archive,
            [Refusal(item=store.pair_key(archive, pair), level="pair", code="X", reason="So.")],
            work="w",
        )
        before = repository.count_rows(session)
        present = store.Present()
        present.acquisitions.add(store.acquisition_key(archive, second))

        store.drop_stale(session, archive, present)

        after = repository.count_rows(session)
        assert {row.id for row in repository.list_pairs(session, limit=1000).items} == set(keys)
        # The second one of the pair is still in the archive, though the pair is not.
        assert after["acquisition"] == before["acquisition"] - 1
        assert after["refusal"] == 0
        assert after["report"] == before["report"]
