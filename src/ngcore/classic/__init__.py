"""The steps of the classic pipeline, each over a folder whose `info` is there."""
