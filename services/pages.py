"""How does the database become one page?"""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reports.audit import Audit
from reports.figures import evidence_overlay
from reports.page import PagePair, PageRefusal, PageReport
from reports.render import render_page
from reports.vocabulary import Domain
from services import repository
from services.audits import LabelSet, finding_of
from services.database import ReadSession
from services.errors import UsageError
from services.identity import ModelIdentity
from services.tables import Report

#: Pairs on a page unless told otherwise; each brings three pictures of some ten kilobytes.
PAGE_PAIRS = 500


def build_page(
    session: ReadSession,
    identity: ModelIdentity,
    *,
    title: str = "Interval change",
    label_sets: Sequence[LabelSet] = (),
    audit: Audit | None = None,
    domain: str | None = None,
    limit: int = PAGE_PAIRS,
) -> PageReport:
    """A page of one model's stored reports; the same database gives the same page at any time.

    Raises:
        UsageError: The model has no stored report.
    """
    pairs: list[PagePair] = []
    newest = None
    real_images = False
    for row in _iterate_whole(session, identity, domain, limit):
        pairs.append(_page_pair(row, label_sets))
        newest = max(newest or row.created_at, row.created_at)
        real_images = bool(row.provenance["model"]["trained_on_real_images"])
    if newest is None:
        raise UsageError("There is no stored report to show; run an archive first.")
    return PageReport(
        title=title,
        generated=newest.strftime("%Y-%m-%d %H:%M UTC"),
        model_name=identity.name,
        model_hash=identity.model_hash,
        adapter_hash=identity.adapter_hash,
        is_trained_on_real_images=real_images,
        pairs=tuple(pairs),
        refusals=tuple(
            PageRefusal(code=one.code, level=one.level, item=one.item, reason=one.reason)
            for one in repository.iterate_refusals(session)
        ),
        audit=audit,
        counts=(("Acquisitions", repository.count_rows(session)["acquisition"]),),
    )


def write_page(page: PageReport, path: Path) -> None:
    """Writes a page as one HTML file; an earlier one stays until the new one is whole."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(render_page(page), encoding="utf-8")
    unfinished.replace(path)


def _iterate_whole(session: ReadSession, identity: ModelIdentity, domain: str | None, limit: int) -> Iterator[Report]:
    rows = repository.iterate_reports(
        session,
        domain=domain,
        model_hash=identity.model_hash,
        adapter_hash=identity.adapter_hash,
        prompt_version=identity.prompt_version,
    )
    for _, row in zip(range(limit), rows, strict=False):
        yield repository.get_report(session, row.id)


def _page_pair(row: Report, label_sets: Sequence[LabelSet]) -> PagePair:
    pair = row.pair
    labelled = next((found for one in label_sets if (found := one.of(row)) is not None), None)
    model = row.provenance["model"]
    facts = [
        ("Model", f"{model['name']} {row.model_hash[:12]}"),
        ("Adapter", row.adapter_hash[:12] or "none"),
        ("Prompt", row.prompt_version),
        ("Code", row.provenance["code_version"]),
        ("Prior", pair.prior.name),
        ("Current", pair.current.name),
        ("Decoder", pair.current.attributes.get("decoder", "")),
        *((name.replace("_", " ").capitalize(), f"{value:.3f}") for name, value in sorted(row.quality.items())),
    ]
    return PagePair(
        id=pair.id,
        domain=Domain(pair.domain),
        subject=pair.subject,
        prior_image=_jpeg_uri(row.prior_jpeg),
        current_image=_jpeg_uri(row.current_jpeg),
        evidence_image=evidence_uri(row),
        prior_time=(pair.prior.time or "").replace("T", " "),
        current_time=(pair.current.time or "").replace("T", " "),
        interval_days=pair.interval_days,
        findings=tuple(finding_of(one) for one in row.findings),
        text=row.text,
        reason=pair.reason,
        reference=labelled.findings if labelled is not None else None,
        unparsed=tuple(row.unparsed),
        warnings=tuple(row.warnings),
        provenance=tuple((name, value) for name, value in facts if value),
    )


def _jpeg_uri(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def evidence_uri(row: Report) -> str:
    """The current of a report from `get_report` in grey with its evidence over it, as a JPEG data address."""
    from PIL import Image

    pixels: NDArray[np.float32] = np.asarray(Image.open(io.BytesIO(row.current_jpeg)), dtype=np.float32) / 255.0
    planes = pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return evidence_overlay(planes, repository.evidence_map(row), codec="jpeg", max_side=256)
