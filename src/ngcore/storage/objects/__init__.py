"""Volumes in buckets: s3, gs and az."""
