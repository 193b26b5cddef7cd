"""Routes to what was found in the archives: acquisitions, pairs and refusals."""

from fastapi import APIRouter

from reports.vocabulary import Domain
from services import repository
from services.api import schemas, shapes
from services.api.errors import PROBLEM_RESPONSES, RECORD_RESPONSES
from services.api.parameters import FIRST_PAGE, Cursor, Limit, RecordId, Session, Text, page_of

router = APIRouter(tags=["archives"])


@router.get("/acquisitions", responses=PROBLEM_RESPONSES)
def list_acquisitions(
    session: Session,
    domain: Domain | None = None,
    subject: Text = None,
    cursor: Cursor = None,
    limit: Limit = FIRST_PAGE,
) -> schemas.PageOf[schemas.Acquisition]:
    """Usable images and scenes, by archive and name."""
    page = repository.list_acquisitions(session, domain=domain, subject=subject, cursor=cursor, limit=limit)
    return page_of(page, schemas.Acquisition.model_validate)


@router.get("/pairs", responses=PROBLEM_RESPONSES)
def list_pairs(
    session: Session,
    domain: Domain | None = None,
    subject: Text = None,
    cursor: Cursor = None,
    limit: Limit = FIRST_PAGE,
) -> schemas.PageOf[schemas.Pair]:
    """Pairs of a prior and a current, by domain, subject and time of the current."""
    page = repository.list_pairs(session, domain=domain, subject=subject, cursor=cursor, limit=limit)
    return page_of(page, shapes.pair)


@router.get("/pairs/{pair_id}", responses=RECORD_RESPONSES)
def get_pair(session: Session, pair_id: RecordId) -> schemas.Pair:
    """One pair."""
    return shapes.pair(repository.get_pair(session, pair_id))


@router.get("/refusals", responses=PROBLEM_RESPONSES)
def list_refusals(
    session: Session,
    level: Text = None,
    code: Text = None,
    cursor: Cursor = None,
    limit: Limit = FIRST_PAGE,
) -> schemas.PageOf[schemas.Refusal]:
    """Files, acquisitions and pairs that give no report, each with its reason."""
    page = repository.list_refusals(session, level=level, code=code, cursor=cursor, limit=limit)
    return page_of(page, schemas.Refusal.model_validate)
