"""Arrays to arrays: check the arguments, then one kernel call."""
