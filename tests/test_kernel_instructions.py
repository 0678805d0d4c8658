"""Every set of instructions gives the same bytes: NGCORE_SIMD=baseline forces the plain one."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from ngcore import _downsample, _encode, compressed_segmentation
from ngcore.downsampling import METHODS, downsample

HERE = Path(__file__).parent

DIGEST_IN_BASELINE = """
import test_kernel_instructions as tests
print(tests._encode.INSTRUCTIONS, tests._downsample.INSTRUCTIONS, tests.digest_of_everything())
"""


def digest_of_everything() -> str:
    """Digest what the kernels make of few and many labels, whole and partial cells and blocks."""
    digest = hashlib.sha256()
    random = np.random.default_rng(0)
    for number in range(60):
        dtype = random.choice(["uint32", "uint64"])
        shape = random.integers(1, 40, 4)
        shape[3] = random.integers(1, 3)
        labels = random.integers(0, random.choice([1, 2, 4, 16, 17, 2**31]), shape).astype(dtype)
        labels = np.asarray(labels, order=random.choice(["C", "F"]))
        encoded = compressed_segmentation.encode(labels)
        digest.update(encoded)
        digest.update(compressed_segmentation.decode(encoded, labels.shape, dtype).tobytes())
        voxels = (labels % 250).astype(
            random.choice(["uint8", "int16", "uint16", "uint32", "int32", "uint64", "float32"])
        )
        factors = (2, 2, 1 + number % 2) if number % 3 else random.integers(1, 6, 3).tolist()
        for method in METHODS:
            digest.update(downsample(voxels, factors, method=method).tobytes())
    return digest.hexdigest()


def test_baseline_gives_the_same_bytes():
    environment = {
        **os.environ,
        "NGCORE_SIMD": "baseline",
        "PYTHONPATH": os.pathsep.join(
            [str(HERE), str(HERE / "support"), os.environ.get("PYTHONPATH", "")]
        ),
    }
    run = subprocess.run(
        [sys.executable, "-c", DIGEST_IN_BASELINE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["baseline", "baseline", digest_of_everything()]


def test_both_kernels_choose_the_same_instructions():
    assert _encode.INSTRUCTIONS == _downsample.INSTRUCTIONS
    assert _encode.INSTRUCTIONS in ("baseline", "avx2")
