"""Does the service answer the same on PostgreSQL?"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.api.app import create_app
from services.database import Database
from services.schema import upgrade_database
from services.settings import Settings

pytestmark = pytest.mark.postgres

LISTS = ("/acquisitions", "/pairs", "/reports", "/findings", "/refusals", "/audits")


@pytest.fixture
def postgres_client(postgres_url: str, fill_database: Callable[[Database], None]) -> Iterator[TestClient]:
    """Client of the service on PostgreSQL with the same content as `client` has on SQLite."""
    database = Database(postgres_url)
    upgrade_database(database)
    fill_database(database)
    database.dispose()
    settings = Settings(database_url=postgres_url)
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def walk(client: TestClient, address: str, limit: int) -> list[dict[str, Any]]:
    """All items of a list, without the time at which they were stored."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = client.get(address, params=query).json()
        found += [{name: value for name, value in item.items() if name != "created_at"} for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


def test_both_databases_give_the_same_answers(client: TestClient, postgres_client: TestClient) -> None:
    assert postgres_client.get("/health").json()["database"] == "postgresql"
    for address in LISTS:
        whole = walk(client, address, 200)
        by_id = sorted(whole, key=lambda item: str(item["id"]))

        for limit in (1, 3, 200):
            found = walk(postgres_client, address, limit)
            assert sorted(found, key=lambda item: str(item["id"])) == by_id


def test_what_postgresql_cannot_hold_is_a_problem_and_no_failure(postgres_client: TestClient) -> None:
    for query in ({"subject": "a\0b"}, {"cursor": "WyJhXHUwMDAwIiwiYiIsMSwxXQ"}, {"cursor": "W10"}):
        assert postgres_client.get("/findings", params=query).status_code in (400, 422)
