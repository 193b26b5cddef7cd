"""Evaluation of folders in published format: equal to the peers', to an independent count, and to what must hold."""

import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from sklearn.metrics import balanced_accuracy_score, f1_score

from reports.difference import Difference
from reports.vocabulary import FINDINGS, Domain
from tests.training.published_sets import UNCHANGED, Study, write_levir, write_medical_diff_vqa, write_ms_cxr_t
from training.answers import Answer, AnswersUnusable
from training.phantoms.geotiff_archive import write_geotiff_archive
from training.readers.folder import read_folder
from training.readers.sample import Split
from training.scoring import score_answers

NAMES = FINDINGS[Domain.RADIOLOGY]
CAPTIONS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
#: Measures whose largest value is not 1, or depends on the references.
WITHOUT_MAXIMUM = {
    "CIDEr",
    "S*m",
    "macro F1, 0 for the others",
    'always "changed"',
    "unparsable share",
    "false alarms per unchanged pair",
}


def drawn(rng):
    """A difference with up to three findings each way, in one of three nothing."""
    if rng.random() < 1 / 3:
        return Difference()
    some = rng.sample(NAMES[:9], k=rng.randint(1, 5))
    cut = rng.randint(0, len(some))
    return Difference(added=tuple(some[:cut]), missing=tuple(some[cut:]))


@pytest.fixture(scope="module")
def diff_vqa(tmp_path_factory):
    """Thirty patients with two pairs each, one answer about a level; and a run that is half right."""
    rng = random.Random(4)
    studies = [Study(10000000 + p, 50000000 + 10 * p + n, f"218{n}0101") for p in range(30) for n in range(3)]
    questions = []
    for patient in range(30):
        for n in (1, 2):
            main, reference = studies[3 * patient + n], studies[3 * patient]
            questions.append({"main": main.study, "reference": reference.study, "answer": drawn(rng).text() + " "})
    questions[7]["answer"] = "the level of edema has changed from mild to severe. "
    folder = write_medical_diff_vqa(tmp_path_factory.mktemp("vqa"), studies, questions)
    samples = read_folder(folder).of(Split.TEST)
    said = {one.id: one.answers[0] if rng.random() < 0.5 else drawn(rng).text() for one in samples}
    for number, text in ((3, "The lungs are clear."), (11, "")):
        said[samples[number].id] = text
    return folder, samples, said


@pytest.fixture(scope="module")
def levir(tmp_path_factory, shared_data):
    """Real sentences of sixty test pairs; and a run that answers with a sentence of the next pair now and then."""
    entries = json.loads((shared_data / "satellite" / "levir_cc" / "levir_cc_sentences.json").read_text())["images"]
    chosen = [one for one in entries if one["split"] == "test"][:60]
    pairs = [(one["filename"].removesuffix(".png"), one["sentences"]) for one in chosen]
    folder = write_levir(tmp_path_factory.mktemp("levir"), pairs)
    samples = read_folder(folder).of(Split.TEST)
    said = {one.id: (samples[n - 1] if n % 3 else one).answers[n % 5] for n, one in enumerate(samples)}
    return folder, samples, said


def score(tmp_path, folder, said, **options):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(Answer(id=key, text=text).to_json() + "\n" for key, text in said.items()))
    return score_answers(read_folder(folder), Split.TEST, path, resamples=50, **options)


def values(section, of="own"):
    return {name: one.value for name, one in getattr(section, of).items()}


def section_of(result, beginning):
    (found,) = (one for one in result.sections if one.title.startswith(beginning))
    return found


def peers(references, candidates):
    """pycocoevalcap's figures on tokens that stand in strings."""
    gts, res = dict(enumerate(references)), {n: [one] for n, one in enumerate(candidates)}
    meteor = Meteor()
    found = dict(zip(CAPTIONS[:4], Bleu(4).compute_score(gts, res, verbose=0)[0], strict=True))
    found["METEOR"] = meteor.compute_score(gts, res)[0]
    for pipe in (meteor.meteor_p.stdout, meteor.meteor_p.stderr):
        pipe.close()
    found["ROUGE-L"] = Rouge().compute_score(gts, res)[0]
    found["CIDEr"] = Cider().compute_score(gts, res)[0]
    return found


