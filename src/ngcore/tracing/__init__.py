"""Lines: skeletons of neurons, and streamlines of tractography."""
