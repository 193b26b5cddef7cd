"""Logs tell where something went wrong, and repeat nothing that a library's message may quote."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from ingest.errors import IngestError
from services.logs import configure_logs, describe_exception, describe_traceback

SECRET = "Zebulon^Quockerwodger"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


def fail() -> None:
    try:
        raise OSError(f"no such file: /archive/{SECRET}.dcm")
    except OSError as error:
        raise IngestError("The file cannot be read; send it again.") from error


def test_a_record_is_one_json_object_with_its_action(stream: io.StringIO) -> None:
    configure_logs("INFO", "auto", stream)

    logging.getLogger("services.test").info("Two %s done", "jobs", extra={"action": "jobs_done", "jobs": 2})

    entry = json.loads(stream.getvalue())
    assert (entry["message"], entry["action"], entry["jobs"], entry["level"]) == (
        "Two jobs done",
        "jobs_done",
        2,
        "info",
    )
    assert entry["time"].endswith("+00:00")


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_told_by_its_frames_and_our_own_words_only(stream: io.StringIO, form: str) -> None:
    configure_logs("INFO", form, stream)  # type: ignore[arg-type]

    try:
        fail()
    except IngestError:
        logging.getLogger("services.test").exception("A file failed")

    written = stream.getvalue()
    assert SECRET not in written
    assert "OSError" in written
    assert "IngestError: The file cannot be read; send it again." in written
    assert "fail" in written


def test_an_exception_as_an_argument_is_not_quoted(stream: io.StringIO) -> None:
    configure_logs("INFO", "text", stream)

    logging.getLogger("services.test").error("It failed: %s", OSError(SECRET))

    assert SECRET not in stream.getvalue()
    assert "OSError" in stream.getvalue()


def test_a_library_tells_where_and_not_what(stream: io.StringIO) -> None:
    configure_logs("DEBUG", "text", stream)

    logging.getLogger("pydicom").warning("Invalid value for VR PN: %s", SECRET, extra={"value": SECRET})
    logging.getLogger("pydicom").debug("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"bad value {SECRET}", UserWarning, stacklevel=1)

    written = stream.getvalue()
    assert SECRET not in written
    assert "pydicom" in written and "py.warnings" in written
    assert len(written.splitlines()) == 2


@pytest.mark.parametrize("name", ["dbos", "uvicorn.error"])
def test_libraries_with_handlers_of_their_own_write_through_ours(stream: io.StringIO, name: str) -> None:
    configure_logs("INFO", "json", stream)

    logging.getLogger(name).error("It failed", exc_info=OSError(SECRET))

    entry = json.loads(stream.getvalue())
    assert entry["exception"] == ["OSError"]


def test_dbos_adds_no_handler_of_its_own(stream: io.StringIO) -> None:
    from dbos._logger import init_logger

    configure_logs("INFO", "json", stream)

    init_logger()

    handlers = logging.getLogger("dbos").handlers
    assert [type(one) for one in handlers] == [logging.NullHandler]


def test_a_foreign_exception_is_its_class() -> None:
    assert describe_exception(ValueError(SECRET)) == "ValueError"
    assert describe_traceback(ValueError(SECRET)) == ["ValueError"]