def test_captions_of_medical_diff_vqa_equal_pycocoevalcap(tmp_path, diff_vqa, require_program):
    require_program("java")
    folder, samples, said = diff_vqa
    cut = PTBTokenizer()
    references = cut.tokenize({n: [{"caption": one.answers[0]}] for n, one in enumerate(samples)})
    candidates = cut.tokenize({n: [{"caption": said[one.id]}] for n, one in enumerate(samples)})
    theirs = peers([references[n] for n in range(len(samples))], [candidates[n][0] for n in range(len(samples))])

    ours = values(section_of(score(tmp_path, folder, said), "Captions"))

    assert {name: ours[name] for name in CAPTIONS} == pytest.approx(theirs, abs=1e-6)
    four = [theirs[name] for name in ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")]
    assert ours["S*m"] == pytest.approx(sum(four) / 4, abs=1e-6)


@pytest.mark.slow
def test_captions_of_levir_cc_equal_pycocoevalcap(tmp_path, levir, require_program):
    require_program("java")
    folder, samples, said = levir

    def cut(text):
        # the tokenizer of the reference code: these two are dropped, commas are words
        return " ".join(text.replace(".", "").replace("?", "").replace(",", " ,").replace(";", " ;").split())

    changed = [bool(one.is_changed) for one in samples]
    result = score(tmp_path, folder, said)
    for title, taken in (("Captions", [True] * 60), ("Captions, changed pairs", changed)):
        some = [one for one, is_taken in zip(samples, taken, strict=True) if is_taken]
        theirs = peers([[cut(text) for text in one.answers] for one in some], [cut(said[one.id]) for one in some])
        (section,) = (one for one in result.sections if one.title.split(" (")[0] == title)
        assert section.n_pairs == len(some)
        assert {name: values(section)[name] for name in CAPTIONS} == pytest.approx(theirs, abs=1e-6)


@pytest.fixture
def without_java(monkeypatch):
    """Leaves METEOR out, which takes seconds to start."""
    monkeypatch.setenv("PATH", "")


def vector(text):
    """54 zeros and ones, as the paper's appendix describes the parser; written anew for this test."""
    found = np.zeros(54, dtype=int)
    for direction, pattern in enumerate(
        (r"additional findings? of (.*?) than", r"missing the findings? of (.*?) than")
    ):
        for listed in re.findall(pattern, text):
            for name in re.split(r", and |, | and ", listed):
                if name in NAMES:
                    found[2 * NAMES.index(name) + direction] = 1
    return found


@pytest.mark.usefixtures("without_java")
def test_findings_of_medical_diff_vqa_equal_an_independent_count(tmp_path, diff_vqa):
    folder, samples, said = diff_vqa
    known = np.array([vector(one.answers[0]) for one in samples])
    stated = np.array([vector(said[one.id]) for one in samples])
    changed = known.any(axis=1)
    supported = known[changed].any(axis=0)
    result = score(tmp_path, folder, said)

    published = values(section_of(result, "Findings as published"))
    assert published["micro F1"] == pytest.approx(f1_score(known[changed], stated[changed], average="micro"))
    each = f1_score(known[changed], stated[changed], average=None, zero_division=0)
    assert published["macro F1, 0 for the others"] == pytest.approx(each.mean())
    assert published["macro F1, labels with support"] == pytest.approx(each[supported].mean())

    corrected = values(section_of(result, "Findings, corrected"))
    assert corrected["micro F1"] == pytest.approx(f1_score(known, stated, average="micro"))
    assert corrected["micro F1"] < published["micro F1"]

    flags = values(section_of(result, "Changed or not as published"))
    assert flags["change accuracy"] == pytest.approx((changed == stated.any(axis=1)).mean())
    assert flags['always "changed"'] == pytest.approx(changed.mean())
    assert flags["balanced accuracy"] == pytest.approx(balanced_accuracy_score(changed, stated.any(axis=1)))
    assert flags["specificity"] == pytest.approx((~stated.any(axis=1))[~changed].mean())


@pytest.mark.usefixtures("without_java")
def test_corrected_flags_know_levels_and_do_not_believe_what_they_cannot_read(tmp_path, diff_vqa):
    folder, samples, said = diff_vqa
    changed = np.array([one.answers[0] != "nothing has changed." for one in samples])
    unread = np.array([said[one.id] in ("", "The lungs are clear.") for one in samples])
    stated = np.array([said[one.id] != "nothing has changed." for one in samples])
    flags = values(section_of(score(tmp_path, folder, said), "Changed or not, corrected"))

    assert flags["change accuracy"] == pytest.approx(((changed == stated) & ~unread).mean())
    assert flags['always "changed"'] == pytest.approx(changed.mean())
    assert flags["unparsable share"] == pytest.approx(2 / 60)


@pytest.mark.usefixtures("without_java")
def test_the_always_changed_answer_scores_the_share_of_changed_pairs(tmp_path, diff_vqa):
    folder, samples, _ = diff_vqa
    always = "the main image is missing the finding of edema than the reference image."
    result = score(tmp_path, folder, {one.id: always for one in samples})

    for beginning, known in (
        ("Changed or not as published", lambda one: vector(one.answers[0]).any()),
        ("Changed or not, corrected", lambda one: one.answers[0] != "nothing has changed."),
    ):
        section = section_of(result, beginning)
        share = values(section)['always "changed"']
        assert values(section)["change accuracy"] == values(section, "constant")["change accuracy"] == share
        assert share == np.mean([known(one) for one in samples])
        assert 0 < share < 1
        assert (values(section)["specificity"], values(section)["balanced accuracy"]) == (0, 0.5)


@pytest.mark.parametrize("data_set", ["diff_vqa", pytest.param("levir", marks=pytest.mark.slow)])
def test_predictions_that_copy_the_references_score_100(tmp_path, data_set, request, require_program):
    require_program("java")
    folder, samples, _ = request.getfixturevalue(data_set)
    result = score(tmp_path, folder, {one.id: one.answers[0] for one in samples})

    for section in result.sections:
        for name, value in values(section).items():
            if name not in WITHOUT_MAXIMUM and value is not None:
                assert value == pytest.approx(1), (section.title, name)
        assert values(section).get("unparsable share", 0) == 0
    assert len(result.sections) >= 4


@pytest.mark.usefixtures("without_java")
def test_a_copied_reference_has_the_largest_cider_that_its_length_allows(tmp_path, diff_vqa):
    folder, samples, _ = diff_vqa
    result = score(tmp_path, folder, {one.id: one.answers[0] for one in samples})

    # of 10: "nothing has changed" has no 4-gram, which counts as 0 in the peer as well
    short = np.mean([one.answers[0] == "nothing has changed." for one in samples])
    assert values(section_of(result, "Captions"))["CIDEr"] == pytest.approx(10 - 2.5 * short)


@pytest.mark.usefixtures("without_java")
def test_flags_of_levir_cc_are_those_of_the_fixed_sentences(tmp_path, levir):
    folder, samples, _ = levir
    said = {one.id: UNCHANGED[n % 5] if n % 2 else "a road is built" for n, one in enumerate(samples)}
    result = score(tmp_path, folder, said)
    changed = np.array([bool(one.is_changed) for one in samples])
    stated = np.array([n % 2 == 0 for n in range(60)])

    flags = values(section_of(result, "Changed or not"))
    assert flags["change accuracy"] == pytest.approx((changed == stated).mean())
    assert flags["sensitivity"] == pytest.approx(stated[changed].mean())
    constant = values(section_of(result, "Changed or not"), "constant")
    assert constant["change accuracy"] == pytest.approx((~changed).mean())
    assert constant['always "changed"'] == pytest.approx(changed.mean())


@pytest.mark.usefixtures("without_java")
def test_a_run_is_compared_with_another_over_patients(tmp_path, diff_vqa):
    folder, samples, said = diff_vqa
    other = tmp_path / "other.jsonl"
    other.write_text("".join(Answer(id=one.id, text="nothing has changed.").to_json() + "\n" for one in samples))
    result = score(tmp_path, folder, said, against=other)

    one = section_of(result, "Changed or not as published").against["change accuracy"]
    own, theirs = (
        values(section_of(result, "Changed or not as published"), of)["change accuracy"] for of in ("own", "other")
    )
    assert one.difference == pytest.approx(own - theirs)
    assert one.interval.low < one.difference < one.interval.high
    assert one.signs.better + one.signs.worse + one.signs.tied == result.n_subjects == 30
    assert "sign test" in result.table()


def test_progressions_are_scored_by_class_and_finding(tmp_path):
    rng = random.Random(8)
    words, findings = ("improving", "stable", "worsening"), ("edema", "pneumonia")
    rows = [
        (Study(10000000 + n, 51000000 + n, "21900101"), Study(10000000 + n, 52000000 + n, "21890101"),
         {name: rng.choice(words) for name in findings})
        for n in range(40)
    ]  # fmt: skip
    folder = write_ms_cxr_t(tmp_path / "ms", rows)
    samples = read_folder(folder).of(Split.TEST)
    said = {one.id: rng.choice([*one.answers, "it is stable", "it has improved", "who knows"]) for one in samples}
    (section,) = score(tmp_path, folder, said).sections

    each = []
    for name in findings:
        own = [one for one in samples if next(iter(one.labels))[0] == name]
        known = [next(iter(one.labels))[1] for one in own]
        stems = {"improved": "improved", "stable": "stable", "worse": "worse"}
        stated = [next((change for stem, change in stems.items() if stem in said[one.id]), "none") for one in own]
        right = [[a == b for a, b in zip(known, stated, strict=True) if a == change] for change in stems]
        each.append(np.mean([np.mean(one) for one in right]))
        assert values(section)[f"macro accuracy, {name}"] == pytest.approx(each[-1])
    assert values(section)["macro accuracy, mean over findings"] == pytest.approx(np.mean(each))
    assert values(section, "constant")["macro accuracy, mean over findings"] == pytest.approx(1 / 3)


def test_reports_on_an_archive_of_our_own_are_scored_by_finding_place_and_change(tmp_path):
    write_geotiff_archive(tmp_path / "archive", places=4, seed=5)
    samples = read_folder(tmp_path / "archive", split=Split.TEST).samples
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(Answer(id=one.id, text=one.answers[0]).to_json() + "\n" for one in samples))
    data_set = read_folder(tmp_path / "archive", split=Split.TEST)
    result = score_answers(data_set, Split.TEST, path, resamples=20)

    assert values(section_of(result, "Finding, place and change: all pairs"))["micro F1"] == 1
    assert values(section_of(result, "Changed or not"))["change accuracy"] == 1


