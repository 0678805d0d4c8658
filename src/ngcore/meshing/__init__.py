"""Meshes of a volume: `fragments` of surfaces, and `mesh`: labels in levels of detail."""
