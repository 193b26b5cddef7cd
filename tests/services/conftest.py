"""Archives, predictors and database servers for the tests of the services."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import create_engine, make_url, text

from services.database import Database
from services.schema import upgrade_database
from services.settings import Settings

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def predictors() -> ModuleType:
    """The module `quadrant_predictor`, which lies beside the tests."""
    spec = importlib.util.spec_from_file_location("quadrant_predictor", HERE / "quadrant_predictor.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["quadrant_predictor"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def scene_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.phantoms.geotiff_archive import write_geotiff_archive

    root = tmp_path_factory.mktemp("scenes") / "archive"
    write_geotiff_archive(root, places=3, seed=11)
    return root


@pytest.fixture(scope="session")
def radiograph_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.phantoms.dicom_archive import write_dicom_archive

    root = tmp_path_factory.mktemp("radiographs") / "archive"
    write_dicom_archive(root, subjects=4, seed=11)
    return root


@pytest.fixture
def settings() -> Settings:
    return Settings(workers=1, heartbeat_seconds=0.5, stale_seconds=3.0, queue_poll_seconds=0.05)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'interval.sqlite'}"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], Path]) -> Iterator[str]:
    """URL of a server in which tests may create databases."""
    given = os.environ.get("INTERVAL_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    programs = require_program("initdb").parent
    folder = tmp_path_factory.mktemp("postgres")
    # PostgreSQL refuses to run as root, and pytest's folders are closed to others.
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "postgres", "--"]
        folder = Path("/tmp") / f"interval-postgres-{uuid.uuid4().hex}"
        folder.mkdir()
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def control(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")

    cluster = str(folder / "cluster")
    control(str(programs / "initdb"), "-D", cluster, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control(str(programs / "pg_ctl"), "-D", cluster, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    finally:
        control(str(programs / "pg_ctl"), "-D", cluster, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """URL of an empty database."""
    name = f"interval_{uuid.uuid4().hex}"
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database, once of each kind."""
    kind = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(kind))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, once of each kind."""
    opened = Database(database_url)
    upgrade_database(opened)
    yield opened
    opened.dispose()


#: Columns that tell when and where, not what: they may differ between two runs over one archive.
CIRCUMSTANCES = {"created_at", "read_at_ns"}
#: Tables about processes, not about the archive.
PROCESS_TABLES = {"worker", "takeover", "alembic_version"}


@pytest.fixture
def content_of() -> Callable[[str], dict[str, list[tuple[object, ...]]]]:
    """Function that gives every row of a database, sorted, without circumstances."""
    from services.tables import Base

    def read(url: str) -> dict[str, list[tuple[object, ...]]]:
        opened = Database(url)
        content = {}
        with opened.engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                if table.name in PROCESS_TABLES:
                    continue
                columns = [column for column in table.columns if column.name not in CIRCUMSTANCES]
                rows = connection.execute(table.select().with_only_columns(*columns)).all()
                content[table.name] = sorted((tuple(row) for row in rows), key=repr)
        opened.dispose()
        return content

    return read


@pytest.fixture
def start_line() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Function that starts `line_process.py`; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "line_process.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "INTERVAL_HEARTBEAT_SECONDS": "0.5",
                "INTERVAL_STALE_SECONDS": "4",
                "INTERVAL_QUEUE_POLL_SECONDS": "0.05",
                "INTERVAL_WORKERS": "1",
                "OMP_NUM_THREADS": "1",
                **environment,
            },
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
