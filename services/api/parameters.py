"""What do routes take from a request: a session that cannot write, a place in a list, a filter?"""

from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar, cast

from fastapi import Depends, Path, Query, Request

from services.api.schemas import PageOf
from services.database import Database, ReadSession
from services.paging import DEFAULT_LIMIT, Page

Row = TypeVar("Row")
Item = TypeVar("Item")

#: Most items of one answer; the command line may take larger pages.
API_MAX_LIMIT = 200


def read_session(request: Request) -> Iterator[ReadSession]:
    """One session for the request, closed with it; the database refuses writes through it."""
    database = cast(Database, request.app.state.database)
    with database.read() as session:
        yield session


Session = Annotated[ReadSession, Depends(read_session)]

Limit = Annotated[int, Query(ge=1, le=API_MAX_LIMIT, description="Most items of the answer.")]

Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before; none: the first.")]

#: Text that a column is compared with; PostgreSQL has no place for the character NUL.
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]

RecordId = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$")]

FIRST_PAGE = DEFAULT_LIMIT


def page_of(page: Page[Row], shape: Callable[[Row], Item]) -> PageOf[Item]:
    """The answer for a page of rows, each in the shape that `shape` gives it."""
    return PageOf(items=[shape(row) for row in page.items], next_cursor=page.next_cursor)
