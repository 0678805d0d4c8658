"""Volumes as single files."""
