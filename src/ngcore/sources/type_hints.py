"""Whether a source holds an image or labels, as its header and its name tell (`--type auto`).

Names follow the suffixes of BIDS derivatives
(https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html) and the file names
of FreeSurfer's recon-all; intent codes are those of nifti1.h (https://nifti.nimh.nih.gov/nifti-1).
"""

from __future__ import annotations

import re
from pathlib import Path

from ngcore.sources.base import SuggestedType

LABEL_INTENTS = {1002: "label", 1003: "NeuroNames label"}

IMAGE_INTENTS = {
    1001: "estimate",
    1004: "matrix",
    1005: "symmetric matrix",
    1006: "displacement vector",
    1007: "vector",
    1011: "dimensionless",
    2003: "RGB vector",
    2004: "RGBA vector",
    2005: "shape",
}

STATISTICS = range(2, 25)
"""Intent codes of statistics: correlation to minus the logarithm of a p-value."""

LABEL_SUFFIXES = frozenset(
    (
        "dseg", "mask", "masks", "roi", "rois", "seg", "segmentation", "segmentations", "label",
        "labels", "labelmap", "parc", "parcellation", "parcellations", "parcels", "nodes",
        "annotation", "annotations", "pveseg", "firstseg",
    )
)  # fmt: skip
"""How names of labels end, those of BIDS, FSL, Cellpose, 3D Slicer, MRtrix and others."""

IMAGE_SUFFIXES = frozenset(("probseg", "bold", "boldref", "dwi", "t1w", "t2w", "flair", "pet"))

FREESURFER_LABELS = frozenset(
    ("aseg", "aparc", "wmparc", "ribbon", "gtmseg", "synthseg", "filled", "hypos", "entowm")
)

FREESURFER_LABEL_STARTS = ("hippoamyglabels", "hipposflabels", "brainstemss", "thalamicnuclei")

_ATLAS_WORDS = frozenset(
    (
        "aal", "atlas", "atlases", "maxprob", "parcels", "parcellation", "parcellations",
        "annotation", "annotations", "labelmap", "masks",
    )
)  # fmt: skip
"""Words in names of atlases and masks in use."""

_ATLAS_STARTS = (
    *("schaefer", "yeo", "hcpmmp", "brainnetome", "craddock", "glasser", "desikan"),
    *("destrieux", "brodmann", *(f"aal{digit}" for digit in "0123456789")),
)

_IMAGE_WORDS = frozenset(
    (
        "prob", "probs", "probability", "probabilistic", "probmap", "pve", "tpm", "template",
        "average", "mean", "t1", "t1w", "t2", "t2w", "flair", "bold", "boldref", "dwi", "fa",
        "pet", "ct", "zstat", "tstat", "zmap", "tmap", "raw", "intensity", "masked",
    )
)  # fmt: skip
"""Words that say that an atlas, or what was masked, is an image."""

_EXTENSIONS = frozenset(
    (
        "nii", "mgh", "mgz", "hdr", "img", "mnc", "npy", "par", "rec", "tif", "tiff", "ome", "btf",
        "nrrd", "nhdr", "mha", "mhd", "mrc", "map", "mif", "h5", "zarr", "n5", "gz", "bz2", "zst",
    )
)  # fmt: skip


def suggest_type(name: str, channel_count: int, intent_code: int = 0) -> SuggestedType:
    """Choose between image and segmentation.

    Parameters
    ----------
    name : str
        Path of the source; only its last part is looked at.
    channel_count : int
        A source of several channels is an image, unless it is called labels, which it can't be.
    intent_code : int
        NIfTI's, 0 where there is none.

    Examples
    --------
    >>> suggest_type("sub-01_desc-brain_mask.nii.gz", 1)
    SuggestedType(type='segmentation', reason="its name ends in 'mask'")
    """
    suggested = _by_intent(intent_code) if intent_code else None
    suggested = suggested or _by_name(name, channel_count)
    if channel_count > 1 and suggested.type == "image":
        return SuggestedType("image", f"it has {channel_count} channels")
    return suggested


def _by_intent(intent_code: int) -> SuggestedType | None:
    if intent_code in LABEL_INTENTS:
        return SuggestedType("segmentation", f"its intent is '{LABEL_INTENTS[intent_code]}'")
    if intent_code in IMAGE_INTENTS:
        return SuggestedType("image", f"its intent is '{IMAGE_INTENTS[intent_code]}'")
    if intent_code in STATISTICS:
        return SuggestedType("image", f"its intent is a statistic (code {intent_code})")
    return None


def _by_name(name: str, channel_count: int) -> SuggestedType:
    written = Path(name).name
    while written.rpartition(".")[2].lower() in _EXTENSIONS and "." in written:
        written = written.rpartition(".")[0]
    stem = written.lower()
    suffix = stem.rpartition("_")[2]
    if suffix in LABEL_SUFFIXES:
        return SuggestedType("segmentation", f"its name ends in '{suffix}'")
    if suffix in IMAGE_SUFFIXES:
        return SuggestedType("image", f"its BIDS suffix is '{suffix}'")
    for part in re.split(r"[.+]", stem) + re.split(r"[.+]", suffix):
        if part in FREESURFER_LABELS or part.startswith(FREESURFER_LABEL_STARTS):
            return SuggestedType("segmentation", f"FreeSurfer calls labels '{part}'")
    found = _label_word(written) if channel_count == 1 else None
    if found is not None:
        return SuggestedType("segmentation", f"its name holds '{found}'")
    return SuggestedType("image", "neither header nor name says that it holds labels")


def _label_word(stem: str) -> str | None:
    """Return the word of a name that says labels; None if another says that it is an image."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", apart) if word]
    if not words or _IMAGE_WORDS.intersection(words):
        return None
    if words[-1] in LABEL_SUFFIXES:
        return words[-1]
    return next(
        (
            word
            for word in words
            if word.startswith(_ATLAS_STARTS) or word.lstrip("0123456789") in _ATLAS_WORDS
        ),
        None,
    )
