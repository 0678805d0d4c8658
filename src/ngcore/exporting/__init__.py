"""Volumes back to files of other programs."""
