"""The comparisons of the kernels with their peers: each the same work, ours and theirs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import compressed_segmentation as peer_segmentation
import numpy as np
import tinybrain
from benchmarks import workloads

from ngcore import compressed_segmentation, downsampling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAIRS = ((2, 2, 2), (2, 2, 1))


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    kernel: str
    against: str
    on: str
    bar: float
    voxels: int
    read_bytes: int
    ours: Callable[[], Any]
    theirs: Callable[[], Any]

    @property
    def name(self) -> str:
        return f"{self.kernel}, {self.on}"


def codec_cases() -> Iterator[Case]:
    """Encoding and decoding of compressed_segmentation, beside compressed-segmentation."""
    chunks = [
        (f"{size}^3 {dtype}, {edges} edges", workloads.supervoxels(size, dtype, rough=rough))
        for dtype in ("uint64", "uint32")
        for size in (64, 128)
        for edges, rough in (("rough", True), ("smooth", False))
    ]
    chunks += [
        (f"64^3 {dtype}, all different", workloads.random_labels(64, dtype))
        for dtype in ("uint64", "uint32")
    ]
    for on, labels in chunks:
        is_random = "different" in on
        encoded = compressed_segmentation.encode(labels)
        theirs = peer_segmentation.compress(labels, order="F")
        if len(encoded) > len(theirs):
            raise AssertionError(f"{on}: {len(encoded)} bytes, the peer's {len(theirs)}")
        yield Case(
            "encode",
            "compressed-segmentation",
            on,
            1 if is_random else 4,
            labels.size,
            labels.nbytes,
            lambda labels=labels: compressed_segmentation.encode(labels),
            lambda labels=labels: peer_segmentation.compress(labels, order="F"),
        )
        yield Case(
            "decode",
            "compressed-segmentation",
            on,
            1 if is_random else 2,
            labels.size,
            labels.nbytes,
            lambda labels=labels, encoded=encoded: compressed_segmentation.decode(
                encoded, labels.shape, labels.dtype
            ),
            lambda labels=labels, encoded=encoded: peer_segmentation.decompress(
                encoded, labels.shape, labels.dtype, order="F"
            ),
        )


def downsampling_cases(size: int = 256) -> Iterator[Case]:
    """The usual pyramid, beside tinybrain."""
    for dtype in ("uint8", "uint16", "float32"):
        image = workloads.image(size, dtype)
        for factors in PAIRS:
            yield Case(
                f"average {written(factors)}",
                "tinybrain",
                f"{size}^3 {dtype}",
                1,
                image.size,
                image.nbytes,
                lambda image=image, factors=factors: downsampling.downsample(image, factors),
                lambda image=image, factors=factors: tinybrain.downsample_with_averaging(
                    image, factors
                ),
            )
    for dtype, edge, factors in product(("uint32", "uint64"), workloads.LABEL_EDGES, PAIRS):
        labels = workloads.labels_of_edge(size, dtype, edge)
        # Both sides make their results anew in each call.
        yield Case(
            f"majority {written(factors)}",
            "tinybrain",
            f"{size}^3 {dtype}, labels of {edge}",
            1.5,
            labels.size,
            labels.nbytes,
            lambda labels=labels, factors=factors: downsampling.downsample(
                labels, factors, method="majority"
            ),
            lambda labels=labels, factors=factors: tinybrain.downsample_segmentation(
                labels, factors
            ),
        )


def all_cases(side: int = 256) -> Iterator[Case]:
    """Every row of the table."""
    yield from codec_cases()
    yield from downsampling_cases(side)


OTHER_FACTORS = (
    (1, 1, 1),
    (2, 2, 1),
    (2, 1, 1),
    (1, 2, 1),
    (1, 1, 2),
    (1, 2, 2),
    (3, 1, 1),
    (1, 1, 3),
    (5, 1, 1),
    (8, 1, 1),
    (3, 3, 1),
    (4, 4, 1),
    (3, 3, 3),
    (4, 4, 4),
    (5, 3, 2),
    (6, 6, 6),
    (7, 7, 7),
    (8, 8, 8),
)


@dataclass(frozen=True, slots=True)
class Path:
    """One way through the downsampling kernels."""

    method: str
    dtype: str
    path: str
    call: Callable[[], Any]
    voxels: int


def other_paths(size: int = 128, depth: int = 16) -> Iterator[Path]:
    """Every method and type with 2x2x2 first, then other factors, and cells that reach beyond.

    The volume is thin, so that calls are short and many: their minimum is what a kernel costs when
    nothing else happens.
    """
    for method in downsampling.METHODS:
        for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"):
            if method == "majority":
                base = workloads.supervoxels(size, "uint32", rough=True) % 127
                array = np.asfortranarray(base.astype(dtype))
            else:
                array = workloads.image(size, "uint8").astype(dtype)
            array = np.asfortranarray(array[:, :, :depth])
            for factors in ((2, 2, 2), *OTHER_FACTORS):
                yield _path(method, array, factors, written(factors), {})
            odd: dict[str, Any] = {"offset": (1, 1, 1)}
            yield _path(method, array, (2, 2, 2), "2x2x2, odd offset", odd)
            if method == "average":
                odd["outside_value"] = 0
                yield _path(method, array, (2, 2, 2), "2x2x2, odd offset, outside_value", odd)


def _path(
    method: str,
    array: np.ndarray[Any, Any],
    factors: tuple[int, int, int],
    name: str,
    options: dict[str, Any],
) -> Path:
    return Path(
        method,
        str(array.dtype),
        name,
        lambda: downsampling.downsample(array, factors, method=method, **options),
        array.size,
    )


def written(factors: tuple[int, ...]) -> str:
    return "x".join(map(str, factors))
