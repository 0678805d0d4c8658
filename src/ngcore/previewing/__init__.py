"""A picture of a volume, for reports."""
