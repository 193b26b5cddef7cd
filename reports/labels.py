"""Which findings does an expert, or the maker of an archive, give for each pair?"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reports.change import Change
from reports.compose import in_report_order
from reports.errors import ReportsError, UnusableLabels
from reports.finding import Certainty, Finding
from reports.vocabulary import Domain

COLUMNS = (
    "domain",
    "prior_id",
    "current_id",
    "prior_name",
    "current_name",
    "finding",
    "place",
    "change",
    "certainty",
)
_PAIR_COLUMNS = 5


@dataclass(frozen=True, kw_only=True)
class LabelledPair:
    """The reference findings of one pair.

    Attributes:
        domain: Radiology or satellite.
        prior_id: Acquisition id of the prior (SOP Instance UID of a radiograph), or "" when unknown.
        current_id: Acquisition id of the current, or "" when unknown.
        prior_name: Path of the prior relative to the archive root, POSIX separators, or "" when unknown.
        current_name: Path of the current, likewise.
        findings: No (finding, place) twice; empty when neither image shows one.
    """

    domain: Domain
    prior_id: str = ""
    current_id: str = ""
    prior_name: str = ""
    current_name: str = ""
    findings: tuple[Finding, ...] = ()

    def keys(self) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
        """Key by ids and key by names; None where one of the two ends is unknown."""
        ids = (self.prior_id, self.current_id)
        names = (self.prior_name, self.current_name)
        return (ids if all(ids) else None, names if all(names) else None)


@dataclass(frozen=True)
class Labels:
    """All labelled pairs of one file, in its order.

    Attributes:
        pairs: Every pair once.
        by_id: Pairs whose two ids are known, by (prior_id, current_id).
        by_name: Pairs whose two names are known, by (prior_name, current_name).

    Raises:
        UnusableLabels: Two pairs share a key, or a pair has neither ids nor names.
    """

    pairs: tuple[LabelledPair, ...]
    by_id: dict[tuple[str, str], LabelledPair] = field(init=False, repr=False, compare=False, default_factory=dict)
    by_name: dict[tuple[str, str], LabelledPair] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for pair in self.pairs:
            if not any(pair.keys()):
                raise UnusableLabels("A pair has neither two ids nor two names; give one of them.")
            for table, key in zip((self.by_id, self.by_name), pair.keys(), strict=True):
                if key is None:
                    continue
                if key in table:
                    raise UnusableLabels(f"The pair {key[0]}, {key[1]} is there twice; keep one of the two.")
                table[key] = pair

    def of(
        self, *, prior_id: str = "", current_id: str = "", prior_name: str = "", current_name: str = ""
    ) -> LabelledPair | None:
        """The labels of a pair, looked up by ids and, where these are unknown, by names; None if it has no labels."""
        return self.by_id.get((prior_id, current_id)) or self.by_name.get((prior_name, current_name))


def read_labels(path: Path) -> Labels:
    """Labels from a CSV file (UTF-8, header as in `COLUMNS`, one row a finding).

    A pair in which nothing is found has one row whose last four cells are empty. Rows of one pair may stand apart.

    Raises:
        UnusableLabels: The file cannot be read, or a line has an unknown column, term, or repeats another; the message
            names file and line.
    """
    rows: dict[tuple[str, ...], dict[tuple[str, str], tuple[int, Finding | None]]] = {}
    first_line: dict[tuple[str, tuple[str, str]], tuple[int, tuple[str, ...]]] = {}
    for line, cells in _rows(path):
        where = f"{path.name}, line {line}"
        pair = tuple(cells[:_PAIR_COLUMNS])
        try:
            domain = Domain(cells[0])
        except ValueError as error:
            raise UnusableLabels(f"{where}: {cells[0]!r} is no domain; known: {', '.join(Domain)}.") from error
        finding = _finding(where, domain, cells[_PAIR_COLUMNS:])
        for kind, key in zip(("ids", "names"), _pair_of(pair).keys(), strict=True):
            if key is not None:
                seen_line, seen = first_line.setdefault((kind, key), (line, pair))
                if seen != pair:
                    raise UnusableLabels(f"{where}: the {kind} are those of another pair in line {seen_line}.")
        if not any(_pair_of(pair).keys()):
            raise UnusableLabels(f"{where}: the pair has neither two ids nor two names; give one of them.")
        known = rows.setdefault(pair, {})
        own = (finding.finding, finding.place) if finding else ("", "")
        if own in known:
            raise UnusableLabels(f"{where}: repeats line {known[own][0]}; keep one of the two.")
        if known and (finding is None or ("", "") in known):
            other = next(iter(known.values()))[0]
            raise UnusableLabels(f"{where}: a pair without findings cannot have another row (line {other}).")
        known[own] = (line, finding)
    return Labels(
        tuple(
            _pair_of(pair, in_report_order(finding for _, finding in known.values() if finding))
            for pair, known in rows.items()
        )
    )


def write_labels(path: Path, pairs: Iterable[LabelledPair]) -> None:
    """Writes labels so that `read_labels` gives the same pairs back, findings in the order of a report.

    Raises:
        UnusableLabels: Two pairs share a key, or a pair has none; nothing is written.
    """
    labels = Labels(tuple(pairs))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)  # lines end in CR LF (RFC 4180); with LF alone a CR in a name is not quoted
        writer.writerow(COLUMNS)
        for pair in labels.pairs:
            key = [pair.domain.value, pair.prior_id, pair.current_id, pair.prior_name, pair.current_name]
            for item in in_report_order(pair.findings):
                writer.writerow([*key, item.finding, item.place, item.change.value, item.certainty.value])
            if not pair.findings:
                writer.writerow([*key, "", "", "", ""])


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        # spreadsheets put a byte order mark before UTF-8
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            unknown = [name for name in header if name not in COLUMNS]
            missing = [name for name in COLUMNS if name not in header]
            if unknown or missing or len(header) != len(COLUMNS):
                told = [f"unknown {', '.join(map(repr, unknown))}"] * bool(unknown)
                told += [f"missing {', '.join(map(repr, missing))}"] * bool(missing)
                raise UnusableLabels(
                    f"{path.name}, line 1: columns {'; '.join(told) or 'occur twice'}. Expected: {','.join(COLUMNS)}."
                )
            order = [header.index(name) for name in COLUMNS]
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(COLUMNS):
                    raise UnusableLabels(
                        f"{path.name}, line {reader.line_num}: {len(cells)} cells where the header has {len(COLUMNS)}."
                    )
                yield reader.line_num, [cells[position] for position in order]
    except OSError as error:
        raise UnusableLabels(f"{path.name} cannot be read: {error.strerror or 'no reason given'}.") from error
    except UnicodeDecodeError as error:
        raise UnusableLabels(f"{path.name} is not UTF-8 text at byte {error.start}; save it as UTF-8 CSV.") from error
    except csv.Error as error:
        raise UnusableLabels(f"{path.name}, line {reader.line_num}: no valid CSV ({error}).") from error


def _finding(where: str, domain: Domain, cells: list[str]) -> Finding | None:
    if not any(cells):
        return None
    finding, place, change, certainty = cells
    try:
        return Finding(
            domain=domain, finding=finding, place=place, change=Change(change), certainty=Certainty(certainty)
        )
    except (ReportsError, ValueError) as error:
        reason = str(error) if isinstance(error, ReportsError) else _unknown_code(change, certainty)
        raise UnusableLabels(f"{where}: {reason}") from error


def _unknown_code(change: str, certainty: str) -> str:
    if change not in set(Change):
        return f"{change!r} is no change; known: {', '.join(Change)}."
    return f"{certainty!r} is no certainty; known: {', '.join(Certainty)}."


def _pair_of(cells: tuple[str, ...], findings: tuple[Finding, ...] = ()) -> LabelledPair:
    domain, prior_id, current_id, prior_name, current_name = cells
    return LabelledPair(
        domain=Domain(domain),
        prior_id=prior_id,
        current_id=current_id,
        prior_name=prior_name,
        current_name=current_name,
        findings=findings,
    )
