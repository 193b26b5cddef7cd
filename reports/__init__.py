"""Findings, vocabularies, text to findings and back, metrics, audits and pages. No torch, no server."""
