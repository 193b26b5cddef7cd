"""Readers of labelled pairs: published data sets and our own archives, one file a format."""
