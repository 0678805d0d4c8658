"""The format's fixed names: types of `info`, data types, and files beside `info`.

https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed
"""

VOLUME_TYPE = "neuroglancer_multiscale_volume"
ANNOTATIONS_TYPE = "neuroglancer_annotations_v1"
SKELETONS_TYPE = "neuroglancer_skeletons"
LEGACY_MESH_TYPE = "neuroglancer_legacy_mesh"
MULTILOD_MESH_TYPE = "neuroglancer_multilod_draco"
SEGMENT_PROPERTIES_TYPE = "neuroglancer_segment_properties"

VOLUME_TYPES = ("image", "segmentation")

TRANSFORM_NAME = "transform.json"
PROVENANCE_NAME = "provenance"
COLOURS_NAME = "colors.json"
"""In the folder of segment properties: colours of labels, which the format has no place for."""
EMPTY_MANIFEST_NAME = "empty.index"
"""In a folder of multi-resolution meshes: what web servers send for a segment that has none."""
MAX_SEGMENT_ID = 2**64 - 1
