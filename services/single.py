"""How are two files on their own paired, or two folders with one series each? As in an archive of just these two."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.index import index_archive
from ingest.pair import Pair, pair_acquisitions


def pair_files(prior: Path, current: Path) -> Pair | Refusal:
    """The pair that two files or folders form, or why they form none; the refusal's item says which one it is about."""
    given = {"prior": prior.resolve(), "current": current.resolve()}
    with TemporaryDirectory(prefix="interval-") as folder:
        root = Path(folder)
        asked = {name: role for role, path in given.items() for name in _link(path, root / role)}
        index = index_archive(root, workers=0)
        acquisitions = [_at_home(one) for one in index.acquisitions if one.name in asked]
        pairing = pair_acquisitions(acquisitions)
    pairs = [pair for pair in pairing.pairs if asked[pair.prior.name] != asked[pair.current.name]]
    if len(pairs) > 1:
        return Refusal(
            item="pair",
            level="pair",
            code="SEVERAL_PAIRS",
            reason="The two folders form several pairs; give one series each, or run both as one archive.",
        )
    if pairs:
        if asked[pairs[0].prior.name] != "prior":
            return Refusal(
                item="prior", level="pair", code="WRONG_ORDER", reason="PRIOR was acquired after CURRENT; swap the two."
            )
        return pairs[0]
    roles = asked | {one.id: asked[one.name] for one in acquisitions}
    unread = [one for one in index.refusals if one.item in roles]
    unpaired = [*pairing.unpaired, *pairing.unused]
    # What cannot be used comes first. Of two that can, the later one tells why they are no pair: the earlier one merely
    # has no prior.
    for one in (*unread, *sorted(unpaired, key=lambda one: roles.get(one.item) == "prior")):
        return replace(one, item=roles.get(one.item, "pair"))
    return Refusal(
        item="pair",
        level="pair",
        code="NOT_RECOGNISED",
        reason="One of the two is no image; give two DICOM files, two folders with one series each, or two GeoTIFFs.",
    )


def _link(path: Path, to: Path) -> list[str]:
    """Links a file with what lies beside it, or all files of a folder; the names of those that were asked for."""
    if path.is_dir():
        links = {one.relative_to(path): one for one in sorted(path.rglob("*")) if one.is_file()}
        asked = list(links)
    else:
        # What lies beside an image under the same stem may say where it lies on the ground.
        links = {Path(one.name): one for one in (path, *path.parent.glob(f"{_literal(path.stem)}.*"))}
        asked = [Path(path.name)]
    for name, target in links.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).symlink_to(target)
    return [(to.name / name).as_posix() for name in asked]


def _at_home(one: Acquisition) -> Acquisition:
    """The acquisition with the paths that its links point to."""
    files = tuple(replace(file, path=file.path.resolve()) for file in one.files)
    return replace(one, path=one.path.resolve(), files=files)


def _literal(stem: str) -> str:
    """A file's stem as a pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)
