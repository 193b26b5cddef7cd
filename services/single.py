"""How are two files on their own paired? By the rules of an archive that holds just these two."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ingest.errors import Refusal
from ingest.index import index_archive
from ingest.pair import Pair, pair_acquisitions


def pair_files(prior: Path, current: Path) -> Pair | Refusal:
    """The pair that two files form, or why they form none; the refusal's item says which of the two it is about."""
    files = {"prior": prior.resolve(), "current": current.resolve()}
    with TemporaryDirectory(prefix="interval-") as folder:
        root = Path(folder)
        names = {}
        for role, path in files.items():
            (root / role).mkdir()
            # What lies beside an image under the same stem may say where it lies on the ground.
            for beside in (path, *(one for one in path.parent.glob(f"{_literal(path.stem)}.*") if one != path)):
                (root / role / beside.name).symlink_to(beside)
            names[f"{role}/{path.name}"] = role
        index = index_archive(root, workers=1)
        pairing = pair_acquisitions([one for one in index.acquisitions if one.name in names])
    if pairing.pairs:
        found = pairing.pairs[0]
        if names[found.prior.name] != "prior":
            return Refusal(
                item="prior", level="pair", code="WRONG_ORDER", reason="PRIOR was acquired after CURRENT; swap the two."
            )
        return replace(
            found,
            prior=replace(found.prior, path=files["prior"]),
            current=replace(found.current, path=files["current"]),
        )
    roles = names | {one.id: names[one.name] for one in index.acquisitions if one.name in names}
    unread = [one for one in index.refusals if one.item in roles]
    unpaired = [*pairing.unpaired, *pairing.unused]
    # A file that cannot be used comes first. Of two that can, the later one tells why they are no pair: the earlier
    # one merely has no prior.
    for one in (*unread, *sorted(unpaired, key=lambda one: roles.get(one.item) == "prior")):
        return replace(one, item=roles.get(one.item, "pair"))
    return Refusal(
        item="pair",
        level="pair",
        code="NOT_RECOGNISED",
        reason="One of the two files is no image; give two DICOM files or two GeoTIFF scenes.",
    )


def _literal(stem: str) -> str:
    """A file's stem as a pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)
