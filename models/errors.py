"""Errors of the models folder."""


class ModelsError(Exception):
    """Something about a host model or an adapter is unusable."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()
