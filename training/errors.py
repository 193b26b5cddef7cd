"""Errors of the training folder."""


class TrainingError(Exception):
    """Something about samples, prompts or a training run is unusable."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()
