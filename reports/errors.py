"""Errors of the reports folder."""


class ReportsError(Exception):
    """Something about a report, its labels or its audit is unusable."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class UnknownTerm(ReportsError, ValueError):
    """A finding, place, change or certainty is not in the vocabulary of its domain."""


class DuplicateFinding(ReportsError, ValueError):
    """A report names the same finding at the same place twice; keep one of the two."""


class UnusableLabels(ReportsError, ValueError):
    """A labels file cannot be used; correct the line that the message names."""


class UnusableAudit(ReportsError, ValueError):
    """Pairs cannot be audited together; give each pair once, with findings of its own domain."""


class UnusableImage(ReportsError, ValueError):
    """An array cannot be drawn; give (H, W), (1, H, W) or (3, H, W) with values between 0 and 1."""
