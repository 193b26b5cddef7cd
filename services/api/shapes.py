"""How does a row become an answer, where fields come from more than one table?"""

from reports.vocabulary import Domain
from services import repository
from services.api import schemas
from services.tables import Finding, Pair, Report


def observation(row: Finding) -> schemas.Observation:
    """A finding without its report."""
    return schemas.Observation.model_validate(row)


def finding(row: Finding) -> schemas.Finding:
    """A finding from `list_findings`, with its report and pair."""
    pair = row.report.pair
    return schemas.Finding(
        **observation(row).model_dump(),
        report_id=row.report_id,
        pair_id=pair.id,
        subject=pair.subject,
        prior_name=pair.prior.name,
        current_name=pair.current.name,
    )


def pair(row: Pair) -> schemas.Pair:
    """A pair with its two acquisitions."""
    return schemas.Pair.model_validate(row)


def report_summary(row: Report) -> schemas.ReportSummary:
    """A report from `list_reports`."""
    return schemas.ReportSummary(
        id=row.id,
        pair_id=row.pair_id,
        domain=Domain(row.pair.domain),
        subject=row.pair.subject,
        prior_name=row.pair.prior.name,
        current_name=row.pair.current.name,
        interval_days=row.pair.interval_days,
        text=row.text,
        model_name=row.model_name,
        model_hash=row.model_hash,
        adapter_hash=row.adapter_hash,
        prompt_version=row.prompt_version,
        created_at=row.created_at,
        findings=[observation(entry) for entry in row.findings],
    )


def report(row: Report, images: dict[str, str]) -> schemas.Report:
    """A report from `get_report`, with the addresses of its images."""
    evidence = schemas.EvidenceMap(
        rows=row.evidence_rows, columns=row.evidence_columns, values=repository.evidence_map(row).tolist()
    )
    return schemas.Report(
        **report_summary(row).model_dump(),
        raw_output=row.raw_output,
        unparsed=row.unparsed,
        quality=row.quality,
        warnings=row.warnings,
        provenance=row.provenance,
        evidence=evidence,
        images=images,
        pair=pair(row.pair),
    )
