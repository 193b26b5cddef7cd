"""How do jobs survive a kill, and how do several processes share them?

Each pair is one durable workflow whose id is the hash of the work, so nothing is ever queued twice. The engine keeps
its own tables beside ours: a second SQLite file, or the schema `dbos` of the same PostgreSQL database.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from ingest.catalogue import BATCH, batches
from services import store
from services.database import Database
from services.errors import JobsUnusable
from services.heartbeat import Heartbeat, new_worker_id
from services.logs import describe_exception
from services.predictor import Predictor
from services.settings import Settings
from services.work import JobInterrupted, Workshop

logger = logging.getLogger(__name__)

#: Version of the workflow's name and arguments. A process takes over jobs of its own version only, so this changes when
#: the workflow does and not with every release.
JOB_VERSION = "interval-jobs-1"

#: Deaths of a worker under one job after which the job, not the worker, is taken to be the cause.
MAX_TAKEOVERS = 3

#: How long a process that ends waits for its running jobs; what is not done by then goes to another process.
FINISH_SECONDS = 30

#: Code of a pair whose job ended its process each time.
JOB_KILLED = "JOB_KILLED"

_FINISHED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

# A workflow is found by name in whatever process takes it, so what it works with cannot be an argument.
_workshop: Workshop | None = None


def _open_workshop() -> Workshop:
    if _workshop is None:
        raise JobsUnusable("A job was started in a process that takes none; start it through `Jobs`.")
    return _workshop


@DBOS.step(
    name="make_report",
    retries_allowed=True,
    max_attempts=3,
    interval_seconds=1.0,
    should_retry=lambda error: isinstance(error, JobInterrupted),
)
def _make_report(pair_id: str) -> str:
    return _open_workshop().make_report(pair_id)


@DBOS.workflow(name="report_pair")
def _report_pair(pair_id: str) -> str:
    try:
        return _make_report(pair_id)
    except Exception as error:
        _open_workshop().record_failure(pair_id, f"The job broke: {describe_exception(error)}")
        raise


class Jobs:
    """This process as a worker: while the context is open, it takes jobs of its model from the queue.

    One at a time in a process, because the engine is global.

    Args:
        database: Migrated database.
        predictor: Loaded model; only jobs of this very model are taken.
        settings: Heartbeat, queue and concurrency.

    Raises:
        JobsUnusable: The database is in memory, where no second process and no restart could find it.
    """

    def __init__(self, database: Database, predictor: Predictor, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.workshop = Workshop.of(database, predictor)
        self.queue = f"report-{self.workshop.identity.key}"
        self.heartbeat = Heartbeat(database, new_worker_id(), settings.stale_seconds)
        self._system_url = system_database_url(database)
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._watch_workers, name="interval-heartbeat", daemon=True)

    def __enter__(self) -> "Jobs":
        global _workshop
        if _workshop is not None:
            raise JobsUnusable("This process already takes jobs; close the first `Jobs` before opening another.")
        _workshop = self.workshop
        # The row of this worker must be there before any job can carry its name.
        self.heartbeat.beat()
        config: DBOSConfig = {
            "name": "interval",
            "system_database_url": self._system_url,
            "application_version": JOB_VERSION,
            "executor_id": self.heartbeat.worker_id,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.listen_queues([self.queue])
        DBOS.launch()
        DBOS.register_queue(
            self.queue,
            worker_concurrency=self.settings.workers,
            polling_interval_sec=self.settings.queue_poll_seconds,
            on_conflict="always_update",
        )
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _workshop
        self._stopping.set()
        self._watch.join()
        mine = DBOS.list_workflows(status="PENDING", executor_id=self.heartbeat.worker_id, load_input=False)
        DBOS.destroy(workflow_completion_timeout_sec=FINISH_SECONDS if mine else 0)
        _workshop = None
        self.heartbeat.stop()

    def enqueue(self, pair_ids: Sequence[str]) -> None:
        """Queues the pairs that have neither report nor refusal by this model; those in hand already stay as they are.

        A workflow that ended without leaving a result (its rows were removed, or it failed) is started anew.
        """
        work = {self.workshop.identity.report_id(pair_id): pair_id for pair_id in pair_ids}
        for keys in batches(work):
            known = DBOS.list_workflows(workflow_ids=keys, load_input=False, load_output=False)
            ended = [one.workflow_id for one in known if one.status in _FINISHED]
            if ended:
                DBOS.delete_workflows(ended)
            in_hand = {one.workflow_id for one in known} - set(ended)
            with self.database.write() as session:
                store.drop_failures(session, keys)
            for key in keys:
                if key not in in_hand:
                    with SetWorkflowID(key):
                        DBOS.enqueue_workflow(self.queue, _report_pair, work[key])

    def wait(self, pair_ids: Sequence[str], progress: Callable[[int, int], None] | None = None) -> None:
        """Returns when each pair has a report or a refusal, whoever made it, or is no longer among the archive's pairs.

        Args:
            pair_ids: Pairs given to `enqueue`.
            progress: Told how many are done, of how many.
        """
        work = {self.workshop.identity.report_id(pair_id): pair_id for pair_id in pair_ids}
        pending = list(work)
        checked = time.monotonic()
        while pending:
            # The queue is first in, first out, so looking at its head is enough: the cost does not grow with the rest.
            head = pending[:BATCH]
            with self.database.read() as session:
                done = store.settled_work(session, head) | store.failed_work(session, head)
            if done:
                pending = [key for key in head if key not in done] + pending[BATCH:]
                if progress is not None:
                    progress(len(work) - len(pending), len(work))
            if len(done) < len(head):
                time.sleep(self.settings.queue_poll_seconds)
            if time.monotonic() - checked > self.settings.heartbeat_seconds:
                checked = time.monotonic()
                self._record_lost({key: work[key] for key in head if key not in done})
                pending = self._without_gone(pending, work)

    def hand_on(self) -> int:
        """Gives the running jobs of dead workers back to the queue; gives how many."""
        running = DBOS.list_workflows(status="PENDING", load_input=True, load_output=False)
        dead = self.heartbeat.find_dead({one.executor_id for one in running if one.executor_id})
        if not dead or not self.heartbeat.is_first(dead):
            return 0
        handed = 0
        for one in running:
            if one.executor_id not in dead:
                continue
            with self.database.write() as session:
                deaths = store.count_takeover(session, one.workflow_id)
            if deaths < MAX_TAKEOVERS or one.input is None:
                DBOS.resume_workflows([one.workflow_id], queue_name=one.queue_name)
                handed += 1
            else:
                DBOS.cancel_workflow(one.workflow_id)
                reason = f"Its job ended {deaths} processes; look at the two files before trying another model."
                self.workshop.record_failure(one.input["args"][0], reason, code=JOB_KILLED, work=one.workflow_id)
        self.heartbeat.forget(dead)
        if handed:
            logger.warning("jobs of dead workers handed on", extra={"action": "jobs_handed_on", "jobs": handed})
        return handed

    def _record_lost(self, work: dict[str, str]) -> None:
        """Notes workflows that ended and left nothing, not even a failure: the database was away when they wrote."""
        if not work:
            return
        ended = DBOS.list_workflows(
            workflow_ids=list(work), status=list(_FINISHED), load_input=False, load_output=False
        )
        for one in ended:
            reason = "The job ended without a result; run the archive again."
            self.workshop.record_failure(work[one.workflow_id], reason)

    def _without_gone(self, pending: list[str], work: dict[str, str]) -> list[str]:
        """Those whose pair is there: another run may have found its files gone, or other ones to pair them with."""
        with self.database.read() as session:
            gone = store.absent_pairs(session, [work[key] for key in pending[:BATCH]])
        if gone:
            logger.warning("pairs left the archive unreported", extra={"action": "pairs_gone", "pairs": len(gone)})
        return [key for key in pending if work[key] not in gone]

    def _watch_workers(self) -> None:
        while True:
            try:
                self.heartbeat.beat()
                self.hand_on()
            except Exception:
                # A database that is away for a moment must not end the watch; a longer silence makes this worker dead
                # to the others, which is what it then is.
                logger.exception("a heartbeat failed", extra={"action": "heartbeat_failed"})
            if self._stopping.wait(self.settings.heartbeat_seconds):
                return


def system_database_url(database: Database) -> str:
    """Where the job engine keeps its tables: `<file>.jobs.sqlite` beside a SQLite file, or the same PostgreSQL server.

    Raises:
        JobsUnusable: The database is in memory.
    """
    url = database.url
    if not database.is_sqlite:
        return url.render_as_string(hide_password=False)
    if not url.database or url.database == ":memory:":
        raise JobsUnusable("Jobs need a database that outlives the process; give a SQLite file.")
    return f"sqlite:///{url.database.removesuffix('.sqlite')}.jobs.sqlite"
