"""A folder that one run fills: lock, journal, what is done, clean-up."""
