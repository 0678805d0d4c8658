"""The types of voxels that the format has: the values of `data_type`."""

DATA_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