@pytest.mark.usefixtures("without_java")
def test_missing_and_strange_answers_are_refused_with_their_number(tmp_path, diff_vqa):
    folder, _, said = diff_vqa
    some = dict(list(said.items())[5:])

    with pytest.raises(AnswersUnusable, match="5 of 60 samples have no answer"):
        score(tmp_path, folder, some)
    with pytest.raises(AnswersUnusable, match="1 of 61 ids are not in the data set"):
        score(tmp_path, folder, said | {"s1-s2": "nothing has changed."})


def test_the_command_prints_the_table_and_json_without_loading_torch(tmp_path, diff_vqa):
    folder, _, said = diff_vqa
    score(tmp_path, folder, said)
    code = (
        "import sys; from services.cli import main\n"
        "try: main()\nfinally: assert not {'torch', 'transformers'} & set(sys.modules), 'heavy'"
    )
    command = [sys.executable, "-c", code, "evaluate", str(tmp_path / "answers.jsonl"), str(folder)]
    # without Java, so that its sentence is seen
    bare = os.environ | {"PATH": ""}
    table = subprocess.run(command, check=True, capture_output=True, text=True, env=bare)
    values_ = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True, env=bare).stdout)

    assert "Medical-Diff-VQA, test: 60 answers of 30 patients or areas" in table.stdout
    assert "METEOR: not computed: METEOR needs Java" in table.stdout
    assert 'always "changed"' in table.stdout
    assert "noted: 1 LEVEL" in table.stderr
    figures = values_["sections"][1]["figures"]["micro F1"]
    assert figures["interval"]["low"] < figures["value"] < figures["interval"]["high"]
    assert {tuple(one["label"]) for one in values_["sections"][1]["by_label"]} <= {
        (name, change) for name in NAMES for change in ("new", "resolved")
    }
