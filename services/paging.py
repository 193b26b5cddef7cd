"""How does a list continue where the last page ended, whatever was written in between?"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from services.database import ReadSession
from services.errors import InvalidCursor, InvalidLimit

Row = TypeVar("Row")

#: Rows of a page when nothing is asked for, and the most that can be asked for.
DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Row]):
    """Some rows of a list, in its order.

    Attributes:
        items: The rows.
        next_cursor: Where the next page begins; None on the last one.
    """

    items: tuple[Row, ...]
    next_cursor: str | None


def fetch_page(
    session: ReadSession,
    query: Select[tuple[Row]],
    key: Sequence[InstrumentedAttribute[Any]],
    *,
    cursor: str | None,
    limit: int,
) -> Page[Row]:
    """The rows of `query` that come after `cursor`, in the order of `key`; `key` must be unique.

    The position is the key's values of the last row, not a count, so rows that arrive between two pages neither
    repeat nor hide others.

    Raises:
        InvalidCursor: The cursor does not belong to such a list.
        InvalidLimit: The limit is not between 1 and 1000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidLimit()
    keyed = query.add_columns(*key).order_by(*key).limit(limit + 1)
    if cursor is not None:
        after = decode_cursor(cursor)
        if len(after) != len(key) or any(
            not isinstance(value, column.type.python_type) for value, column in zip(after, key, strict=True)
        ):
            raise InvalidCursor()
        keyed = keyed.where(tuple_(*key) > tuple_(*after))
    rows = session.execute(keyed).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(
        items=tuple(row[0] for row in rows), next_cursor=encode_cursor(list(rows[-1][1:])) if more and rows else None
    )


def encode_cursor(values: list[str | int]) -> str:
    """The key of a row as text that is safe in a URL."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[str | int]:
    """The key that `encode_cursor` was given.

    Raises:
        InvalidCursor: The text is not such a key.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, UnicodeError, ValueError, RecursionError) as error:
        raise InvalidCursor() from error
    if not isinstance(values, list) or not all(_is_key(value) for value in values):
        raise InvalidCursor()
    return values


def _is_key(value: object) -> bool:
    # What no column can hold would otherwise fail in the database: NUL, lone surrogates, more than 64 bits.
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    return type(value) is int and -(2**63) <= value < 2**63
