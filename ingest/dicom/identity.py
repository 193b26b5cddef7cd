"""Whose image is this? Keys only: no identifier leaves this file."""

import hashlib

from pydicom.dataset import Dataset

from ingest.dicom.errors import NoIdentity
from ingest.dicom.header import text


def subject_key(dataset: Dataset) -> str:
    """`patient:` and 16 hex digits that are equal for equal PatientID **and** issuer.

    Spaces around both are trimmed, leading zeros are kept. An absent issuer is one of its own: the site's default.

    Raises:
        NoIdentity: PatientID is empty. Two empty ids are not one patient.
    """
    patient = text(dataset, "PatientID")
    if not patient:
        raise NoIdentity()
    return "patient:" + _hash(patient, _issuer(dataset))


def consistency_keys(dataset: Dataset) -> dict[str, str]:
    """Hashes of name, birth date and sex, for noticing two people under one id; absent values are left out.

    The id is hashed with each value, so that the keys say nothing across patients and cannot be looked up by date.
    """
    person = (text(dataset, "PatientID"), _issuer(dataset))
    values = {
        "name_key": "".join(c for c in text(dataset, "PatientName").upper() if c.isalnum()),
        "birth_key": text(dataset, "PatientBirthDate"),
        "sex_key": text(dataset, "PatientSex"),
    }
    return {key: _hash(*person, key, value) for key, value in values.items() if value}


def _issuer(dataset: Dataset) -> str:
    return text(dataset, "IssuerOfPatientID")


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
