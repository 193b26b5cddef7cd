"""How do stored reports compare with labels?"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reports.audit import Audit, AuditedPair, audit
from reports.change import Change
from reports.finding import Certainty, Finding
from reports.labels import LabelledPair, Labels, read_labels
from reports.vocabulary import Domain
from services import repository, store
from services.database import ReadSession, WriteSession
from services.errors import UsageError
from services.identity import ModelIdentity
from services.tables import Finding as FindingRow
from services.tables import Report


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """Labels with the archive that they are about.

    Attributes:
        labels: The reference.
        sha256: Hash of the file.
        archive_id: Only reports on this archive are compared; None means all archives.
    """

    labels: Labels
    sha256: str
    archive_id: str | None = None

    @classmethod
    def read(cls, path: Path, archive_id: str | None = None) -> "LabelSet":
        """Labels from a CSV file.

        Raises:
            UnusableLabels: The file cannot be read or is no labels file.
        """
        labels = read_labels(path)
        return cls(labels=labels, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), archive_id=archive_id)

    def of(self, report: Report) -> LabelledPair | None:
        """The labels of a report's pair; None where it has none."""
        pair = report.pair
        if self.archive_id not in (None, pair.archive_id):
            return None
        labelled = self.labels.of(
            prior_id=pair.prior.uid,
            current_id=pair.current.uid,
            prior_name=pair.prior.name,
            current_name=pair.current.name,
        )
        return labelled if labelled is not None and labelled.domain == pair.domain else None


@dataclass(frozen=True, kw_only=True)
class AuditedModel:
    """The audit of one model's stored reports.

    Attributes:
        identity: Which model.
        audit: All figures.
        reported: Labelled pairs that have a report; the others count as reports that find nothing.
        unreported: Labelled pairs without one.
        reports_sha256: Hash over the compared reports' contents, by domain.
        labels_sha256: Hash over the labels files.
    """

    identity: ModelIdentity
    audit: Audit
    reported: int
    unreported: int
    reports_sha256: dict[Domain, str]
    labels_sha256: str

    def store(self, session: WriteSession) -> list[str]:
        """Stores one audit a domain, once for the same labels and reports; gives their ids."""
        return [
            store.put_audit(
                session,
                values={
                    "domain": str(part.domain),
                    "model_name": self.identity.name,
                    "model_hash": self.identity.model_hash,
                    "adapter_hash": self.identity.adapter_hash,
                    "prompt_version": self.identity.prompt_version,
                    "labels_sha256": self.labels_sha256,
                    "reports_sha256": self.reports_sha256[part.domain],
                    "n_pairs": part.n_pairs,
                    "f1": part.headline.all_pairs.micro.f1,
                    "result": self.audit.to_dict()["domains"][str(part.domain)],
                },
            )
            for part in self.audit.domains
        ]


def audit_reports(
    session: ReadSession, label_sets: Iterable[LabelSet], identity: ModelIdentity, *, domain: str | None = None
) -> AuditedModel:
    """The audit of one model's stored reports over all labelled pairs.

    A labelled pair without a report counts as a report that finds nothing: what was refused is missed.

    Raises:
        UsageError: There is no labelled pair to audit.
    """
    sets = list(label_sets)
    pairs: list[AuditedPair] = []
    contents: dict[Domain, list[str]] = {one: [] for one in Domain}
    seen: set[int] = set()
    for report in repository.iterate_reports(
        session,
        domain=domain,
        model_hash=identity.model_hash,
        adapter_hash=identity.adapter_hash,
        prompt_version=identity.prompt_version,
    ):
        labelled = next((found for one in sets if (found := one.of(report)) is not None), None)
        if labelled is None:
            continue
        seen.add(id(labelled))
        contents[labelled.domain].append(f"{report.id} {report.content_sha256}")
        pairs.append(
            AuditedPair(
                id=report.pair_id,
                subject=report.pair.subject,
                domain=labelled.domain,
                predicted=tuple(finding_of(row) for row in report.findings),
                reference=labelled.findings,
                unparsed=len(report.unparsed),
            )
        )
    reported = len(pairs)
    pairs += [
        AuditedPair(
            id=f"without-report-{number}",
            subject=f"without-report-{number}",
            domain=labelled.domain,
            predicted=(),
            reference=labelled.findings,
        )
        for number, labelled in enumerate(one for labels in sets for one in labels.labels.pairs)
        if id(labelled) not in seen and domain in (None, labelled.domain)
    ]
    if not pairs:
        raise UsageError("The labels name no pair of this domain; check the file and --domain.")
    return AuditedModel(
        identity=identity,
        audit=audit(pairs),
        reported=reported,
        unreported=len(pairs) - reported,
        reports_sha256={one: hashlib.sha256("\n".join(rows).encode()).hexdigest() for one, rows in contents.items()},
        labels_sha256=hashlib.sha256("\n".join(one.sha256 for one in sets).encode()).hexdigest(),
    )


def finding_of(row: FindingRow) -> Finding:
    """A stored finding as the reports folder knows it."""
    return Finding(
        domain=Domain(row.domain),
        finding=row.finding,
        place=row.place,
        change=Change(row.change),
        certainty=Certainty(row.certainty),
    )
