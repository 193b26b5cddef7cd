"""How is a CSV file of a published data set read, compressed or not?"""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.readers.sample import DataSetUnusable


def find_table(folder: Path, name: str) -> Path:
    """A file of a folder by its published name, as it is or unpacked (`.csv` for `.csv.gz`) or packed.

    Raises:
        DataSetUnusable: There is none.
    """
    plain = name.removesuffix(".gz")
    for candidate in (folder / plain, folder / f"{plain}.gz"):
        if candidate.is_file():
            return candidate
    raise DataSetUnusable(f"{folder.name} has no {name}; give the folder into which the data set was fetched.")


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column name of each row; other columns than the wanted ones are kept as well.

    Everything stays text, so that no leading zero of a time is lost. Columns are found by name, never by position.

    Raises:
        DataSetUnusable: The file cannot be read, lacks a column, or a row has too many or too few cells.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="")
        ) as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            missing = [name for name in columns if name not in header]
            if missing:
                raise DataSetUnusable(f"{path.name}, line 1: no column {', '.join(missing)}; is this the right file?")
            for cells in reader:
                if len(cells) != len(header):
                    raise DataSetUnusable(
                        f"{path.name}, line {reader.line_num}: {len(cells)} cells where the header has {len(header)}."
                    )
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is cut or no gzip file"
        raise DataSetUnusable(f"{path.name} cannot be read: {reason}; fetch it again.") from error
    except UnicodeDecodeError as error:
        raise DataSetUnusable(f"{path.name} is not UTF-8 text at byte {error.start}; fetch it again.") from error
    except csv.Error as error:
        raise DataSetUnusable(f"{path.name}: no valid CSV ({error}); fetch it again.") from error


def whole_number(text: str) -> str:
    """An id as digits: pandas writes a column with gaps as floats, so "50414267.0" is the id 50414267.

    Raises:
        ValueError: This is no whole number.
    """
    digits = text.strip().removesuffix(".0")
    if not digits.isdecimal():
        raise ValueError("no whole number")
    return digits
