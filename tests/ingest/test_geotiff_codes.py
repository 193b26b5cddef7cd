"""Every reason code of scenes is provoked by a test and explained in the README."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Codes of other folders that scenes get, too.
SHARED = {"DUPLICATE", "PRIOR_UNREADABLE"}


@cache
def declared() -> dict[str, str]:
    """Reason codes that the source of `ingest.geotiff` names, each with the class of its error; "" without one."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "ingest/geotiff").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for line in node.body:
                    if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "code" and line.value:
                        found[ast.literal_eval(line.value)] = node.name
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rsplit(".", 1)[-1]
                values = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                values += node.args[:2] if name in ("refuse", "_refuse") else []
                for value in values:
                    if isinstance(value, ast.Constant) and re.fullmatch(r"[A-Z_]+", str(value.value)):
                        found.setdefault(str(value.value), "")
    return found | dict.fromkeys(SHARED - found.keys(), "")


def test_the_source_is_read_right() -> None:
    assert {"NO_CRS", "NO_OVERLAP", "TOO_CLOUDY", "ALIGNMENT_FAILED", "DATE_UNKNOWN", "NO_PRIOR"} <= declared().keys()
    assert {"REPROCESSED", "VRT_SOURCES", "OUTSIDE_ARCHIVE", "NO_COMPARABLE_VIEW"} <= declared().keys()


def test_each_code_occurs_in_a_test() -> None:
    here = sorted(Path(__file__).parent.glob("test_*.py"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in here if path != Path(__file__))

    missing = [
        code
        for code, error in declared().items()
        if f'"{code}"' not in text and not (error and re.search(rf"\b{error}\b", text))
    ]

    assert not missing


def test_each_code_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert [code for code in sorted(declared()) if f"`{code}`" not in readme] == []
