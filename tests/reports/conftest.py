"""A page made of generated pictures and findings."""

from collections.abc import Callable

import numpy as np
import pytest

from reports.audit import AuditedPair, audit
from reports.change import PROGRESSION
from reports.compose import compose, in_report_order
from reports.figures import evidence_overlay, to_jpeg_data_uri
from reports.finding import Certainty, Finding
from reports.page import PagePair, PageRefusal, PageReport
from reports.vocabulary import FINDINGS, PLACES, Domain


def _smooth(random: np.random.Generator, cells: int, side: int) -> np.ndarray:
    coarse = random.random((cells, cells))
    positions = np.linspace(0, cells - 1, side)
    rows = np.stack([np.interp(positions, np.arange(cells), row) for row in coarse])
    return np.stack([np.interp(positions, np.arange(cells), column) for column in rows.T], axis=1)


def _image(random: np.random.Generator, domain: Domain) -> np.ndarray:
    planes = 1 if domain is Domain.RADIOLOGY else 3
    return np.stack([0.7 * _smooth(random, 7, 256) + 0.3 * random.random((256, 256)) for _ in range(planes)])


def _findings(random: np.random.Generator, domain: Domain, most: int) -> tuple[Finding, ...]:
    known = FINDINGS[domain][:12]
    chosen = random.choice(len(known), size=min(len(known), int(random.integers(0, most + 1))), replace=False)
    return in_report_order(
        Finding(
            domain=domain,
            finding=known[number],
            place=PLACES[domain][int(random.integers(3))],
            change=PROGRESSION[int(random.integers(len(PROGRESSION)))],
            certainty=list(Certainty)[int(random.integers(3))],
        )
        for number in chosen
    )


def _pair(random: np.random.Generator, number: int) -> PagePair:
    domain = list(Domain)[number % 2]
    prior, current = _image(random, domain), _image(random, domain)
    valid = np.ones((256, 256), bool)
    if number % 5 == 1:
        valid[:, :40] = False
    reference = _findings(random, domain, 4)
    findings = tuple(item for item in reference if random.random() < 0.8)
    taken = {(item.finding, item.place) for item in reference}
    findings += tuple(item for item in _findings(random, domain, 1) if (item.finding, item.place) not in taken)
    return PagePair(
        id=f"{number:032x}",
        domain=domain,
        subject=f"{'patient' if domain is Domain.RADIOLOGY else 'place'}:{number // 4:016x}",
        prior_image=to_jpeg_data_uri(prior, valid=valid),
        current_image=to_jpeg_data_uri(current),
        evidence_image=evidence_overlay(current, random.random((8, 8)) ** 6, max_side=256, codec="jpeg"),
        prior_time="2021-03-04 10:22",
        current_time="2021-06-11 08:05",
        interval_days=98.9,
        findings=findings,
        text=compose(domain, findings),
        reason="Latest earlier image of the same view.",
        reference=None if number % 7 == 6 else reference,
        unparsed=("The heart is fine",) if number % 9 == 2 else (),
        warnings=("12 % of the current image have no prior beneath them.",) if number % 5 == 1 else (),
        provenance=(("Decoder", "pylibjpeg-openjpeg 2.5.0"), ("Residual shift", "0.31 px")),
    )


@pytest.fixture(scope="session")
def make_page() -> Callable[[int], PageReport]:
    """A function from a number of pairs to a page with audit and refusals."""

    def make(n_pairs: int) -> PageReport:
        random = np.random.default_rng(7)
        pairs = tuple(_pair(random, number) for number in range(n_pairs))
        return PageReport(
            title="Sample archive",
            generated="2026-01-31 12:00 UTC",
            model_name="compact",
            model_hash="0f" * 32,
            adapter_hash="a1" * 32,
            is_trained_on_real_images=False,
            pairs=pairs,
            refusals=(
                PageRefusal(code="UNREADABLE", level="file", item="a/broken.dcm", reason="The file is cut short."),
                PageRefusal(code="UNREADABLE", level="file", item="b/notes.txt", reason="This is no image."),
                PageRefusal(code="NO_PRIOR", level="acquisition", item="1.2.3", reason="There is no earlier image."),
            ),
            audit=audit(
                [
                    AuditedPair(
                        id=pair.id,
                        subject=pair.subject,
                        domain=pair.domain,
                        predicted=pair.findings,
                        reference=pair.reference,
                        unparsed=len(pair.unparsed),
                    )
                    for pair in pairs
                    if pair.reference is not None
                ]
            ),
            counts=(("Files seen", 1320),),
        )

    return make


@pytest.fixture(scope="session")
def page(make_page: Callable[[int], PageReport]) -> PageReport:
    """Twelve pairs of both domains."""
    return make_page(12)
