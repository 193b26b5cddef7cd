import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from reports.captions import CIDER, LENGTH, PAIRS, ROUGE, bleu, caption_sums, tokens, tokens_with_commas
from reports.meteor import MeteorMissing, as_ids, meteor, meteor_sums
from training.readers.levir import says_unchanged

VOCABULARY = ("the", "a", "house", "road", "is", "was", "built", "beside", "new", "left", "edema")
SAME = ("the", "scene", "is", "the", "same", "as", "before")

words = st.lists(
    st.sampled_from(["the", "a", "house", "road", "is", "was", "built", "beside", "new", "left", "edema"]),
    min_size=1,
    max_size=12,
)
pairs = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=5)), min_size=2, max_size=8)


def scores(candidates, references):
    """BLEU-1 to 4, ROUGE-L, CIDEr of ours."""
    columns = caption_sums(candidates, references)
    sums = columns.sum(axis=0, keepdims=True)
    return [*(float(bleu(sums, n)[0]) for n in range(1, 5)), *(sums[0, [ROUGE, CIDER]] / sums[0, PAIRS])]


def peers(candidates, references):
    """The same of pycocoevalcap."""
    res = {number: [" ".join(one)] for number, one in enumerate(candidates)}
    gts = {number: [" ".join(one) for one in several] for number, several in enumerate(references)}
    return [
        *Bleu(4).compute_score(gts, res, verbose=0)[0],
        Rouge().compute_score(gts, res)[0],
        Cider().compute_score(gts, res)[0],
    ]


@pytest.fixture(scope="module")
def levir(shared_data):
    """The real test split: 1,929 pairs of five sentences each."""
    entries = json.loads((shared_data / "satellite" / "levir_cc" / "levir_cc_sentences.json").read_text())["images"]
    return [[tokens_with_commas(text) for text in one["sentences"]] for one in entries if one["split"] == "test"]


@settings(max_examples=60)
@given(pairs)
def test_every_metric_equals_its_peer(drawn):
    candidates = [tuple(candidate) for candidate, _ in drawn]
    references = [[tuple(one) for one in several] for _, several in drawn]
    ours, theirs = scores(candidates, references), peers(candidates, references)

    sums = caption_sums(candidates, references).sum(axis=0)
    for n in range(4):
        # without a match the peer adds tiny numbers, see `bleu`
        if sums[: n + 1].all():
            assert ours[n] == pytest.approx(theirs[n], abs=1e-8)
        else:
            assert ours[n] == 0
    assert ours[4:] == pytest.approx(theirs[4:], abs=1e-9)


def test_real_sentences_score_as_the_peer_says(levir):
    # the fourth sentence of each pair against the others
    candidates = [several[3] for several in levir]
    references = [[*several[:3], several[4]] for several in levir]

    assert scores(candidates, references) == pytest.approx(peers(candidates, references), abs=1e-9)


ROADS = tokens_with_commas("some roads and houses are built on bareland")
#: Answers that know nothing but, in the last case, which pairs changed: those of the changed half, of the other one.
CONSTANTS = {
    "constant_no_change_on_test": (SAME, SAME),
    "constant_no_change_on_changed_half": (SAME, None),
    "oracle_flag_plus_one_sentence_on_test": (ROADS, SAME),
}


@pytest.fixture(params=CONSTANTS)
def constant(request, levir, shared_data):
    """Answers, references and the scores that pycocoevalcap gave elsewhere, x 100."""
    unchanged = [all(says_unchanged(" ".join(one)) for one in several) for several in levir]
    said = [CONSTANTS[request.param][is_unchanged] for is_unchanged in unchanged]
    some = [(answer, several) for answer, several in zip(said, levir, strict=True) if answer]
    expected = json.loads((shared_data / "satellite" / "expected.json").read_text())["levir_cc"][request.param]
    return [answer for answer, _ in some], [several for _, several in some], expected


def test_constant_answers_score_what_was_measured_elsewhere(constant):
    candidates, references, expected = constant

    ours = scores(candidates, references)

    assert [100 * ours[k] for k in (3, 4, 5)] == pytest.approx(
        [expected[name] for name in ("BLEU4", "ROUGE_L", "CIDEr")], abs=5e-3
    )


