"""De-identified archives: nothing planted is left, intervals and pairs are as before, nothing else is claimed."""

import csv
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from ingest.deidentify.batch import Deidentified, deidentify_archive
from ingest.deidentify.errors import OutputUnusable
from ingest.deidentify.options import Options, PixelStep
from ingest.deidentify.secret import Secret
from ingest.dicom.header import counted_warnings
from ingest.index import index_archive
from ingest.pair import pair_acquisitions
from ingest.pairing import Pairing
from tests.ingest.identity_plants import (
    ACCESSION,
    BIRTH,
    PATIENT,
    STUDY,
    Written,
    found_in,
    plant,
    read_written,
)
from tests.ingest.radiograph_files import a_radiograph, write_radiograph

SECRET = Secret(b"a key for tests, of forty characters....")
OTHER = Secret(b"another key for tests, forty characters.")
RISKY = Options(pixels=PixelStep.RISKY)
VIEWS = {"PA": "PA", "AP": "AP", "AP Supine": "AP", "L": "LATERAL"}


def run(root: Path, out: Path, *, secret: Secret = SECRET, options: Options = RISKY) -> Deidentified:
    return deidentify_archive(root, out, secret=secret, options=options, workers=0)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def planted(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of data/dicom with identifiers everywhere, under names that hold them, beside text that does, too."""
    root = tmp_path_factory.mktemp("planted")
    sources = sorted(path for path in (shared_data / "dicom").rglob("*") if path.is_file())
    with counted_warnings():
        count = sum(
            plant(path, root / f"Quetzal_{PATIENT}" / f"{STUDY}_{number}_{path.name}", number)
            for number, path in enumerate(sources)
        )
    assert count > 70
    (root / "worklist.csv").write_text(f"{PATIENT};Quetzal\n")
    (root / "scan.pdf").write_bytes(b"%PDF-1.7 Quetzal \0")
    (root / "studies.zip").write_bytes(b"PK\x03\x04Quetzal\0")
    return root


@pytest.fixture(scope="module")
def done(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deidentified, Path]:
    out = tmp_path_factory.mktemp("out")
    return run(planted, out), out


@pytest.fixture(scope="module")
def results(done: tuple[Deidentified, Path]) -> dict[str, Written]:
    return {path.name: read_written(path) for path in sorted(done[1].rglob("*.dcm"))}


def test_the_search_finds_what_was_planted(planted: Path) -> None:
    for path in planted.rglob("*_CT_small.dcm"):
        assert {"quetzal", PATIENT, ACCESSION, BIRTH, STUDY, "2020-01-31"} <= set(found_in(path.read_bytes()))
    searched = [set(found_in(path.read_bytes())) for path in sorted(planted.rglob("*"))[:40] if path.is_file()]
    assert {"山川", "кеткаль", "王小", "yöllów"} <= set().union(*searched)


def test_no_byte_of_any_header_holds_what_was_planted(results: dict[str, Written]) -> None:
    assert len(results) > 60
    assert {name: found_in(one.header) for name, one in results.items() if found_in(one.header)} == {}


def test_names_of_files_and_the_manifest_hold_nothing_of_the_originals(done: tuple[Deidentified, Path]) -> None:
    _, out = done

    assert found_in("\n".join(tree(out)).encode()) == []
    assert found_in((out / "manifest.json").read_bytes()) == []
    assert not {path.suffix for path in out.rglob("*") if path.is_file()} - {".dcm", ".json"}


def test_what_is_no_image_is_refused_or_listed_and_never_copied(done: tuple[Deidentified, Path]) -> None:
    summary, _ = done
    codes = Counter(refusal.code for refusal in summary.refusals)

    assert summary.files_seen == summary.written + summary.kept + len(summary.refusals) + len(summary.sidecars)
    assert "scan.pdf" in {one.item for one in summary.refusals if one.code == "NOT_DICOM"}
    assert "studies.zip" in {one.item for one in summary.refusals if one.code == "ZIP_UNREADABLE"}
    assert "worklist.csv" in {one.item for one in summary.sidecars}
    # Two plain and one structured report, and the plan.
    assert codes["NOT_AN_IMAGE"] == 4
    assert all(refusal.reason.rstrip().endswith(".") for refusal in summary.refusals)


def test_what_was_done_is_recorded_and_nothing_else_is_claimed(results: dict[str, Written]) -> None:
    for one in results.values():
        dataset = one.dataset
        codes = {item.CodeValue for item in dataset.DeidentificationMethodCodeSequence}
        was_looked_at = any("Text in pixels" in line for line in dataset.DeidentificationMethod)

        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
        assert codes == {"113100", "113105", "113107"} | ({"113101"} if was_looked_at else set())
        assert not was_looked_at or dataset.BurnedInAnnotation == "NO"
        assert all(len(line) <= 64 for line in dataset.DeidentificationMethod)


def test_pixels_that_were_not_masked_keep_every_byte(planted: Path, results: dict[str, Written]) -> None:
    expected = Counter()
    for path in planted.rglob("*"):
        if path.is_file() and path.suffix not in (".csv", ".pdf", ".zip"):
            dataset = pydicom.dcmread(path)
            expected.update(bytes(dataset[key].value) for key in ("PixelData", "FloatPixelData") if key in dataset)

    untouched = [one for one in results.values() if "113101" not in str(one.dataset.DeidentificationMethodCodeSequence)]

    assert len(untouched) > 45
    assert all(expected[one.pixels] for one in untouched)


def test_no_private_element_overlay_or_padding_is_left_at_any_depth(results: dict[str, Written]) -> None:
    for one in results.values():
        tags = [element.tag for element in one.dataset.iterall()]
        assert not [tag for tag in tags if tag.is_private or tag.group in (0x6000, 0xFFFC)]
        assert one.dataset.preamble == bytes(128)
        assert set(one.dataset.file_meta.dir()) == {
            "FileMetaInformationGroupLength",
            "FileMetaInformationVersion",
            "ImplementationClassUID",
            "ImplementationVersionName",
            "MediaStorageSOPClassUID",
            "MediaStorageSOPInstanceUID",
            "TransferSyntaxUID",
        }


def test_references_still_point_at_the_same_images(results: dict[str, Written]) -> None:
    for one in results.values():
        (reference,) = one.dataset.ReferencedImageSequence
        assert reference.ReferencedSOPInstanceUID == one.dataset.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == one.dataset.SOPClassUID
        assert one.dataset.file_meta.MediaStorageSOPInstanceUID == one.dataset.SOPInstanceUID
        assert one.dataset.FrameOfReferenceUID.startswith("2.25.")


def test_dates_within_a_file_move_together(results: dict[str, Written]) -> None:
    person = SECRET.person(PATIENT, "St. Nowhere")
    for one in results.values():
        moved = pydicom.valuerep.DA(one.dataset.StudyDate)
        assert moved - date(2020, 1, 31) == person.shift
        assert one.dataset.AcquisitionDateTime == f"{moved:%Y%m%d}101500.000000"
        assert pydicom.valuerep.DA(one.dataset.ContentDate) - moved == timedelta(days=2)
        assert one.dataset.StudyTime == "101500"


def test_a_second_run_writes_nothing_and_an_empty_folder_gets_the_same_bytes(
    planted: Path, done: tuple[Deidentified, Path], tmp_path: Path
) -> None:
    first, out = done
    before = tree(out)
    some = tmp_path / "some"
    for path in sorted(planted.rglob("*_MR_small*")):
        (some / path.name).parent.mkdir(parents=True, exist_ok=True)
        (some / path.name).write_bytes(path.read_bytes())

    again = run(planted, out)
    apart = run(some, tmp_path / "out")

    assert (again.written, again.kept) == (0, first.written + first.kept)
    assert tree(out) == before
    assert apart.written > 4
    made = tree(tmp_path / "out")
    made.pop("manifest.json")
    assert set(made.values()) <= set(before.values())


def test_no_new_error_of_dciodvfy(
    planted: Path, results: dict[str, Written], done: tuple[Deidentified, Path], require_program: Callable[[str], Path]
) -> None:
    tool = require_program("dciodvfy")

    def errors(path: Path) -> set[str]:
        told = subprocess.run([tool, "-new", path], capture_output=True, text=True, errors="replace")
        lines = (told.stdout + told.stderr).splitlines()
        return {re.sub(r"<[^<>]*>", "<>", line) for line in lines if line.startswith("Error")}

    new = {}
    for path in planted.rglob("*"):
        if not path.is_file() or path.suffix in (".csv", ".pdf", ".zip"):
            continue
        with counted_warnings():
            uid = SECRET.uid(str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID))
        # Of files that share a UID, the first by name has the plain one.
        for written in done[1].rglob(f"{uid}.dcm"):
            found = errors(written) - errors(path)
            new.update({path.name: found} if found and f"{uid}_2.dcm" not in results else {})
    assert new == {}


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict[str, str]]:
    with (shared_data / "cxr" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def radiographs(shared_data: Path, rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection of radiographs as CR studies of named patients; body part and view stand in descriptions only."""
    root = tmp_path_factory.mktemp("cxr")
    for number, row in enumerate(rows):
        with Image.open(shared_data / "cxr" / "images" / row["filename"]) as image:
            small = image.convert("L").reduce(8)
        offset = row["offset_days"]
        when = (date(2020, 3, 1) + timedelta(days=int(float(offset)))).strftime("%Y%m%d") if offset else ""
        dataset = a_radiograph(
            np.asarray(small),
            PatientID=row["patientid"],
            PatientName=f"Quetzal{row['patientid']}^Anna",
            PatientSex=row["sex"],
            PatientBirthDate=BIRTH,
            AccessionNumber=ACCESSION,
            StudyDate=when,
            StudyTime=f"{number % 24:02d}3015.25" if when else "",
            BodyPartExamined="",
            ViewPosition="",
            StudyDescription=f"Thorax, Quetzal {when}",
            SeriesDescription=f"{VIEWS[row['view']]} erect, Dr Quetzal",
            SOPInstanceUID=f"1.2.826.0.1.20200131.{number}",
            StudyInstanceUID=f"1.2.826.0.2.20200131.{number}",
        )
        write_radiograph(root / f"{(number * 37) % len(rows):03d}" / "IMG", dataset)
    return root


def pairs_of(root: Path) -> Pairing:
    return pair_acquisitions(index_archive(root, workers=0).acquisitions)


def told(pairing: Pairing, name: Callable[[str], str]) -> tuple[dict[str, tuple[str, float]], dict[str, str]]:
    """Prior and interval of each current, and the codes of those without one, by the names of the results."""
    pairs = {name(pair.current.id): (name(pair.prior.id), pair.interval_days) for pair in pairing.pairs}
    return pairs, {name(refusal.item): refusal.code for refusal in pairing.unpaired}


def test_pairs_and_intervals_are_exactly_as_before(radiographs: Path, tmp_path: Path) -> None:
    before = told(pairs_of(radiographs), SECRET.uid)

    summary = run(radiographs, tmp_path / "out")
    after = told(pairs_of(tmp_path / "out"), str)

    assert (summary.written, summary.refusals) == (91, ())
    assert len(before[0]) > 50
    assert after == before
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert found_in(read_written(path).header, ("quetzal", ACCESSION, BIRTH, "20200131")) == []


def test_batches_months_apart_agree_and_another_key_does_not(radiographs: Path, tmp_path: Path) -> None:
    files = sorted(path for path in radiographs.rglob("IMG"))
    for number, path in enumerate(files):
        target = tmp_path / ("early" if number % 2 else "late") / path.parent.name / "IMG"
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())

    run(tmp_path / "early", tmp_path / "one")
    run(tmp_path / "late", tmp_path / "two")
    run(radiographs, tmp_path / "whole")
    run(radiographs, tmp_path / "other", secret=OTHER)

    parts = {**tree(tmp_path / "one"), **tree(tmp_path / "two")}
    whole, other = tree(tmp_path / "whole"), tree(tmp_path / "other")
    parts.pop("manifest.json")
    whole.pop("manifest.json")
    assert parts == whole
    assert set(other) & set(whole) == set()
    with pytest.raises(OutputUnusable, match="key_check"):
        run(radiographs, tmp_path / "whole", secret=OTHER)


