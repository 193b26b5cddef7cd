"""Routes to the audits of stored reports against labels."""

from fastapi import APIRouter

from reports.vocabulary import Domain
from services import repository
from services.api import schemas
from services.api.errors import PROBLEM_RESPONSES, RECORD_RESPONSES
from services.api.parameters import FIRST_PAGE, Cursor, Limit, RecordId, Session, page_of

router = APIRouter(tags=["audits"])


@router.get("/audits", responses=PROBLEM_RESPONSES)
def list_audits(
    session: Session, domain: Domain | None = None, cursor: Cursor = None, limit: Limit = FIRST_PAGE
) -> schemas.PageOf[schemas.AuditSummary]:
    """Headlines of the stored audits, by domain."""
    page = repository.list_audits(session, domain=domain, cursor=cursor, limit=limit)
    return page_of(page, schemas.AuditSummary.model_validate)


@router.get("/audits/{audit_id}", responses=RECORD_RESPONSES)
def get_audit(session: Session, audit_id: RecordId) -> schemas.Audit:
    """One audit with all its figures."""
    return schemas.Audit.model_validate(repository.get_audit(session, audit_id))
