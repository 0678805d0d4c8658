"""DICOM made with pydicom, of somebody who has a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

LPS = np.diag([-1.0, -1, 1, 1])
MR = "1.2.840.10008.5.1.4.1.1.4"


def dataset(pixels: np.ndarray, **fields: Any) -> Dataset:
    """Return one image; pixels of shape (rows, columns) or (frames, rows, columns)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = fields.get("SOPClassUID", MR)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    made.PatientName, made.PatientID, made.Modality = "Doe^Jane", "SECRET-1", "MR"
    made.SeriesInstanceUID, made.SeriesNumber = "1.2.3", 3
    made.Rows, made.Columns = pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim > 2:
        made.NumberOfFrames = len(pixels)
    made.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def place(affine: np.ndarray) -> dict[str, Any]:
    """Return the attributes that put a slice at the affine's origin."""
    own = LPS @ affine
    sizes = np.linalg.norm(own[:3, :3], axis=0)
    directions = (own[:3, :3] / sizes).T
    return {
        "ImageOrientationPatient": [float(f"{x:.12g}") for x in directions[:2].ravel()],
        "ImagePositionPatient": [float(f"{x:.10g}") for x in own[:3, 3]],
        "PixelSpacing": [float(sizes[1]), float(sizes[0])],
        "SliceThickness": float(sizes[2]),
    }


def write_series(
    folder: Path,
    values: np.ndarray,
    affine: np.ndarray,
    *,
    skip: Container[int] = (),
    **fields: Any,
) -> Path:
    """Write a slice a file, of names in another order than that of the slices."""
    folder.mkdir(exist_ok=True)
    order = np.random.default_rng(0).permutation(values.shape[2])
    for number in range(values.shape[2]):
        if number in skip:
            continue
        moved = affine.copy()
        moved[:3, 3] = (affine @ [0, 0, number, 1])[:3]
        image = dataset(values[:, :, number].T.copy(), InstanceNumber=number + 1)
        for name, value in {**place(moved), **fields}.items():
            setattr(image, name, value)
        image.save_as(folder / f"IM{order[number]:04}", enforce_file_format=True)
    return folder
