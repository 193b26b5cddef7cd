"""Errors of the services folder."""


class ServicesError(Exception):
    """Something about the database, a job or a request cannot be served."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class RecordNotFound(ServicesError, LookupError):
    """No row has this id; list the rows to see which ids exist."""


class InvalidCursor(ServicesError, ValueError):
    """The cursor is not one that a page gave; start again without a cursor."""


class InvalidLimit(ServicesError, ValueError):
    """The page size must be between 1 and 1000."""


class DatabaseUnusable(ServicesError):
    """The database cannot be opened or is not at the expected version; check INTERVAL_DATABASE_URL or --db."""


class JobsUnusable(ServicesError):
    """The job engine cannot work on this database; use a SQLite file or a PostgreSQL server."""


class PredictorUnusable(ServicesError):
    """The model cannot be loaded; check --model or INTERVAL_MODEL, or run `interval doctor`."""


class UsageError(ServicesError, ValueError):
    """The command was given something it cannot work with."""
