"""Why does a DICOMweb peer, or one object of it, give nothing?"""

from typing import ClassVar

from ingest.errors import IngestError


class BadAddress(IngestError, ValueError):
    """The address is no DICOMweb service; give one like https://pacs.example/dicom-web."""

    code: ClassVar[str] = "BAD_ADDRESS"


class BadLogin(IngestError, ValueError):
    """The login is unusable; set a user with a password, or a token, in printable characters."""

    code: ClassVar[str] = "BAD_LOGIN"


class PeerUnavailable(IngestError):
    """The peer does not answer; see that it runs, then run the mirror again: it goes on where it stopped."""

    code: ClassVar[str] = "PEER_UNAVAILABLE"


class CertificateRefused(IngestError):
    """The peer's TLS certificate cannot be verified; add its authority to REQUESTS_CA_BUNDLE."""

    code: ClassVar[str] = "CERTIFICATE_REFUSED"


class AccessRefused(IngestError):
    """The peer refuses access; check the login and what its user may read."""

    code: ClassVar[str] = "ACCESS_REFUSED"


class LoginRefused(AccessRefused):
    """The peer does not accept the login, or asks for one; set it in the environment, then run again."""


class RedirectRefused(IngestError):
    """The peer redirects to another address, which is not followed; give the address of the service itself."""

    code: ClassVar[str] = "REDIRECT_REFUSED"


class NotThere(IngestError):
    """The peer lists the object and then does not have it; repair it at the peer, then run the mirror again."""

    code: ClassVar[str] = "NOT_THERE"


class BadAnswer(IngestError):
    """The peer answers with something that is not DICOMweb; check the address and the peer's log."""

    code: ClassVar[str] = "BAD_ANSWER"


class WrongInstance(IngestError):
    """The peer sent something else than the instance that was asked for; repair it at the peer."""

    code: ClassVar[str] = "WRONG_INSTANCE"


class CountMismatch(IngestError):
    """The peer counts other instances than it lists, so something may be missing; run the mirror again later."""

    code: ClassVar[str] = "COUNT_MISMATCH"


class CountUnknown(IngestError):
    """The peer does not count its instances, so nothing shows that its list is whole."""

    code: ClassVar[str] = "COUNT_UNKNOWN"


class PageRepeated(IngestError):
    """The peer repeats a page of its list instead of giving the next one; mirror it in parts, by dates of studies."""

    code: ClassVar[str] = "PAGE_REPEATED"


class BadSelection(IngestError, ValueError):
    """Dates are YYYYMMDD, or a range YYYYMMDD-YYYYMMDD, one end of which may be left out."""

    code: ClassVar[str] = "BAD_SELECTION"


class FolderUnusable(IngestError):
    """The mirror's folder cannot be written; give this user the right to, or free space."""

    code: ClassVar[str] = "FOLDER_UNUSABLE"


class FolderBusy(IngestError):
    """Another mirror is writing into this folder; wait until it has ended."""

    code: ClassVar[str] = "FOLDER_BUSY"


class FolderOfOther(IngestError, ValueError):
    """The folder mirrors a peer at another address; choose another folder, or delete its file "peer" if it moved."""

    code: ClassVar[str] = "FOLDER_OF_OTHER"


class Passing(IngestError):
    """The peer failed again and again; see its log, then run the mirror again."""

    code: ClassVar[str] = "PEER_FAILED"

    def __init__(self, *, wait_seconds: float = 0.0):
        super().__init__()
        #: How long the peer asks to be left alone, in seconds; 0 if it says nothing.
        self.wait_seconds = wait_seconds


class AnswerCut(Passing):
    """The peer's answer ended early, again and again; see its log, then run the mirror again."""

    code: ClassVar[str] = "ANSWER_CUT"
