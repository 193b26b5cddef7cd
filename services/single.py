"""How are two files on their own paired, or two folders with one series each? As in an archive of just these two."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ingest.acquisition import Acquisition
from ingest.bundle import INTO
from ingest.errors import Refusal
from ingest.index import index_archive
from ingest.pair import Pair, pair_acquisitions


def pair_files(prior: Path, current: Path) -> Pair | Refusal:
    """The pair that two files or folders form, or why they form none; the refusal's item says which one it is about."""
    given = {"prior": prior.resolve(), "current": current.resolve()}

    def role_of(name: str) -> str:
        """Which of the two a file is of; empty for what merely lies beside it."""
        role, _, rest = name.partition("/")
        path = given[role]
        return role if path.is_dir() or rest == path.name or rest.startswith(path.name + INTO) else ""

    with TemporaryDirectory(prefix="interval-") as folder:
        root = Path(folder)
        for role, path in given.items():
            _link(path, root / role)
        index = index_archive(root, workers=0)
        homes = {role: path if path.is_dir() else path.parent for role, path in given.items()}
        acquisitions = [_at_home(one, root, homes) for one in index.acquisitions if role_of(one.name)]
        pairing = pair_acquisitions(acquisitions)
    pairs = [pair for pair in pairing.pairs if role_of(pair.prior.name) != role_of(pair.current.name)]
    if len(pairs) > 1:
        return Refusal(
            item="pair",
            level="pair",
            code="SEVERAL_PAIRS",
            reason="The two folders form several pairs; give one series each, or run both as one archive.",
        )
    if pairs:
        if role_of(pairs[0].prior.name) != "prior":
            return Refusal(
                item="prior", level="pair", code="WRONG_ORDER", reason="PRIOR was acquired after CURRENT; swap the two."
            )
        return pairs[0]
    unread = [replace(one, item=role_of(one.item)) for one in index.refusals if role_of(one.item)]
    by_id = {one.id: role_of(one.name) for one in acquisitions}
    unpaired = [replace(one, item=by_id.get(one.item, "pair")) for one in (*pairing.unpaired, *pairing.unused)]
    # What cannot be used comes first. Of two that can, the later one tells why they are no pair: the earlier one merely
    # has no prior. In a folder, one file that cannot be used says less than what became of the others.
    unpaired.sort(key=lambda one: one.item == "prior")
    used = set(by_id.values())
    for one in (*(one for one in unread if one.item not in used), *unpaired, *unread):
        return one
    return Refusal(
        item="pair",
        level="pair",
        code="NOT_RECOGNISED",
        reason="One of the two is no image; give two DICOM files, two folders with one series each, or two GeoTIFFs.",
    )


def _link(path: Path, to: Path) -> None:
    """Links a file with what lies beside it, or all files of a folder."""
    if path.is_dir():
        links = {one.relative_to(path): one for one in sorted(path.rglob("*")) if one.is_file()}
    else:
        # What lies beside an image under the same stem may say where it lies on the ground.
        links = {Path(one.name): one for one in (path, *path.parent.glob(f"{_literal(path.stem)}.*"))}
    for name, target in links.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).symlink_to(target)


def _at_home(one: Acquisition, root: Path, homes: dict[str, Path]) -> Acquisition:
    """The acquisition with the paths that its links below `root` stand for, by their folder there."""

    def home(path: Path) -> Path:
        role, *rest = path.relative_to(root).parts
        return homes[role].joinpath(*rest)

    return replace(one, path=home(one.path), files=tuple(replace(file, path=home(file.path)) for file in one.files))


def _literal(stem: str) -> str:
    """A file's stem as a pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)
