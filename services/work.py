"""What does one job do? It aligns a pair, has the model report on it and writes the result in one transaction."""

import io
import logging
import os
import threading
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from sqlalchemy.exc import OperationalError

from ingest.acquisition import Acquisition as IndexedAcquisition
from ingest.acquisition import SourceFile
from ingest.align import align_pair
from ingest.errors import IngestError, Refusal
from ingest.grid import grid_from_values
from ingest.pairing import Pair as IndexedPair
from ingest.pixels import AlignedPair, Pixels
from reports.vocabulary import Domain
from services import repository, store
from services.database import Database
from services.errors import RecordNotFound, ServicesError
from services.identity import ModelIdentity
from services.logs import describe_exception
from services.predictor import OneAtATime, Prediction, Predictor, identity_of
from services.tables import Acquisition, Pair

logger = logging.getLogger(__name__)

#: Longer side of a stored thumbnail, in pixels.
THUMBNAIL_PX = 256

#: What a job gives whose pair is no longer in the archive.
GONE = "GONE"

_ALIGNING = threading.Lock()


class JobFailed(ServicesError):
    """A job broke; run the archive again to retry it."""


class JobInterrupted(ServicesError):
    """A file or the database could not be reached; the job is tried again."""


@dataclass(frozen=True)
class Workshop:
    """What every job of a process needs.

    Attributes:
        database: Where pairs are read and reports are written.
        model: The model, shared by the process's jobs.
        identity: Which model it is.
    """

    database: Database
    model: OneAtATime
    identity: ModelIdentity

    @classmethod
    def of(cls, database: Database, predictor: Predictor) -> "Workshop":
        """A workshop around a loaded model."""
        return cls(database, OneAtATime(predictor), identity_of(predictor))

    def make_report(self, pair_id: str) -> str:
        """Reports on one stored pair; "reported", the code of the refusal that was stored instead, or `GONE`.

        Raises:
            JobInterrupted: A file or the database is out of reach; trying again may help.
            JobFailed: Anything else went wrong. Its message holds nothing of the archive.
        """
        try:
            with self.database.read() as session:
                pair = repository.get_pair(session, pair_id)
            indexed = indexed_pair(pair)
            try:
                aligned, prediction = predict_pair(self.model, indexed)
            except IngestError as error:
                refusal = Refusal(item=pair.id, level="pair", code=error.code, reason=str(error))
                with self.database.write() as session:
                    store.put_refusals(session, pair.archive_id, [refusal], work=self.identity.report_id(pair.id))
                return error.code
            self._store(pair, indexed, aligned, prediction)
        except RecordNotFound:
            return GONE
        except (OSError, OperationalError) as error:
            raise JobInterrupted(f"{describe_exception(error)}: a file or the database is out of reach.") from error
        except Exception as error:
            logger.exception("a job broke", extra={"action": "job_failed", "pair": pair_id})
            raise JobFailed(
                f"{describe_exception(error)}; see the log, then run the archive again to retry."
            ) from error
        return "reported"

    def record_failure(self, pair_id: str, reason: str, *, code: str = store.FAILED, work: str | None = None) -> None:
        """Stores that a job broke, so that the pair is neither lost nor taken for done.

        Nothing is stored of a pair that is gone, nor where the report or a lasting refusal is there: then the job broke
        after its work.

        Args:
            pair_id: The pair.
            reason: A sentence that holds nothing of the archive.
            code: `FAILED` jobs are tried again by the next run, others are not.
            work: Report id that was not made; this model's unless told otherwise.
        """
        report_id = work or self.identity.report_id(pair_id)
        with self.database.write() as session:
            if store.absent_pairs(session, [pair_id]) or store.settled_work(session, [report_id]):
                return
            pair = repository.get_pair(session, pair_id)
            refusal = Refusal(item=pair.id, level="pair", code=code, reason=reason)
            store.put_refusals(session, pair.archive_id, [refusal], work=report_id)

    def _store(self, pair: Pair, indexed: IndexedPair, aligned: AlignedPair, prediction: Prediction) -> None:
        with self.database.write() as session:
            store.put_report(
                session,
                pair=pair,
                identity=self.identity,
                prediction=prediction,
                quality={key: float(value) for key, value in {**aligned.quality, **prediction.quality}.items()},
                warnings=[*indexed.warnings, *aligned.warnings],
                provenance=describe_provenance(self.identity, self.model.predictor, indexed, aligned),
                prior_jpeg=thumbnail(aligned.prior),
                current_jpeg=thumbnail(aligned.current),
            )


def predict_pair(model: OneAtATime, pair: IndexedPair, *, normalise: bool = False) -> tuple[AlignedPair, Prediction]:
    """The aligned pair and the model's report on it.

    Raises:
        IngestError: The pair cannot be read or aligned, or the model was not made for it.
    """
    model.check_supports(pair.current)
    # Readers of both kinds of files silence or collect warnings, and Python keeps the warning filters once for all
    # threads: two at a time would take each other's. More decoding at a time is had by more workers.
    with _ALIGNING:
        aligned = align_pair(pair, normalise=normalise)
    return aligned, model.report(aligned, Domain(pair.domain))


def describe_provenance(
    identity: ModelIdentity, predictor: Predictor, pair: IndexedPair, aligned: AlignedPair
) -> dict[str, Any]:
    """How a report came about: code, model, prompt, and every step of the two images."""
    return {
        "code_version": code_version(),
        "model": {**asdict(identity), "trained_on_real_images": predictor.trained_on_real_images},
        "prior": {"attributes": dict(pair.prior.attributes), "steps": list(aligned.prior.steps)},
        "current": {"attributes": dict(pair.current.attributes), "steps": list(aligned.current.steps)},
    }


@cache
def code_version() -> str:
    """Version of the installed distribution."""
    return version("interval-change")


def thumbnail(pixels: Pixels) -> bytes:
    """An image as JPEG, longer side at most 256 px; what is not valid is black."""
    from PIL import Image

    shown = np.where(pixels.valid, np.clip(pixels.values, 0.0, 1.0), 0.0)
    levels = np.rint(shown * 255).astype(np.uint8)
    image = Image.fromarray(levels[0]) if len(levels) == 1 else Image.fromarray(np.moveaxis(levels[:3], 0, -1))
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def indexed_pair(pair: Pair) -> IndexedPair:
    """A stored pair from `repository.get_pair`, as the ingest folder knows it."""
    root = Path(pair.archive.root)
    return IndexedPair(
        id=pair.content_id,
        prior=indexed_acquisition(root, pair.prior),
        current=indexed_acquisition(root, pair.current),
        interval_days=pair.interval_days,
        reason=pair.reason,
        warnings=tuple(pair.warnings),
    )


def indexed_acquisition(root: Path, row: Acquisition) -> IndexedAcquisition:
    """A stored acquisition of the archive at `root`, as the ingest folder knows it."""
    return IndexedAcquisition(
        id=row.uid,
        domain=row.domain,
        subject=row.subject,
        time=datetime.fromisoformat(row.time) if row.time else None,
        time_source=row.time_source,
        path=_path(root, row.location),
        name=row.name,
        sha256=row.sha256,
        pixel_sha256=row.pixel_sha256,
        grid=grid_from_values(row.grid),
        group=row.group,
        view=row.view,
        study=row.study,
        files=tuple(
            SourceFile(name=one["name"], path=_path(root, one["location"]), sha256=one["sha256"]) for one in row.files
        ),
        attributes=dict(row.attributes),
    )


def _path(root: Path, location: str) -> Path:
    return root / os.fsdecode(unquote_to_bytes(location))
