"""Routes to what the model said: reports, their images, and findings across reports."""

import base64
from typing import Literal

from fastapi import APIRouter, Request, Response

from reports.change import Change
from reports.finding import Certainty
from reports.vocabulary import Domain
from services import repository
from services.api import schemas, shapes
from services.api.errors import PROBLEM_RESPONSES, RECORD_RESPONSES
from services.api.parameters import FIRST_PAGE, Cursor, Limit, RecordId, Session, Text, page_of
from services.pages import evidence_uri

router = APIRouter(tags=["reports"])

ImageName = Literal["prior.jpg", "current.jpg", "evidence.jpg"]
IMAGE_NAMES: tuple[ImageName, ...] = ("prior.jpg", "current.jpg", "evidence.jpg")


@router.get("/reports", responses=PROBLEM_RESPONSES)
def list_reports(
    session: Session,
    domain: Domain | None = None,
    subject: Text = None,
    pair_id: Text = None,
    model_hash: Text = None,
    cursor: Cursor = None,
    limit: Limit = FIRST_PAGE,
) -> schemas.PageOf[schemas.ReportSummary]:
    """Reports with their findings, in the order of the pairs."""
    page = repository.list_reports(
        session, domain=domain, subject=subject, pair_id=pair_id, model_hash=model_hash, cursor=cursor, limit=limit
    )
    return page_of(page, shapes.report_summary)


@router.get("/reports/{report_id}", responses=RECORD_RESPONSES)
def get_report(request: Request, session: Session, report_id: RecordId) -> schemas.Report:
    """One report with findings, evidence map, quality of the alignment and provenance."""
    row = repository.get_report(session, report_id)
    images = {
        name.split(".")[0]: request.app.url_path_for("get_report_image", report_id=report_id, name=name)
        for name in IMAGE_NAMES
    }
    return shapes.report(row, images)


@router.get(
    "/reports/{report_id}/images/{name}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **RECORD_RESPONSES},
)
def get_report_image(session: Session, report_id: RecordId, name: ImageName) -> Response:
    """The aligned prior, the current, or the current in grey with the evidence map over it, brightest where the prior
    changed the model's view most."""
    row = repository.get_report(session, report_id)
    if name == "evidence.jpg":
        content = base64.b64decode(evidence_uri(row).partition(",")[2])
    else:
        content = row.prior_jpeg if name == "prior.jpg" else row.current_jpeg
    return Response(content, media_type="image/jpeg")


@router.get("/findings", responses=PROBLEM_RESPONSES)
def list_findings(
    session: Session,
    domain: Domain | None = None,
    finding: Text = None,
    place: Text = None,
    change: Change | None = None,
    certainty: Certainty | None = None,
    subject: Text = None,
    pair_id: Text = None,
    report_id: Text = None,
    model_hash: Text = None,
    cursor: Cursor = None,
    limit: Limit = FIRST_PAGE,
) -> schemas.PageOf[schemas.Finding]:
    """Findings of all reports, in the order of the pairs, then as the report names them."""
    page = repository.list_findings(
        session,
        domain=domain,
        finding=finding,
        place=place,
        change=change,
        certainty=certainty,
        subject=subject,
        pair_id=pair_id,
        report_id=report_id,
        model_hash=model_hash,
        cursor=cursor,
        limit=limit,
    )
    return page_of(page, shapes.finding)
