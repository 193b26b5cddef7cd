"""How is logging configured? Nothing else in the project does it.

Records carry no free text of others: an exception is shown by its class and the lines of code it passed, with its
message only where the class is ours, because a library's message may hold a path or a header's content.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO

#: Packages whose exception messages are written to hold no path and no identity.
OWN_PACKAGES = ("ingest", "models", "reports", "services", "training")

#: Attributes that every record has; whatever else is on one was given by `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def describe_exception(error: BaseException) -> str:
    """Class of an exception, with its message where the class is ours."""
    kind = type(error)
    return f"{kind.__name__}: {error}" if kind.__module__.split(".")[0] in OWN_PACKAGES else kind.__name__


def describe_traceback(error: BaseException) -> list[str]:
    """The chain of an exception, the cause first: module, line and function of each frame, then the exception."""
    lines: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines += describe_traceback(cause)
    for frame, number in traceback.walk_tb(error.__traceback__):
        lines.append(f"{frame.f_globals.get('__name__', '?')}:{number} {frame.f_code.co_name}")
    return [*lines, describe_exception(error)]


class _Formatter(logging.Formatter):
    def formatException(self, ei: ExcInfo) -> str:
        return "\n".join(describe_traceback(ei[1])) if ei[1] is not None else ""

    def safe_message(self, record: logging.LogRecord) -> str:
        """The record's message; of a library that writes exceptions into its messages, only where it came from."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                describe_exception(value) if isinstance(value, BaseException) else value for value in record.args
            )
        if record.name.split(".")[0] in OWN_PACKAGES:
            return record.getMessage()
        return f"{record.module}:{record.lineno} {record.funcName}"


class TextFormatter(_Formatter):
    """One line a record, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname.lower()} {record.name}: {self.safe_message(record)}"
        extra = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        line = f"{line} {extra}" if extra else line
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(_Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a JSON object."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.safe_message(record),
            **_extra(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            entry["exception"] = describe_traceback(record.exc_info[1])
        return json.dumps(entry, ensure_ascii=False, default=str)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    if record.name.split(".")[0] not in OWN_PACKAGES:
        return {}
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def configure_logs(
    level: str = "WARNING", form: Literal["auto", "text", "json"] = "auto", stream: TextIO | None = None
) -> None:
    """Sends every record of this process to one stream, standard error unless told otherwise.

    Args:
        level: Least severe level of our own records; of libraries, warnings and worse are shown at any level.
        form: "auto" is text on a terminal and JSON elsewhere.
        stream: Where to write.
    """
    target = stream or sys.stderr
    text = form == "text" or (form == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel("WARNING")
    for name in OWN_PACKAGES:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)
    # DBOS and uvicorn bring handlers of their own that write what an exception says; with a handler already there
    # they add none, and their records come to ours. Each failed job is logged by us, so of DBOS errors suffice.
    for name in ("dbos", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = True
    logging.getLogger("dbos").setLevel("ERROR")
    # dicomweb-client's way of trying again is switched off, but still logs the trace of each failure.
    logging.getLogger("retrying").setLevel("CRITICAL")
