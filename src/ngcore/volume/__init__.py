"""A volume that is there."""
