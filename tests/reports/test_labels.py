from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.change import Change
from reports.compose import in_report_order
from reports.errors import UnusableLabels
from reports.finding import Certainty, Finding
from reports.labels import COLUMNS, LabelledPair, Labels, read_labels, write_labels
from reports.vocabulary import FINDINGS, PLACES, Domain

HEADER = ",".join(COLUMNS)


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_pair_is_found_by_ids_and_by_names(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "radiology,1.2.3,1.2.4,a/prior.dcm,a/current.dcm,pneumothorax,left,new,certain",
        "satellite,,,b/2019.tif,b/2021.tif,road,north-west,stable,possible",
        "radiology,1.2.3,1.2.4,a/prior.dcm,a/current.dcm,atelectasis,left,stable,certain",
        "satellite,,,c/2019.tif,c/2021.tif,,,,",
    )

    labels = read_labels(path)

    assert [len(pair.findings) for pair in labels.pairs] == [2, 1, 0]
    lungs = labels.of(prior_id="1.2.3", current_id="1.2.4")
    assert lungs is labels.of(prior_name="a/prior.dcm", current_name="a/current.dcm")
    assert lungs is not None
    assert [item.finding for item in lungs.findings] == ["atelectasis", "pneumothorax"]
    empty = labels.of(prior_id="scene:1", current_id="scene:2", prior_name="c/2019.tif", current_name="c/2021.tif")
    assert empty is not None
    assert empty.findings == ()


def test_a_pair_without_labels_is_none_and_not_empty(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "satellite,,,b/2019.tif,b/2021.tif,,,,"))

    assert labels.of(prior_name="b/2021.tif", current_name="b/2019.tif") is None
    assert labels.of() is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("radiology,1,2,a,b,pneumonitis,left,new,certain", "line 3.*'pneumonitis' is no finding"),
        ("radiology,1,2,a,b,pneumonia,top,new,certain", "line 3.*'top' is no place"),
        ("radiology,1,2,a,b,pneumonia,left,bigger,certain", "line 3.*'bigger' is no change"),
        ("radiology,1,2,a,b,pneumonia,left,new,sure", "line 3.*'sure' is no certainty"),
        ("radiology,1,2,a,b,pneumonia,left,new,", "line 3.*'' is no certainty"),
        ("oncology,1,2,a,b,pneumonia,left,new,certain", "line 3.*'oncology' is no domain"),
        ("radiology,1,2,a,b,pneumonia,left,new", "line 3.*8 cells"),
        ("radiology,1,2,a,b,hernia,left,worse,certain", "line 3.*repeats line 2"),
        ("radiology,1,2,a,b,,,,", "line 3.*without findings.*line 2"),
        ("radiology,1,,a,,hernia,left,worse,certain", "line 3.*neither two ids nor two names"),
        ("radiology,1,2,a,c,pneumonia,left,new,certain", "line 3.*ids are those of another pair in line 2"),
        ("radiology,1,3,a,b,pneumonia,left,new,certain", "line 3.*names are those of another pair in line 2"),
        ('radiology,1,2,a,b,"pneumonia,left,new,certain', "line 3.*no valid CSV"),
    ],
)
def test_a_wrong_line_is_an_error_that_names_it(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path, "radiology,1,2,a,b,hernia,left,new,certain", row)

    with pytest.raises(UnusableLabels, match=f"labels.csv, {message}") as caught:
        read_labels(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_finding_beside_a_row_without_findings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnusableLabels, match=r"line 3.*without findings"):
        read_labels(written(tmp_path, "radiology,1,2,a,b,,,,", "radiology,1,2,a,b,hernia,left,new,certain"))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("place", "site"), "unknown 'site'; missing 'place'"),
        (HEADER + ",reader", "unknown 'reader'"),
        (HEADER + ",place", "occur twice"),
        ("", "missing 'domain'"),
    ],
)
def test_wrong_columns_are_an_error(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(UnusableLabels, match=message):
        read_labels(written(tmp_path, header=header))


def test_columns_may_come_in_another_order_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    names = list(reversed(COLUMNS))
    path.write_text(",".join(names) + "\ncertain,new,left,hernia,b,a,2,1,radiology\n", encoding="utf-8-sig")

    pair = read_labels(path).pairs[0]

    assert (pair.prior_id, pair.current_name) == ("1", "b")
    assert pair.findings[0].change is Change.NEW


def test_a_missing_file_and_another_encoding_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnusableLabels, match=r"none.csv cannot be read: No such file"):
        read_labels(tmp_path / "none.csv")
    path = tmp_path / "latin.csv"
    path.write_bytes(HEADER.encode() + b"\nradiology,1,2,M\xfcller,b,,,,\n")
    with pytest.raises(UnusableLabels, match="not UTF-8"):
        read_labels(path)


def test_labels_with_one_pair_twice_are_not_written(tmp_path: Path) -> None:
    pair = LabelledPair(domain=Domain.RADIOLOGY, prior_id="1", current_id="2")

    with pytest.raises(UnusableLabels, match="twice"):
        write_labels(tmp_path / "labels.csv", [pair, pair])
    assert not (tmp_path / "labels.csv").exists()
    with pytest.raises(UnusableLabels, match="neither"):
        Labels((LabelledPair(domain=Domain.RADIOLOGY, prior_id="1"),))


names = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def labelled_pairs(draw: st.DrawFn) -> LabelledPair:
    domain = draw(st.sampled_from(Domain))
    places = draw(st.sets(st.tuples(st.sampled_from(FINDINGS[domain]), st.sampled_from(PLACES[domain])), max_size=5))
    return LabelledPair(
        domain=domain,
        prior_id=draw(names),
        current_id=draw(names),
        prior_name=draw(names.filter(bool)),
        current_name=draw(names.filter(bool)),
        findings=in_report_order(
            Finding(
                domain=domain,
                finding=finding,
                place=place,
                change=draw(st.sampled_from(Change)),
                certainty=draw(st.sampled_from(Certainty)),
            )
            for finding, place in places
        ),
    )


@given(
    st.lists(
        labelled_pairs(),
        max_size=5,
        unique_by=(lambda pair: (pair.prior_id, pair.current_id), lambda pair: (pair.prior_name, pair.current_name)),
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_written_and_read_again_are_the_same(tmp_path: Path, pairs: list[LabelledPair]) -> None:
    path = tmp_path / "labels.csv"

    write_labels(path, pairs)

    assert read_labels(path) == Labels(tuple(pairs))
