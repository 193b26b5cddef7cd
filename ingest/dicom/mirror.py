"""How does a DICOMweb peer become a folder that is indexed like any archive?"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingest.dicom.dicomweb import Listing, Peer, Save, SeriesEntry, StudyEntry, series_entries, study_entries
from ingest.dicom.mirror_folder import MirrorFolder
from ingest.dicom.peer_errors import (
    BadAnswer,
    BadSelection,
    CertificateRefused,
    CountMismatch,
    CountUnknown,
    FolderUnusable,
    LoginRefused,
    PageRepeated,
    PeerUnavailable,
    WrongInstance,
)
from ingest.errors import IngestError, Refusal

logger = logging.getLogger(__name__)

#: Times that a study is listed before its counts are believed to disagree: one that is being sent grows meanwhile.
_LISTINGS = 3
#: A date, a range, or nothing.  Source: DICOM PS3.4, C.2.2.2.5.
_DATES = re.compile(r"|\d{8}(-(\d{8})?)?|-\d{8}")
#: Failures after which asking on makes no sense.
_FATAL = (PeerUnavailable, FolderUnusable, CertificateRefused, LoginRefused)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which studies and series are mirrored; an empty or absent field takes all.

    Attributes:
        study_date: Date YYYYMMDD, or a range FROM-TO, either end of which may be left out.
        modalities: Codes of modalities; of a study that has others too, only these series are taken.
        patient_ids: PatientIDs; compared here, so that none of them stands in an address that a server writes down.
    """

    study_date: str = ""
    modalities: tuple[str, ...] = ()
    patient_ids: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not _DATES.fullmatch(self.study_date):
            raise BadSelection()

    def searches(self) -> Iterator[dict[str, str]]:
        """What to ask the peer for; several questions, since not all peers take several values in one."""
        dates = {"StudyDate": self.study_date} if self.study_date else {}
        for modality in self.modalities or ("",):
            yield {**dates, "ModalitiesInStudy": modality} if modality else dates

    def takes_study(self, study: StudyEntry) -> bool:
        """True if the study is selected; asked again here, since peers ignore what they do not know."""
        if self.study_date:
            first, dash, last = self.study_date.partition("-")
            # Dates from before DICOM have dots.  Source: DICOM PS3.5, 6.2.
            date = study.date.replace(".", "")
            if not date or date < first or date > ((last or date) if dash else first):
                return False
        return self.patient_ids is None or study.patient_id in self.patient_ids

    def takes_series(self, series: SeriesEntry) -> bool:
        """True if the series is selected."""
        return not self.modalities or series.modality in self.modalities


@dataclass(kw_only=True)
class MirrorSummary:
    """What a run did.

    Attributes:
        studies: Selected studies that the peer lists.
        complete: Studies of which every listed instance is in the folder, and whose counts agree.
        fetched: Instances fetched by this run.
        kept: Instances that were there before.
        held_back: Studies that are gathered in part and not in the archive.
        refusals: What could not be fetched or trusted, in the order of the peer's list.
    """

    studies: int = 0
    complete: int = 0
    fetched: int = 0
    kept: int = 0
    held_back: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, item: str, level: str, error: IngestError) -> None:
        """Notes what was refused."""
        self.refusals.append(Refusal(item=item, level=level, code=error.code, reason=str(error)))


