"""What does the service answer?"""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

LISTS = {"/acquisitions": 22, "/pairs": 13, "/reports": 13, "/findings": 18, "/refusals": 7, "/audits": 2}


def items(client: TestClient, address: str, **query: Any) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.get(address, params={**query, **({"cursor": cursor} if cursor else {})}).json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_health_names_database_migration_and_models(client: TestClient) -> None:
    health = client.get("/health").json()

    assert health["status"] == "ok"
    assert health["database"] == "sqlite"
    assert health["migration"]
    assert health["models"] == [
        {"name": "compact", "model_hash": "a" * 32, "adapter_hash": "b" * 32, "prompt_version": "1"}
    ]


@pytest.mark.parametrize(("address", "count"), LISTS.items())
def test_a_list_gives_every_row(client: TestClient, address: str, count: int) -> None:
    page = client.get(address, params={"limit": 200}).json()

    assert len(page["items"]) == count
    assert page["next_cursor"] is None


@given(address=st.sampled_from(sorted(LISTS)), limit=st.integers(1, 25))
@settings(deadline=None, max_examples=30)
def test_pages_of_any_size_together_give_each_row_once(client: TestClient, address: str, limit: int) -> None:
    whole = items(client, address, limit=200)

    assert items(client, address, limit=limit) == whole
    assert len({item["id"] for item in whole}) == len(whole)


def test_a_page_holds_no_more_than_its_limit(client: TestClient) -> None:
    page = client.get("/findings", params={"limit": 4}).json()

    assert len(page["items"]) == 4
    assert page["next_cursor"]


@pytest.mark.parametrize(
    "field", ["domain", "finding", "place", "change", "certainty", "subject", "pair_id", "report_id"]
)
def test_a_filter_of_findings_gives_exactly_the_rows_with_that_value(client: TestClient, field: str) -> None:
    whole = items(client, "/findings")
    value = whole[len(whole) // 2][field]

    assert items(client, "/findings", **{field: value}) == [item for item in whole if item[field] == value]


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("/reports", "domain"),
        ("/reports", "subject"),
        ("/reports", "pair_id"),
        ("/pairs", "domain"),
        ("/pairs", "subject"),
        ("/acquisitions", "domain"),
        ("/acquisitions", "subject"),
        ("/refusals", "code"),
        ("/refusals", "level"),
        ("/audits", "domain"),
    ],
)
def test_a_filter_of_any_list_gives_exactly_the_rows_with_that_value(
    client: TestClient, address: str, field: str
) -> None:
    whole = items(client, address)
    value = whole[-1][field]

    assert items(client, address, **{field: value}) == [item for item in whole if item[field] == value]


def test_a_report_has_findings_evidence_quality_and_provenance(client: TestClient) -> None:
    summary = next(item for item in items(client, "/reports") if len(item["findings"]) == 3)

    report = client.get(f"/reports/{summary['id']}").json()

    assert {name: report[name] for name in summary} == summary
    assert (report["evidence"]["rows"], report["evidence"]["columns"]) == (3, 4)
    assert report["evidence"]["values"][2] == [0.5, 0.5625, 0.625, 0.6875]
    assert report["quality"] == {"valid_share": 0.98}
    assert report["provenance"] == {"code_version": "0.1.0"}
    assert report["pair"]["id"] == report["pair_id"]


def test_a_report_and_the_list_of_findings_agree(client: TestClient) -> None:
    for report in items(client, "/reports"):
        listed = items(client, "/findings", report_id=report["id"])

        assert [{name: item[name] for name in report["findings"][0]} for item in listed] == report["findings"]


def test_the_images_of_a_report_are_where_it_says(client: TestClient) -> None:
    report = client.get(f"/reports/{items(client, '/reports')[0]['id']}").json()

    sizes = {}
    for name, address in report["images"].items():
        answer = client.get(address)
        image = Image.open(BytesIO(answer.content))
        assert answer.headers["content-type"] == f"image/{str(image.format).lower()}"
        sizes[name] = image.size

    assert sizes == {"prior": (48, 64), "current": (48, 64), "evidence": (48, 64)}


def test_the_evidence_shows_where_the_map_is_highest(client: TestClient) -> None:
    report = items(client, "/reports")[0]["id"]
    image = Image.open(BytesIO(client.get(f"/reports/{report}/images/evidence.jpg").content)).convert("RGB")

    lowest, highest = (np.ptp(image.getpixel(corner)) for corner in ((4, 4), (44, 60)))
    assert lowest < 8  # the image stays grey, but for JPEG's rounding
    assert highest > 50


def test_prior_and_current_are_not_confused(client: TestClient) -> None:
    report = items(client, "/reports")[0]["id"]
    levels = [
        Image.open(BytesIO(client.get(f"/reports/{report}/images/{name}.jpg").content)).getpixel((20, 20))
        for name in ("prior", "current")
    ]

    assert levels == [pytest.approx(40, abs=3), pytest.approx(200, abs=3)]  # JPEG rounds


def test_one_pair_reads_as_in_the_list(client: TestClient) -> None:
    for pair in items(client, "/pairs"):
        assert client.get(f"/pairs/{pair['id']}").json() == pair
        assert pair["prior"]["time"] < pair["current"]["time"]


def test_one_audit_has_all_its_figures(client: TestClient) -> None:
    for audit in items(client, "/audits"):
        assert client.get(f"/audits/{audit['id']}").json() == {**audit, "result": {"exact": {"f1": 0.5}}}


def test_the_root_of_the_archive_is_in_no_answer(client: TestClient) -> None:
    answers = [client.get(address, params={"limit": 200}).text for address in LISTS]
    answers += [client.get(f"/reports/{item['id']}").text for item in items(client, "/reports")]

    assert not [answer for answer in answers if "/nowhere" in answer]


def test_the_page_shows_every_report_once(client: TestClient) -> None:
    page = client.get("/")

    assert page.headers["content-type"].startswith("text/html")
    for report in items(client, "/reports"):
        assert page.text.count(f'href="/reports/{report["id"]}"') == 1
        assert report["text"] in page.text


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")

    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text
