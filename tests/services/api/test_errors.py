"""How does the service say that something went wrong?"""

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.app import create_app
from services.database import Database
from services.schema import downgrade_database
from services.settings import Settings


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of an answer, after checking its form."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= {"type", "title", "status", "detail", "request_id"}
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


@pytest.mark.parametrize("kind", ["reports", "pairs", "audits"])
def test_a_record_that_is_not_there_is_a_problem(client: TestClient, kind: str) -> None:
    body = problem(client.get(f"/{kind}/unknown"), 404)

    assert body["type"] == "urn:interval:problem:record-not-found"
    assert "'unknown'" in body["detail"]


def test_an_image_of_no_report_is_a_problem(client: TestClient) -> None:
    problem(client.get("/reports/unknown/images/prior.jpg"), 404)


def test_an_unknown_address_is_a_problem(client: TestClient) -> None:
    problem(client.get("/nothing/here"), 404)


def test_writing_is_a_problem(client: TestClient) -> None:
    answer = client.post("/reports", json={})

    problem(answer, 405)
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("cursor", ["!", "abc", "e30", "W10", "WyJhIiwxLDIsMyw0XQ", "WzFd"])
def test_a_cursor_that_no_page_gave_is_a_problem(client: TestClient, cursor: str) -> None:
    body = problem(client.get("/reports", params={"cursor": cursor}), 400)

    assert body["type"] == "urn:interval:problem:invalid-cursor"


@pytest.mark.parametrize("key", [["a", "b", 10**30, 0], ["a\ud800", "b", 1, 1], ["a\0", "b", 1, 1], ["a", True, 1, 1]])
def test_a_cursor_with_a_value_that_no_column_holds_is_a_problem(client: TestClient, key: list[Any]) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()

    problem(client.get("/findings", params={"cursor": cursor}), 400)


@given(cursor=st.text(max_size=40), address=st.sampled_from(["/findings", "/reports", "/refusals", "/pairs"]))
@settings(deadline=None, max_examples=60)
def test_no_cursor_breaks_the_service(client: TestClient, cursor: str, address: str) -> None:
    assert client.get(address, params={"cursor": cursor}).status_code in (200, 400, 422)


@pytest.mark.parametrize(
    ("address", "query", "where"),
    [
        ("/reports", {"limit": 0}, "query.limit"),
        ("/reports", {"limit": 201}, "query.limit"),
        ("/reports", {"limit": "many"}, "query.limit"),
        ("/findings", {"domain": "dentistry"}, "query.domain"),
        ("/findings", {"change": "better"}, "query.change"),
        ("/findings", {"subject": "a\0b"}, "query.subject"),
        ("/reports/x/images/other.gif", {}, "path.name"),
    ],
)
def test_an_impossible_parameter_is_named(client: TestClient, address: str, query: dict[str, Any], where: str) -> None:
    body = problem(client.get(address, params=query), 422)

    assert [error["where"] for error in body["errors"]] == [where]


def test_an_unexpected_failure_tells_nothing_of_the_inside(
    filled: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise RuntimeError("row of Jane Roe at /srv/patients")

    monkeypatch.setattr("services.repository.list_pairs", fail)
    with (
        TestClient(create_app(filled), base_url="http://localhost", raise_server_exceptions=False) as client,
        caplog.at_level(logging.ERROR),
    ):
        answer = client.get("/pairs")

    body = problem(answer, 500)
    assert "Roe" not in answer.text
    assert "RuntimeError" not in answer.text
    (record,) = [record for record in caplog.records if record.name.startswith("services.")]
    assert record.__dict__["action"] == "request_failed"
    assert record.__dict__["request_id"] == body["request_id"]


def test_a_database_that_went_away_is_a_problem(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gone.sqlite'}"
    with TestClient(create_app(Settings(database_url=url)), base_url="http://localhost") as client:
        assert client.get("/health").json()["models"] == []
        downgrade_database(Database(url))

        health = problem(client.get("/health"), 503)
        reports = problem(client.get("/reports"), 503)

    assert health["type"] == reports["type"] == "urn:interval:problem:database-unusable"
    assert "sqlite" not in reports["detail"]


def test_a_request_keeps_the_id_that_it_came_with(client: TestClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "my-id.7"}).headers["x-request-id"] == "my-id.7"


@pytest.mark.parametrize("offered", ["", "a b", "x" * 65, "<script>"])
def test_an_id_that_is_not_safe_in_a_log_is_replaced(client: TestClient, offered: str) -> None:
    given_id = client.get("/health", headers={"X-Request-ID": offered}).headers["x-request-id"]

    assert given_id != offered
    assert len(given_id) == 32


def test_two_requests_have_two_ids(client: TestClient) -> None:
    assert client.get("/health").headers["x-request-id"] != client.get("/health").headers["x-request-id"]


def test_a_foreign_name_for_this_machine_is_not_served(client: TestClient) -> None:
    problem(client.get("/reports", headers={"Host": "rebound.example:8000"}), 400)
    assert client.get("/reports", headers={"Host": "127.0.0.1:8000"}).status_code == 200
    assert client.get("/reports", headers={"Host": "[::1]:8000"}).status_code == 200


def test_the_description_documents_every_problem(client: TestClient) -> None:
    description = client.get("/openapi.json").json()

    for address, operations in description["paths"].items():
        responses = operations["get"]["responses"]
        expected = {"400", "422", "500", "503"} | ({"404"} if "{" in address else set())
        assert set(responses) == {"200"} | expected
        for status in expected:
            schema = responses[status]["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
