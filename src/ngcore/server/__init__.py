"""Serving volumes over HTTP."""
