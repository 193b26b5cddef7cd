"""Which labelled pairs do LEVIR-CC and LEVIR-MCI hold?

Both are folders with `LevirCCcaptions.json` and `images/<split>/{A,B}/<name>.png`, A before B; LEVIR-MCI has a mask of
roads and buildings beside them, `images/<split>/label/<name>.png`. Names have gaps: all is joined by name.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from reports.vocabulary import Domain
from training.prompt import Wording
from training.readers.sample import SPLIT_NAMES, DataSet, DataSetUnusable, ImageFiles, Sample, Split, unique

NAME: Final = "LEVIR-CC"
MASKED_NAME: Final = "LEVIR-MCI"
CAPTIONS: Final = "LevirCCcaptions.json"

#: The five sentences of every unchanged pair, as the published protocol compares them.
UNCHANGED: Final = (
    "the scene is the same as before",
    "there is no difference",
    "the two scenes seem identical",
    "no change has occurred",
    "almost nothing has changed",
)

#: Codes of the grey masks, and the colours of the other variant.
_GREY: Final = {0: None, 128: "road", 255: "building"}
_COLOURS: Final = {(0, 0, 0): None, (255, 255, 0): "road", (255, 0, 0): "building"}

#: Notes: the sentences and the flag, or the sentences and the mask, contradict each other.
FLAG_CONTRADICTS: Final = "FLAG_CONTRADICTS"
MASK_CONTRADICTS: Final = "MASK_CONTRADICTS"

#: Pictures that were cut from one scene of 1,024 x 1,024 pixels, and have consecutive numbers. This is not published:
#: in each split the flags vary least within blocks of 16 that begin at 1 (variance 0.14, 0.10, 0.15; overall 0.25).
_CUT_FROM_ONE_SCENE: Final = 16


def read_levir(folder: Path) -> DataSet:
    """The pairs of a folder; LEVIR-MCI where masks lie beside the images.

    The area of a pair is inferred from its number, see `_CUT_FROM_ONE_SCENE`. In LEVIR-MCI an unchanged training pair
    has one sentence, as its authors train.

    Raises:
        DataSetUnusable: The captions are not in the published format, or a mask is missing or has other values.
    """
    is_masked = any((folder / "images" / name / "label").is_dir() for name in SPLIT_NAMES)
    samples = unique((_sample(folder, number, entry, is_masked) for number, entry in enumerate(_entries(folder))), NAME)
    return DataSet(name=MASKED_NAME if is_masked else NAME, samples=samples)


def _entries(folder: Path) -> list[dict[str, Any]]:
    path = folder / CAPTIONS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content["images"]
    except FileNotFoundError as error:
        raise DataSetUnusable(f"{folder.name} has no {CAPTIONS}; put it beside the folder images.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataSetUnusable(f"{CAPTIONS} is no JSON object with a list `images`; fetch it again.") from error
    if not isinstance(entries, list):
        raise DataSetUnusable(f"{CAPTIONS}: `images` is no list; fetch it again.")
    return entries


def _sample(folder: Path, number: int, entry: dict[str, Any], is_masked: bool) -> Sample:
    try:
        name, split_name = str(entry["filename"]), str(entry["split"])
        place = str(entry.get("filepath", split_name))
        sentences = tuple(" ".join(str(one["raw"]).split()) for one in entry["sentences"])
        flag = entry["changeflag"]
        split = SPLIT_NAMES[split_name]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataSetUnusable(
            f"{CAPTIONS}, images[{number}]: no usable filename, split, changeflag or sentences[].raw ({error})."
        ) from error
    if flag not in (0, 1) or not sentences or not all(sentences):
        raise DataSetUnusable(f"{CAPTIONS}, images[{number}]: changeflag is not 0 or 1, or a sentence is empty.")
    if Path(name).name != name or Path(place).name != place:
        raise DataSetUnusable(f"{CAPTIONS}, images[{number}]: filename or filepath leads to another folder.")
    root = folder / "images" / place
    notes = [FLAG_CONTRADICTS] if is_unchanged(sentences) == bool(flag) else []
    labels: frozenset[tuple[str, ...]] | None = None
    if is_masked:
        labels = frozenset((kind, "changed") for kind in mask_classes(root / "label" / name))
        if bool(labels) == is_unchanged(sentences):
            notes.append(MASK_CONTRADICTS)
        if split is Split.TRAIN and not flag:
            sentences = UNCHANGED[:1]
    return Sample(
        id=Path(name).stem,
        subject=_area(name),
        split=split,
        domain=Domain.SATELLITE,
        images=ImageFiles(root / "A" / name, root / "B" / name),
        wording=Wording.LEVIR_CC,
        answers=sentences,
        labels=labels,
        is_changed=bool(flag),
        notes=tuple(notes),
    )


def is_unchanged(sentences: tuple[str, ...]) -> bool:
    """Whether every sentence is one of the fixed ones."""
    return all(says_unchanged(one) for one in sentences)


def says_unchanged(text: str) -> bool:
    """Whether a text is one of the five fixed sentences, full stop or not: the published test of "no change"."""
    return " ".join(re.sub(r"[.?]", " ", text.casefold()).split()) in UNCHANGED


def _area(name: str) -> str:
    stem = Path(name).stem
    match = re.fullmatch(r"(.*?)(\d+)", stem)
    if match is None:
        return stem
    return f"{match[1]}scene_{(int(match[2]) - 1) // _CUT_FROM_ONE_SCENE:04d}"


def mask_classes(path: Path) -> frozenset[str]:
    """Which of road and building a mask of LEVIR-MCI marks as changed, grey or coloured.

    Raises:
        DataSetUnusable: The mask is missing, cannot be decoded, or has other values.
    """
    try:
        with Image.open(path) as opened:
            values = np.asarray(opened.convert("RGB"))
    except FileNotFoundError as error:
        raise DataSetUnusable(f"label/{path.name} is not there; fetch the masks of the data set first.") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataSetUnusable(f"label/{path.name} cannot be decoded; fetch it again.") from error
    found = {(int(r), int(g), int(b)) for r, g, b in np.unique(values.reshape(-1, 3), axis=0)}
    kinds = {(grey, grey, grey): kind for grey, kind in _GREY.items()} | _COLOURS
    if not found <= set(kinds):
        raise DataSetUnusable(f"label/{path.name} has values other than 0, 128 and 255, or black, yellow and red.")
    return frozenset(kind for colour in found if (kind := kinds[colour]) is not None)
