import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reports.page import PageRefusal, PageReport
from reports.render import LISTED_REFUSALS, TEMPLATES, group_refusals, interval_words, render_page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&"
VOID = {"meta", "img", "input", "br", "line", "circle"}


class Document(HTMLParser):
    """Elements with attributes, the text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def document(page: PageReport) -> Document:
    return Document(render_page(page))


def test_every_element_is_closed_and_every_id_is_there_once(document: Document) -> None:
    assert document.open == []
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_link_and_label_leads_to_something_on_the_page(document: Document) -> None:
    ids = {attributes.get("id") for _, attributes in document.elements}
    for _, attributes in document.elements:
        if "href" in attributes:
            assert (attributes["href"] or "").removeprefix("#") in ids
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def test_the_page_loads_nothing(page: PageReport, document: Document) -> None:
    text = render_page(page)

    sources = [value for _, attributes in document.elements for name, value in attributes.items() if name == "src"]
    assert len(sources) == 3 * len(page.pairs)
    assert all((source or "").startswith("data:image/") for source in sources)
    without_pictures = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert "http" not in without_pictures.replace("http-equiv", "")
    assert "url(" not in without_pictures
    assert "@import" not in without_pictures
    assert not document.all("link")


def test_pictures_have_alternative_texts_and_tables_have_headers(document: Document) -> None:
    assert all(image["alt"] for image in document.all("img"))
    assert all(cell["scope"] in ("col", "row") for cell in document.all("th"))
    assert len(document.all("caption")) == len(document.all("table"))


def test_each_pair_has_a_card_with_its_report(page: PageReport, document: Document) -> None:
    cards = document.all("article")
    text = " ".join(" ".join(document.words).split())

    assert len(cards) == len(page.pairs)
    for card, pair in zip(cards, page.pairs, strict=True):
        assert card["data-domain"] == pair.domain
        assert set((card["data-changes"] or "").split()) == {item.change.value for item in pair.findings}
        assert card["data-agrees"] == {True: "yes", False: "no", None: "unknown"}[pair.agrees]
        assert pair.text in text
    assert "Not understood in the report: “The heart is fine”" in text


def test_the_audit_on_the_page_shows_the_audits_figures(page: PageReport, document: Document) -> None:
    text = " ".join(" ".join(document.words).split())

    assert page.audit is not None
    for part in page.audit.domains:
        assert f"{part.headline.all_pairs.micro.f1:.3f}" in text
        assert f"{len(part.disagreements)} of {part.n_pairs} pairs with a disagreement" in text
    assert "always “changed”:" in text


def test_a_hostile_text_stays_text(page: PageReport) -> None:
    pair = replace(
        page.pairs[0],
        id=HOSTILE,
        subject=HOSTILE,
        prior_time=HOSTILE,
        text=HOSTILE,
        reason=HOSTILE,
        unparsed=(HOSTILE,),
        warnings=(HOSTILE,),
        provenance=((HOSTILE, HOSTILE),),
        prior_image='data:image/png;base64,\'" onload=alert(3) x="',
    )
    hostile = replace(
        page,
        title=HOSTILE,
        generated=HOSTILE,
        model_name=HOSTILE,
        model_hash=HOSTILE,
        pairs=(pair,),
        refusals=(PageRefusal(code=HOSTILE, level=HOSTILE, item=HOSTILE, reason=HOSTILE),),
        counts=((HOSTILE, 1),),
        audit=None,
    )

    document = Document(render_page(hostile))

    assert document.open == []
    assert len(document.all("script")) == 1
    assert len(document.all("img")) == 3
    names = {name for _, attributes in document.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert "".join(document.words).count(HOSTILE) >= 12


def test_only_our_own_style_and_script_may_run(page: PageReport, document: Document) -> None:
    import base64
    import hashlib

    policy = next(meta["content"] for meta in document.all("meta") if "http-equiv" in meta) or ""
    for tag, text in re.findall(r"<(style|script)>(.*?)</\1>", render_page(page), re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not [attributes for _, attributes in document.elements if "style" in attributes]


def test_an_untrained_model_is_said_to_be_one(page: PageReport) -> None:
    sentence = "This model has never been trained on real images."

    assert sentence in render_page(page)
    assert sentence not in render_page(replace(page, is_trained_on_real_images=True))


def test_a_page_without_pairs_labels_or_refusals_is_a_page(page: PageReport) -> None:
    text = render_page(replace(page, pairs=(), refusals=(), audit=None))

    assert "No pair gave a report." in text
    assert "Audit against the labels" not in text
    assert Document(text).open == []


def test_a_pair_without_times_evidence_or_findings_says_so(page: PageReport) -> None:
    bare = replace(
        page.pairs[0], prior_time="", interval_days=None, evidence_image=None, findings=(), reference=None, unparsed=()
    )

    text = render_page(replace(page, pairs=(bare,), audit=None))

    for words in ("undated", "unknown interval", "no evidence map", "No finding."):
        assert words in text


def test_equal_pages_are_equal_bytes(page: PageReport) -> None:
    assert render_page(page) == render_page(page)


def test_two_hundred_pairs_stay_below_25_megabytes(page: PageReport) -> None:
    many = replace(page, pairs=tuple(replace(page.pairs[n % 12], id=str(n)) for n in range(200)), audit=None)

    assert len(render_page(many).encode()) < 25_000_000


def test_refusals_are_grouped_with_the_most_frequent_first() -> None:
    rare = PageRefusal(code="A", level="file", item="x", reason="r")
    many = [PageRefusal(code="B", level="file", item=f"{n:04}", reason="r") for n in range(LISTED_REFUSALS + 5)]

    groups = group_refusals([rare, *many])

    assert [(group.code, group.count, len(group.listed)) for group in groups] == [
        ("B", LISTED_REFUSALS + 5, LISTED_REFUSALS),
        ("A", 1, 1),
    ]


def test_refusals_that_are_not_listed_are_counted(page: PageReport) -> None:
    many = tuple(PageRefusal(code="B", level="file", item=f"{n:04}", reason="r") for n in range(LISTED_REFUSALS + 5))

    assert "and 5 more" in render_page(replace(page, refusals=many))


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (None, "unknown interval"),
        (0.25, "6 hours"),
        (2, "2 days"),
        (98.9, "99 days"),
        (1461, "1,461 days (4.0 years)"),
    ],
)
def test_intervals_read_as_readers_say_them(days: float | None, words: str) -> None:
    assert interval_words(days) == words


def test_texts_have_enough_contrast_in_both_schemes() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    pairs = [(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("ground", "surface", "sunken")]
    pairs += [(name, f"{name}-tint") for name in ("new", "worse", "stable", "improved", "resolved", "warn")]
    pairs += [(name, "surface") for name in ("new", "worse", "resolved")]
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", scheme))
        for ink, ground in pairs:
            lighter, darker = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
            # WCAG 2.2, 1.4.3: 4.5 to 1
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (ink, ground)


def test_the_folder_is_imported_without_heavy_libraries() -> None:
    modules = sorted(path.stem for path in TEMPLATES.parent.glob("*.py") if path.stem != "__init__")
    heavy = ["torch", "transformers", "sklearn", "scipy", "matplotlib", "pandas", "numpy", "PIL", "jinja2", "fastapi"]
    program = (
        "import sys\n"
        + "".join(f"import reports.{name}\n" for name in modules)
        + f"print([name for name in {heavy} if name in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr


def test_the_filter_needs_a_form_that_is_hidden_without_script(
    document: Document, make_page: Callable[[int], PageReport]
) -> None:
    forms = document.all("form")

    assert len(forms) == 1
    assert "hidden" in forms[0]
    assert not [card for card in document.all("article") if "hidden" in card]
    one_domain = Document(render_page(make_page(1)))
    assert "domain" not in [select["name"] for select in one_domain.all("select")]
