"""Which studies, series and instances does a DICOMweb peer list, and what are an instance's bytes?

Searching (QIDO-RS) goes through dicomweb-client. Retrieving (WADO-RS) does not: the client parses each object, and what
is written again is not always what was stored; it keeps whole objects in memory; and where a body ends early it takes
the last object for a whole one.
"""

import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import Any, TypeVar

import requests
from dicomweb_client.web import DICOMwebClient

from ingest.dicom.multipart import Part, read_parts
from ingest.dicom.peer_errors import BadAddress, BadAnswer, NotThere, Passing, PeerUnavailable
from ingest.dicom.web_session import (
    TIMEOUT,
    Login,
    PeerSession,
    check_address,
    failure_of,
    first_value,
    translated_failures,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")
#: Takes the bytes of one object, which arrive as they are used.
Save = Callable[[Iterator[bytes]], None]

#: Entries asked for at a time; servers give fewer as they like.
PAGE = 500
#: Seconds before the second, third and fourth try of one request.
_WAITS = (0.5, 1.0, 2.0)
#: Longest time between two looks whether the peer is back, in seconds.
_MAX_WAIT = 15.0
#: Bytes read at a time.
_CHUNK = 2**18
#: As the peer has it stored.  Source: DICOM PS3.18, 8.7.3.5.2.
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
#: Laxer than DICOM PS3.5, 9.1, which old archives break with leading zeros; strict enough to be part of an address.
_UID = re.compile(r"[0-9](?:[0-9.]{0,62}[0-9])?")

_STUDY_UID, _SERIES_UID, _SOP_UID = "0020000D", "0020000E", "00080018"
_STUDY_DATE, _PATIENT_ID, _MODALITY = "00080020", "00100020", "00080060"
_STUDY_SERIES, _STUDY_INSTANCES, _SERIES_INSTANCES = "00201206", "00201208", "00201209"
_COUNTS = (_STUDY_SERIES, _STUDY_INSTANCES)


@dataclass(frozen=True, kw_only=True)
class StudyEntry:
    """A study as the peer lists it; counts are None where it gives none.

    Attributes:
        uid: Study Instance UID.
        patient_id: For choosing, never for showing.
        date: YYYYMMDD, or empty.
        n_series: NumberOfStudyRelatedSeries.
        n_instances: NumberOfStudyRelatedInstances.
    """

    uid: str
    patient_id: str
    date: str
    n_series: int | None
    n_instances: int | None


@dataclass(frozen=True, kw_only=True)
class SeriesEntry:
    """A series as the peer lists it.

    Attributes:
        uid: Series Instance UID.
        modality: Code of the modality, or empty.
        n_instances: NumberOfSeriesRelatedInstances; None if the peer gives none.
    """

    uid: str
    modality: str
    n_instances: int | None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Everything that the peer lists under one question.

    Attributes:
        entries: Entries in the DICOM JSON model by UID, each UID once, in the peer's order.
        is_repeated: True if the peer gave a page again instead of the next one, so that the list may end early.
        n_unnamed: Entries without a usable UID.
    """

    entries: dict[str, dict[str, Any]]
    is_repeated: bool
    n_unnamed: int


class Peer:
    """One DICOMweb service; every question is asked again when it fails in a way that may pass."""

    def __init__(self, address: str, login: Login, *, allow_http: bool = False, patience: float = 120.0):
        """Prepares the connection; nothing is sent yet.

        Args:
            address: Address of the service.
            login: Who asks.
            allow_http: True permits an address without TLS on another machine.
            patience: How long to wait for a peer that has stopped answering, in seconds.

        Raises:
            BadAddress: The address cannot be used.
        """
        self.address = check_address(address, allow_http=allow_http)
        self._patience = patience
        self._session = PeerSession(login)
        with translated_failures():
            self._client = DICOMwebClient(self.address, session=self._session, permissive_uid=True, timeout=TIMEOUT)
        self._client.set_http_retry_params(retry=False)

    def close(self) -> None:
        """Ends the connections."""
        self._session.close()

    def greet(self) -> None:
        """Sees whether a DICOMweb service is there, without patience for one that is not.

        Raises:
            BadAddress: Something else is.
            PeerUnavailable: Nothing answers.
            IngestError: The peer refuses, or answers with something that is not DICOMweb.
        """
        try:
            self._repeat(self._probe)
        except NotThere as error:
            raise BadAddress("No DICOMweb service is at this address; Orthanc's ends in /dicom-web.") from error
        except Passing as error:
            raise PeerUnavailable("The peer does not answer; check the address and that it runs.") from error

    def studies(self, search: dict[str, str]) -> Listing:
        """Studies that match.

        Args:
            search: Attribute and value to match.
        """
        return self._list(_STUDY_UID, partial(self._client.search_for_studies, fields=_COUNTS, search_filters=search))

    def study(self, uid: str) -> StudyEntry:
        """One study, as the peer lists it now.

        Raises:
            NotThere: It is not listed any more.
        """
        search = partial(self._client.search_for_studies, fields=_COUNTS, search_filters={"StudyInstanceUID": uid})
        for entry in study_entries(self._persist(partial(_search, search))):
            if entry.uid == uid:
                return entry
        raise NotThere()

    def series(self, study: str) -> Listing:
        """Series of a study."""
        return self._list(_SERIES_UID, partial(self._client.search_for_series, study, fields=[_SERIES_INSTANCES]))

    def instances(self, study: str, series: str) -> Listing:
        """Instances of a series."""
        return self._list(_SOP_UID, partial(self._client.search_for_instances, study, series))

    def retrieve_series(self, study: str, series: str, save: Save) -> None:
        """Gives every instance of a series to `save` as it arrives, in one answer, which is asked for once only.

        Raises:
            IngestError: The answer fails or ends early; what was saved before is whole.
        """
        self._retrieve(f"studies/{study}/series/{series}", save)

    def retrieve_instance(self, study: str, series: str, instance: str, save: Save) -> None:
        """Gives one instance to `save`; tried again, and then given anew, after a failure that may pass.

        Raises:
            PeerUnavailable: The peer has stopped answering altogether.
            IngestError: The peer answers, but does not give the instance.
        """
        path = f"studies/{study}/series/{series}/instances/{instance}"
        self._persist(lambda: self._retrieve(path, save))

    def _list(self, tag: str, search: Callable[..., Any]) -> Listing:
        """Pages until an empty one: a short page says nothing, since servers shorten pages as they like."""
        seen: dict[str, dict[str, Any]] = {}
        offset = 0
        while page := self._persist(partial(_search, search, limit=PAGE, offset=offset)):
            new = {uid: entry for entry in page if (uid := first_value(entry, tag)) not in seen}
            if not new:
                break
            seen |= new
            offset += len(page)
        entries = {uid: entry for uid, entry in seen.items() if _UID.fullmatch(uid)}
        return Listing(entries=entries, is_repeated=bool(page), n_unnamed=len(seen) - len(entries))

    def _retrieve(self, path: str, save: Save) -> None:
        with self._get(f"{self.address}/{path}") as response:
            for part in _parts(response):
                save(part.chunks)

    @contextmanager
    def _get(self, url: str) -> Iterator[requests.Response]:
        # Compression is not worth its time on compressed pixels, and hides how long an answer is.
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity"}
        with translated_failures():
            response = self._session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        with response:
            if response.status_code != requests.codes.ok:
                raise failure_of(response)
            yield response

    def _persist(self, ask: Callable[[], T]) -> T:
        """Asks until there is an answer, or until it is clear that this question is at fault, not the peer.

        Raises:
            PeerUnavailable: The peer has stopped answering.
            Passing: The peer answers other questions, but not this one.
        """
        try:
            return self._repeat(ask)
        except Passing:
            self._await()
            return self._repeat(ask)

    def _repeat(self, ask: Callable[[], T]) -> T:
        for wait in _WAITS:
            try:
                return ask()
            except Passing as error:
                if error.wait_seconds > self._patience:
                    raise
                _sleep(max(wait, error.wait_seconds))
        return ask()

    def _await(self) -> None:
        """Waits until the peer answers a small question."""
        deadline = time.monotonic() + self._patience
        wait = 0.5
        while True:
            try:
                return self._probe()
            except Passing as error:
                wait = min(2 * wait, _MAX_WAIT)
                pause = max(wait, error.wait_seconds)
                if time.monotonic() + pause > deadline:
                    raise PeerUnavailable() from error
                logger.warning("Peer does not answer; waiting", extra={"action": "peer_awaited", "seconds": pause})
                _sleep(pause)

    def _probe(self) -> None:
        _search(self._client.search_for_studies, limit=1)


def study_entries(entries: Iterable[dict[str, Any]]) -> list[StudyEntry]:
    """Studies, from the DICOM JSON model."""
    return [
        StudyEntry(
            uid=first_value(entry, _STUDY_UID),
            patient_id=first_value(entry, _PATIENT_ID),
            date=first_value(entry, _STUDY_DATE),
            n_series=_count(entry, _STUDY_SERIES),
            n_instances=_count(entry, _STUDY_INSTANCES),
        )
        for entry in entries
    ]


def series_entries(entries: Iterable[dict[str, Any]]) -> list[SeriesEntry]:
    """Series, from the DICOM JSON model."""
    return [
        SeriesEntry(
            uid=first_value(entry, _SERIES_UID),
            modality=first_value(entry, _MODALITY),
            n_instances=_count(entry, _SERIES_INSTANCES),
        )
        for entry in entries
    ]


def _count(entry: dict[str, Any], tag: str) -> int | None:
    value = first_value(entry, tag)
    return int(value) if value.isdecimal() else None


def _search(search: Callable[..., Any], **page: int) -> list[dict[str, Any]]:
    with translated_failures():
        answer = search(**page)
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise BadAnswer()
    return answer


def _sleep(seconds: float) -> None:
    # Spread out, so that several readers do not come back in one moment.
    time.sleep(seconds * random.uniform(1.0, 1.25))


def _parts(response: requests.Response) -> Iterator[Part]:
    kind = Message()
    kind["Content-Type"] = response.headers.get("Content-Type", "")
    if kind.get_content_type() == "multipart/related" and (boundary := kind.get_param("boundary")):
        yield from read_parts(_chunks(response), str(boundary))
    elif kind.get_content_type() == "application/dicom" and _is_framed(response):
        yield Part(_chunks(response))
    else:
        raise BadAnswer()


def _is_framed(response: requests.Response) -> bool:
    """True if a body that ends early can be told from a whole one."""
    return "Content-Length" in response.headers or response.headers.get("Transfer-Encoding", "").lower() == "chunked"


def _chunks(response: requests.Response) -> Iterator[bytes]:
    # The failures of the network are translated here and not further out, where those of the disk come in.
    with translated_failures():
        yield from response.iter_content(_CHUNK)
