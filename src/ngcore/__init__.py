"""ngcore: put volumes, slices and meshes into Neuroglancer's precomputed format."""
