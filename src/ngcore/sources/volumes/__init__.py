"""Volumes: one file per format."""
