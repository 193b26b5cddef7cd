"""How close are generated texts to references by METEOR 1.5, the Java program of the published tables?

Another implementation gives other figures (0.53 against 0.84 for one pair of sentences), so where this program or Java
is missing there is no figure, and a sentence says why.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reports.captions import Tokens
from reports.errors import ReportsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Statistics of one pair: lengths, matches by four matchers, chunks, matched words.
N_COLUMNS: Final = 23
_LENGTHS, _MATCHES, _CHUNKS, _CANDIDATE_MATCHED, _REFERENCE_MATCHED = slice(0, 4), slice(4, 20), 20, 21, 22

#: Parameters of METEOR 1.5 for English: alpha, beta, gamma, delta, and weights of exact, stem, synonym and paraphrase
#: matches. Source: Denkowski and Lavie 2014, table 3.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS: Final = (1.0, 0.6, 0.8, 0.6)


class MeteorMissing(ReportsError):
    """METEOR cannot be computed here; the message says what is missing."""


def meteor_sums(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> "NDArray[np.float64]":
    """(pairs, N_COLUMNS) statistics of the program, for each pair those of the reference that fits best.

    Raises:
        MeteorMissing: Java or the program is missing, or it ended without an answer.
    """
    import numpy as np

    command, folder = _program()
    lines = [
        " ||| ".join(["SCORE", *map(_line, several), _line(candidate)])
        for candidate, several in zip(candidates, references, strict=True)
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise MeteorMissing("not computed: METEOR ended with an error; does `java -version` work?") from error
    answers = done.stdout.split("\n")[: len(lines)]
    if len(answers) < len(lines) or not all(len(one.split()) == N_COLUMNS for one in answers):
        raise MeteorMissing("not computed: METEOR gave fewer answers than there are pairs.")
    found = np.array([[float(cell) for cell in one.split()] for one in answers]).reshape(len(lines), N_COLUMNS)
    # a pair that matches whole and in order has no fragment, also in a sum
    whole = (
        (found[:, _CHUNKS] == 1)
        & (found[:, _CANDIDATE_MATCHED] == found[:, 0])
        & (found[:, _REFERENCE_MATCHED] == found[:, 1])
    )
    found[whole, _CHUNKS] = 0
    return found


def meteor(sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """METEOR of each row of summed statistics, (R,) in [0, 1]; NaN where nothing was summed.

    Source: Denkowski and Lavie 2014, section 2; equal to what the program gives for the same pairs.
    """
    import numpy as np

    candidate, reference, candidate_function, reference_function = sums[:, _LENGTHS].T
    # for each matcher: content words of candidate and reference, then function words of both
    matches = np.einsum("rmk,m->rk", sums[:, _MATCHES].reshape(-1, 4, 4), np.array(_WEIGHTS))
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = _mixed(matches[:, 0], matches[:, 2]) / _mixed(candidate - candidate_function, candidate_function)
        recall = _mixed(matches[:, 1], matches[:, 3]) / _mixed(reference - reference_function, reference_function)
        mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
        matched = (sums[:, _CANDIDATE_MATCHED] + sums[:, _REFERENCE_MATCHED]) / 2
        score = (1 - _GAMMA * (sums[:, _CHUNKS] / matched) ** _BETA) * mean
    return np.where(reference > 0, np.nan_to_num(score), np.nan)


def as_ids(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> tuple[list[Tokens], list[list[Tokens]]]:
    """Each word as a number, the same everywhere: what published code for LEVIR-CC gives to METEOR.

    Stems, synonyms and paraphrases then never match, so the figure is another one than on words.
    """
    numbers: dict[str, str] = {}

    def numbered(words: Iterable[str]) -> Tokens:
        return tuple(numbers.setdefault(word, str(len(numbers) + 1)) for word in words)

    known = [[numbered(one) for one in several] for several in references]
    return [numbered(one) for one in candidates], known


def _line(words: Tokens) -> str:
    # three bars part the fields of a line
    return " ".join(word for word in words if "|||" not in word)


def _mixed(content: "NDArray[np.float64]", function: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return _DELTA * content + (1 - _DELTA) * function


def _program() -> tuple[list[str], Path]:
    java = shutil.which("java")
    if java is None:
        raise MeteorMissing("not computed: METEOR needs Java 8 or newer (Debian: default-jre-headless).")
    package = importlib.util.find_spec("pycocoevalcap")
    folder = (
        Path(package.submodule_search_locations[0], "meteor")
        if package and package.submodule_search_locations
        else None
    )
    if folder is None or not (folder / "meteor-1.5.jar").is_file():
        raise MeteorMissing("not computed: METEOR's program is missing; install interval-change[meteor].")
    # the options of the COCO evaluation; the two dashes stand for files that this mode does not read
    return [java, "-jar", "-Xmx2G", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"], folder
