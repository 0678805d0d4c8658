"""Multi-resolution meshes of labels: from voxels or surfaces to files that the client streams."""
