"""DICOM archives: instances, pixels, studies."""