def test_an_interrupted_run_is_finished_by_the_next(radiographs: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(number: int, total: int) -> None:
        if number == 20:
            raise Killed

    with pytest.raises(Killed):
        deidentify_archive(radiographs, tmp_path / "out", secret=SECRET, options=RISKY, workers=0, progress=stop)
    (tmp_path / "out" / ".unfinished").mkdir()
    (tmp_path / "out" / ".unfinished" / "half").write_bytes(b"half a file")

    finished = run(radiographs, tmp_path / "out")
    run(radiographs, tmp_path / "whole")

    assert (finished.written, finished.kept) == (71, 20)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_late_file_of_a_killed_run_holds_nobody_up(
    radiographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = tmp_path / "out" / ".unfinished"
    unfinished.mkdir(parents=True)
    remove = shutil.rmtree

    def remove_and_lose_the_race(folder: Path, **options: bool) -> None:
        remove(folder, **options)
        monkeypatch.undo()
        folder.mkdir()
        (folder / "late").write_bytes(b"written by a process that had not ended yet")

    monkeypatch.setattr(shutil, "rmtree", remove_and_lose_the_race)

    finished = run(radiographs, tmp_path / "out")

    assert finished.written == 91
    assert not unfinished.exists()


def test_pairs_of_the_mixed_archive_are_as_before(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "dicom" / "dicomdirtests"
    before = told(pairs_of(root), SECRET.uid)

    run(root, tmp_path / "out")

    assert told(pairs_of(tmp_path / "out"), str) == before


@pytest.mark.parametrize("inside", ["", "results", ".."])
def test_results_never_go_into_the_archive_or_around_it(radiographs: Path, inside: str) -> None:
    before = tree(radiographs)

    with pytest.raises(OutputUnusable, match="elsewhere"):
        run(radiographs, radiographs / inside)

    assert tree(radiographs) == before


def test_a_folder_with_other_things_is_left_alone(radiographs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(OutputUnusable, match="empty"):
        run(radiographs, tmp_path)

    assert tree(tmp_path) == {"thesis.txt": b"mine"}


def test_one_uid_with_two_contents_gives_two_files(tmp_path: Path) -> None:
    for number, value in enumerate((1, 2)):
        dataset = a_radiograph(np.full((6, 8), value, dtype=np.uint16), SOPInstanceUID="1.2.3", StudyInstanceUID="1.2")
        dataset.SeriesInstanceUID = "1.2.2"
        write_radiograph(tmp_path / "in" / f"{number}.dcm", dataset)

    summary = run(tmp_path / "in", tmp_path / "out")

    names = sorted(path.name for path in (tmp_path / "out").rglob("*.dcm"))
    assert summary.written == 2
    assert names == [f"{SECRET.uid('1.2.3')}.dcm", f"{SECRET.uid('1.2.3')}_2.dcm"]
