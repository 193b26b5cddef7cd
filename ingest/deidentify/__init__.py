"""De-identification: an archive of DICOM images without what tells who the patients are."""
