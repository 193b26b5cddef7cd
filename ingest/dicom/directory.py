"""Which files does the directory of a DICOM file set list?"""

from ingest.dicom.header import counted_warnings, items, read_header, texts
from ingest.errors import IngestError


def referenced_files(content: bytes) -> list[str]:
    """Paths, relative to the directory's own folder, of the files that a DICOMDIR lists; sorted, each once.

    Nothing is checked against the disk. A directory that cannot be read lists nothing: it is a hint, and the files are
    found without it.

    Source: DICOM PS3.3, F.3.2.2 (Referenced File ID), PS3.10, 8.5.
    """
    names = set()
    with counted_warnings():
        try:
            for record in items(read_header(content), "DirectoryRecordSequence"):
                parts = [part for part in texts(record, "ReferencedFileID") if part not in ("", ".", "..")]
                if parts:
                    names.add("/".join(parts))
        except IngestError:
            return []
    return sorted(names)