@pytest.mark.slow
def test_meteor_of_constant_answers_is_what_was_measured_elsewhere(constant, require_program):
    require_program("java")
    candidates, references, expected = constant

    sums = meteor_sums(candidates, references).sum(axis=0, keepdims=True)

    assert 100 * float(meteor(sums)[0]) == pytest.approx(expected["METEOR_words"], abs=5e-3)


def test_always_answering_no_change_has_the_published_bleu_1(levir):
    assert len(levir) == 1929
    assert round(100 * scores([SAME] * len(levir), levir)[0], 1) == 64.6


@pytest.mark.slow
def test_meteor_on_word_ids_is_what_was_measured_elsewhere(levir, require_program):
    require_program("java")
    constant = [SAME] * len(levir)

    on_ids = meteor(meteor_sums(*as_ids(constant, levir)).sum(axis=0, keepdims=True))

    assert round(100 * float(on_ids[0]), 1) == 29.3


def test_meteor_equals_its_peer(require_program):
    require_program("java")
    from pycocoevalcap.meteor.meteor import Meteor

    candidates = ["the scene is the same as before", "some houses are built by the road", "trees removed", "xyz"]
    references = [
        ["no change has occurred", "the scene is the same as before"],
        ["several houses appear on the bareland", "a row of houses is built along the road"],
        ["many trees have been removed and roads built"],
        ["a road appears"],
    ]
    peer = Meteor()
    theirs, each = peer.compute_score(dict(enumerate(references)), {n: [one] for n, one in enumerate(candidates)})
    for pipe in (peer.meteor_p.stdout, peer.meteor_p.stderr):
        pipe.close()

    columns = meteor_sums(list(map(tokens, candidates)), [list(map(tokens, several)) for several in references])

    assert meteor(columns) == pytest.approx(each, abs=1e-9)
    assert float(meteor(columns.sum(axis=0, keepdims=True))[0]) == pytest.approx(theirs, abs=1e-9)


def test_without_java_there_is_no_figure_and_a_reason(monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MeteorMissing, match="not computed: METEOR needs Java"):
        meteor_sums([("a",)], [[("a",)]])


def test_meteor_of_one_sentence_pair_is_the_published_programs_and_empty_texts_do_no_harm(require_program):
    require_program("java")
    candidates = [tokens("left pleural effusion has increased"), (), ("|||", "road")]
    references = [[tokens("the left pleural effusion has increased")], [("road",)], [("road",)]]

    assert meteor(meteor_sums(candidates, references)) == pytest.approx([0.530, 0, 1], abs=5e-4)


def test_an_empty_candidate_only_shortens():
    assert scores([(), ("road",)], [[("road",)], [("road",)]])[:1] == pytest.approx([np.exp(-1)])


TEXTS = [
    "the main image has additional findings of edema, pneumonia, and blunting of the costophrenic angle than the "
    "reference image. the main image is missing the finding of heart failure than the reference image.",
    "the level of pleural effusion has changed from small to moderate to large.",
    "nothing has changed.",
    "Plate-like atelectasis; the heart's border isn't seen and/or cannot be judged (AP view).",
]


def test_words_are_cut_as_by_the_peers_tokenizer(levir, require_program):
    require_program("java")
    texts = TEXTS + sorted({" ".join(one) for several in levir for one in several})[:600]

    theirs = PTBTokenizer().tokenize({n: [{"caption": text}] for n, text in enumerate(texts)})

    assert [" ".join(tokens(text)) for text in texts] == [theirs[n][0] for n in range(len(texts))]


def test_levir_texts_keep_commas_and_lose_full_stops():
    assert tokens_with_commas(" Some trees, roads; houses .") == ("some", "trees", ",", "roads", ";", "houses")


@given(pairs)
def test_copies_of_a_reference_are_perfect(drawn):
    references = [[tuple(one) for one in several] for _, several in drawn]
    columns = caption_sums([several[0] for several in references], references)
    sums = columns.sum(axis=0, keepdims=True)

    if columns[:, LENGTH].max() >= 4:
        assert float(bleu(sums)[0]) == pytest.approx(1)
    assert columns[:, ROUGE] == pytest.approx(np.ones(len(columns)))