def mirror_peer(
    peer: Peer,
    folder: Path,
    *,
    selection: Selection | None = None,
    releases_mismatched: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> MirrorSummary:
    """Fetches what the folder lacks, study by study; what is there is never fetched again, changed or removed.

    A study comes into the archive when all its instances were fetched or refused and its counts agree; a late instance
    is fetched and added by the next run. May be killed and repeated at any time.

    Args:
        peer: Where from.
        folder: Where to; made if it does not exist.
        selection: Which studies and series; all if None.
        releases_mismatched: True lets studies into the archive whose counts disagree or are missing.
        progress: Called with the number of studies done and of studies in all.

    Raises:
        BadAddress: There is no DICOMweb service.
        PeerUnavailable: Nothing answers at all; a peer that stops later ends up among the refusals.
        FolderBusy: Another process mirrors into the folder.
        FolderOfOther: The folder mirrors another peer.
        FolderUnusable: It cannot be written.
        IngestError: The peer refuses access.
    """
    with MirrorFolder(folder, peer.address) as target:
        peer.greet()
        run = _Run(peer, target, selection or Selection(), releases_mismatched)
        try:
            run.everything(progress)
        except _FATAL as error:
            level = "folder" if isinstance(error, FolderUnusable) else "peer"
            run.summary.refuse(level, level, error)
        run.summary.held_back = target.held_back()
        return run.summary


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What a peer says of one study.

    Attributes:
        instances: Instance UIDs by series UID, of the selected series.
        doubt: Why the list may not be whole; None if the counts agree.
    """

    instances: dict[str, list[str]]
    doubt: IngestError | None


class _Run:
    """One pass over the peer."""

    def __init__(self, peer: Peer, folder: MirrorFolder, selection: Selection, releases_mismatched: bool):
        self._peer = peer
        self._folder = folder
        self._selection = selection
        self._releases_mismatched = releases_mismatched
        self.summary = MirrorSummary()

    def everything(self, progress: Callable[[int, int], None] | None) -> None:
        """Every selected study, in the peer's order."""
        studies: dict[str, StudyEntry] = {}
        for search in self._selection.searches():
            listing = self._peer.studies(search)
            self._doubt_list(listing)
            studies |= {
                one.uid: one for one in study_entries(listing.entries.values()) if self._selection.takes_study(one)
            }
        for done, uid in enumerate(studies, 1):
            try:
                self._study(uid)
            except _FATAL:
                raise
            except IngestError as error:
                self.summary.refuse(uid, "study", error)
            if progress is not None:
                progress(done, len(studies))

    def _doubt_list(self, listing: Listing) -> None:
        """Studies have no count to compare with, so a list that may end early is a refusal by itself."""
        if listing.is_repeated:
            self.summary.refuse("peer", "peer", PageRepeated())
        if listing.n_unnamed:
            reason = (
                f"The peer lists studies without a usable UID, at least {listing.n_unnamed}; repair them at the peer."
            )
            self.summary.refuse("peer", "peer", BadAnswer(reason))

    def _study(self, uid: str) -> None:
        study = self._listed(uid)
        if not study.instances and study.doubt is None:
            return
        self.summary.studies += 1
        refused = len(self.summary.refusals)
        for series, instances in study.instances.items():
            self._series(uid, series, instances)
        if study.doubt is not None:
            self.summary.refuse(uid, "study", study.doubt)
        if study.doubt is None or self._releases_mismatched:
            self._folder.release(uid)
        self.summary.complete += len(self.summary.refusals) == refused

    def _listed(self, uid: str) -> _Study:
        for _ in range(_LISTINGS):
            study = self._list(uid)
            if not isinstance(study.doubt, CountMismatch):
                break
        return study

    def _list(self, uid: str) -> _Study:
        # Asked for anew, since the list of all studies may be hours old.
        entry = self._peer.study(uid)
        series = series_entries(self._peer.series(uid).entries.values())
        instances = {
            one.uid: list(self._peer.instances(uid, one.uid).entries)
            for one in series
            if self._selection.takes_series(one)
        }
        return _Study(instances=instances, doubt=_doubt(entry, series, instances))

    def _series(self, study: str, series: str, instances: list[str]) -> None:
        missing = [one for one in instances if not self._folder.holds(study, series, one)]
        self.summary.kept += len(instances) - len(missing)
        wanted = set(missing)

        def save(chunks: Iterator[bytes]) -> None:
            uid = self._folder.save(chunks, study=study, series=series, wanted=wanted)
            if uid is not None:
                wanted.remove(uid)
                self.summary.fetched += 1

        if len(missing) == len(instances) > 1:
            self._in_one_answer(study, series, save)
        for instance in missing:
            if instance in wanted:
                fault = self._instance(study, series, instance, save)
                # What came whole before the answer failed is no loss.
                if instance in wanted:
                    self.summary.refuse(instance, "instance", fault or WrongInstance())

    def _instance(self, study: str, series: str, instance: str, save: Save) -> IngestError | None:
        try:
            self._peer.retrieve_instance(study, series, instance, save)
        except _FATAL:
            raise
        except IngestError as error:
            return error
        return None

    def _in_one_answer(self, study: str, series: str, save: Save) -> None:
        """Fetches a whole series; whatever does not come is then asked for by itself, so no failure matters here."""
        try:
            self._peer.retrieve_series(study, series, save)
        except _FATAL:
            raise
        except IngestError as error:
            logger.info("Series not given whole", extra={"action": "series_not_whole", "code": error.code})


def _doubt(study: StudyEntry, series: list[SeriesEntry], instances: dict[str, list[str]]) -> IngestError | None:
    """Why what was listed may not be whole: a count disagrees, or no count vouches for it."""
    listed = [len(instances[one.uid]) if one.uid in instances else one.n_instances for one in series]
    total = sum(one or 0 for one in listed)
    counts = [
        ("series of the study", study.n_series, len(series)),
        ("instances of the study", study.n_instances, None if None in listed else total),
        *(
            ("instances of a series", one.n_instances, len(instances[one.uid]))
            for one in series
            if one.uid in instances
        ),
    ]
    for what, counted, found in counts:
        if counted is not None and found is not None and counted != found:
            return CountMismatch(
                f"The peer counts {counted} {what} and lists {found}, so something may be missing; "
                "run the mirror again later, or have the peer mend its counts."
            )
    by_series = study.n_series is not None and all(one.n_instances is not None for one in series)
    by_study = study.n_instances is not None and None not in listed
    return None if by_series or by_study else CountUnknown()
