"""A service on a real, migrated and filled database."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.grid import Grid
from ingest.pairing import Pair, pair_id
from reports.change import PROGRESSION
from reports.compose import compose
from reports.finding import Finding
from reports.vocabulary import FINDINGS, PLACES, Domain
from services import repository, store
from services.api.app import create_app
from services.database import Database
from services.identity import ModelIdentity
from services.schema import upgrade_database
from services.settings import Settings

IDENTITY = ModelIdentity(name="compact", model_hash="a" * 32, adapter_hash="b" * 32, prompt_version="1")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model said about a pair."""

    text: str
    findings: tuple[Finding, ...]
    evidence: NDArray[np.float32]
    raw_output: str
    unparsed: tuple[str, ...] = ()


def make_acquisition(domain: Domain, subject: int, visit: int) -> Acquisition:
    name = f"{domain}/{subject}/{visit}"
    return Acquisition(
        id=f"uid:{name}",
        domain=domain,
        subject=f"{'patient' if domain is Domain.RADIOLOGY else 'place'}:{subject:032x}",
        time=datetime(2020, 1, 1) + timedelta(days=30 * visit + subject),
        time_source="StudyDate",
        path=Path("/nowhere") / name,
        name=name,
        sha256=f"{100 * subject + visit:064x}",
        pixel_sha256="c" * 64,
        grid=Grid(affine=(0.2, 0.0, 0.0, 0.0, 0.2, 0.0), height=64, width=48, frame="detector:1"),
        attributes={"decoder": "pydicom"},
    )


def make_pair(domain: Domain, subject: int, visit: int) -> Pair:
    prior, current = (make_acquisition(domain, subject, visit + step) for step in (0, 1))
    return Pair(
        id=pair_id(prior, current),
        prior=prior,
        current=current,
        interval_days=30.0,
        reason="The most recent earlier acquisition.",
        warnings=("AP beside PA.",) if visit else (),
    )


def make_said(domain: Domain, number: int) -> Said:
    findings = tuple(
        Finding(
            domain=domain,
            finding=FINDINGS[domain][(number + one) % len(FINDINGS[domain])],
            place=PLACES[domain][number % len(PLACES[domain])],
            change=PROGRESSION[(number + one) % len(PROGRESSION)],
        )
        for one in range(number % 4)
    )
    evidence = np.arange(12, dtype=np.float32).reshape(3, 4) / 16
    text = compose(domain, findings)
    return Said(text=text, findings=findings, evidence=evidence, raw_output=text)


def make_jpeg(level: int) -> bytes:
    buffer = BytesIO()
    Image.new("L", (48, 64), level).save(buffer, "JPEG")
    return buffer.getvalue()


def fill(database: Database) -> None:
    """13 pairs with a report each, 20 acquisitions, 7 refusals, 2 audits."""
    pairs = [make_pair(Domain.RADIOLOGY, subject, visit) for subject in range(4) for visit in range(2)]
    pairs += [make_pair(Domain.SATELLITE, subject, 0) for subject in range(5)]
    with database.write() as session:
        key = store.put_archive(
            session,
            root="/nowhere",
            name="nowhere",
        )
        store.put_counts(session, key, files_seen=40, sidecars=3)
        store.put_acquisitions(session, key, {one.id: one for p in pairs for one in (p.prior, p.current)}.values())
        store.put_pairs(session, key, pairs)
        refusals = [
            Refusal(item=f"broken/{number}.dcm", level="file", code=code, reason="It is cut off; send it again.")
            for number, code in enumerate(["UNREADABLE"] * 5 + ["DATE_UNKNOWN"] * 2)
        ]
        store.put_refusals(session, key, refusals)
        rows = repository.list_pairs(session, limit=1000).items
        for number, row in enumerate(rows):
            store.put_report(
                session,
                pair=row,
                identity=IDENTITY,
                prediction=make_said(Domain(row.domain), number),
                quality={"valid_share": 0.98},
                warnings=row.warnings,
                provenance={"code_version": "0.1.0"},
                prior_jpeg=make_jpeg(40),
                current_jpeg=make_jpeg(200),
            )
        for domain in Domain:
            values = {
                "domain": str(domain),
                "model_name": IDENTITY.name,
                "model_hash": IDENTITY.model_hash,
                "adapter_hash": IDENTITY.adapter_hash,
                "prompt_version": IDENTITY.prompt_version,
                "labels_sha256": "d" * 64,
                "reports_sha256": "e" * 64,
                "n_pairs": 5,
                "f1": 0.5,
                "result": {"exact": {"f1": 0.5}},
            }
            store.put_audit(session, values=values)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a database that the real migrations made and the real functions filled."""
    settings = Settings(database_url=f"sqlite:///{tmp_path_factory.mktemp('api') / 'filled.sqlite'}")
    database = Database(settings.database_url)
    upgrade_database(database)
    fill(database)
    database.dispose()
    return settings


@pytest.fixture(scope="session")
def fill_database() -> Callable[[Database], None]:
    """Function that gives a migrated database the content of `filled`."""
    return fill


@pytest.fixture(scope="session")
def client(filled: Settings) -> Iterator[TestClient]:
    """Client of the service on the filled database."""
    with TestClient(create_app(filled), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client
