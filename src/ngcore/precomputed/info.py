"""The ``info`` file of a multiscale volume: what it says, its rules, and its JSON.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import FormatError
from ngcore.precomputed.json_members import (
    MAX_SAFE_INTEGER,
    check_enum,
    check_extra,
    check_integer,
    check_object,
    check_relative_path,
    check_type_tag,
    dump,
    fail,
    inside,
    parse_object,
    set_field,
    take,
    take_optional,
)
from ngcore.precomputed.names import VOLUME_TYPE, VOLUME_TYPES
from ngcore.precomputed.scale_info import ENCODINGS, FOREIGN_ENCODINGS, ScaleInfo

__all__ = [
    "DATA_TYPES",
    "ENCODINGS",
    "FOREIGN_ENCODINGS",
    "VOLUME_TYPES",
    "ScaleInfo",
    "VolumeInfo",
    "info_warnings",
]


_FOLDERS = ("mesh", "skeletons", "segment_properties")
_MEMBERS = ("type", "data_type", "num_channels", "scales", *_FOLDERS)
_LARGEST_EXACT_FLOAT32 = 2**24
_ENCODINGS_OF_THE_CLIENT = ("raw", "png", "jpeg", "compressed_segmentation", "compresso", "jxl")


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """The ``info`` file of a multiscale volume.

    Attributes
    ----------
    type : {'image', 'segmentation'}
    data_type : str
        One of `DATA_TYPES`; no float32 segmentation.
    num_channels : int
        1 or more; 1 for a segmentation.
    scales : tuple of ScaleInfo
        One or more, full resolution first; resolutions never decrease.
    mesh, skeletons, segment_properties : str or None
        Folders relative to the info file.
    extra : dict
        Members that others wrote and ngcore does not know; kept as they are.

    Raises
    ------
    FormatError
        A value breaks the format's rules; the message starts with its path in the JSON.

    Examples
    --------
    >>> scale = ScaleInfo(key="8_8_40", size=(100, 80, 10), resolution=(8, 8, 40.0))
    >>> info = VolumeInfo("image", "uint8", 1, (scale,))
    >>> VolumeInfo.from_json(info.to_json()) == info
    True
    """

    type: str
    data_type: str
    num_channels: int
    scales: tuple[ScaleInfo, ...]
    mesh: str | None = None
    skeletons: str | None = None
    segment_properties: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        set_field(self, "type", check_enum(self.type, "type", VOLUME_TYPES))
        set_field(self, "data_type", check_enum(self.data_type, "data_type", DATA_TYPES))
        channels = check_integer(self.num_channels, "num_channels", 1, MAX_SAFE_INTEGER)
        set_field(self, "num_channels", channels)
        if self.type == "segmentation":
            if channels != 1:
                fail("num_channels", "1, as the type is segmentation", channels)
            if self.data_type == "float32":
                fail("data_type", "an integer type, as the type is segmentation", self.data_type)
        for name in _FOLDERS:
            if getattr(self, name) is not None:
                check_relative_path(getattr(self, name), name)
        check_extra(self.extra, _MEMBERS)
        set_field(self, "scales", tuple(self.scales))
        if not self.scales:
            fail("scales", "one scale or more", [])
        for number, (finer, coarser) in enumerate(pairwise(self.scales), 1):
            for axis, (least, got) in enumerate(
                zip(finer.resolution, coarser.resolution, strict=True)
            ):
                if got < least:
                    raise FormatError(
                        f"scales[{number}].resolution[{axis}]: {got} is less than {least} of the "
                        "scale before; order the scales from fine to coarse"
                    )

    @classmethod
    def from_json(cls, document: str | bytes) -> VolumeInfo:
        """Parse an info file.

        Parameters
        ----------
        document : str or bytes
            Whatever they hold, the result is a valid VolumeInfo or a FormatError.

        Raises
        ------
        FormatError
            It is no JSON, or breaks the format's rules; the message names the JSON path.
        """
        members = parse_object(document)
        if "@type" in members:
            check_type_tag(members.pop("@type"), VOLUME_TYPE)
        items = take(members, "scales")
        if not isinstance(items, list):
            fail("scales", "an array", items)
        scales = []
        for number, item in enumerate(items):
            check_object(item, f"scales[{number}]")
            with inside(f"scales[{number}]"):
                scales.append(ScaleInfo.from_json(item))
        return cls(
            type=take(members, "type"),
            data_type=take(members, "data_type"),
            num_channels=take(members, "num_channels"),
            scales=tuple(scales),
            mesh=take_optional(members, "mesh"),
            skeletons=take_optional(members, "skeletons"),
            segment_properties=take_optional(members, "segment_properties"),
            extra=members,
        )

    def to_json(self) -> str:
        """Return the info file's text: the same for equal infos, indented by two spaces."""
        return dump(self.members())

    def members(self) -> dict[str, Any]:
        """Return what the info file says; arrays are tuples."""
        members: dict[str, Any] = {
            "@type": VOLUME_TYPE,
            "type": self.type,
            "data_type": self.data_type,
            "num_channels": self.num_channels,
        }
        for name in _FOLDERS:
            if getattr(self, name) is not None:
                members[name] = getattr(self, name)
        members["scales"] = [scale.to_json() for scale in self.scales]
        return members | self.extra

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type of the voxels, in native byte order."""
        return np.dtype(self.data_type)


def info_warnings(info: VolumeInfo) -> list[str]:
    """Return what is valid by the rules, yet will look or load wrong in Neuroglancer.

    Returns
    -------
    list of str
        One line each, starting with the JSON path; empty where there is nothing to say.
    """
    warnings = []
    if info.type == "segmentation" and info.data_type.startswith("int"):
        warnings.append(
            f"data_type: Neuroglancer draws signed segmentations ({info.data_type}) grey; "
            "use uint32 or uint64"
        )
    paths: dict[str, str] = {}
    for number, scale in enumerate(info.scales):
        path = f"scales[{number}]"
        warnings += [f"{path}.{warning}" for warning in _scale_warnings(scale)]
        if info.type == "segmentation" and scale.encoding == "jpeg":
            warnings.append(f"{path}.encoding: jpeg changes labels; use one that is lossless")
        first = paths.setdefault(scale.key, path)
        if first != path:
            warnings.append(f"{path}.key: the same folder as that of {first}")
        axis = _axis_that_falls_short(info.scales[0], scale)
        if axis is not None:
            warnings.append(
                f"{path}.size[{axis}]: this scale does not cover scales[0]; round its offset "
                "down and its end up"
            )
    return warnings


def _scale_warnings(scale: ScaleInfo) -> list[str]:
    warnings = []
    if scale.encoding not in _ENCODINGS_OF_THE_CLIENT:
        warnings.append(f"encoding: Neuroglancer can't decode {scale.encoding}")
    for name, values in (("size", scale.size), ("voxel_offset", scale.voxel_offset)):
        warnings += [
            f"{name}[{axis}]: Neuroglancer keeps it as float32, which is not exact above 2^24"
            for axis, value in enumerate(values)
            if abs(value) > _LARGEST_EXACT_FLOAT32
        ]
    return warnings


def _axis_that_falls_short(finest: ScaleInfo, scale: ScaleInfo) -> int | None:
    for axis in range(3):
        factor = scale.resolution[axis] / finest.resolution[axis]
        # Resolutions are rounded; a hundredth of a voxel of scale 0 is nothing that one can see.
        start = scale.bounds.start[axis] * factor - 0.01
        stop = scale.bounds.stop[axis] * factor + 0.01
        if start > finest.bounds.start[axis] or stop < finest.bounds.stop[axis]:
            return axis
    return None
