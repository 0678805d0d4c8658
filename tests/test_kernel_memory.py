"""The kernels copy no input and, with `out`, allocate nothing that grows with the chunk."""

import json
import subprocess
import sys

import pytest
from peak_memory import SCRIPT

MEASURE = """
import itertools
import json
import os

import numpy as np

from ngcore import compressed_segmentation as cseg
from ngcore.downsampling import METHODS, downsample

def growth(call):
    before = peak_bytes()
    call()
    return peak_bytes() - before

grown = {}
for order, name in itertools.product("CF", ["plain", "strided"]):
    labels = np.ones((256, 256, 256), np.uint32, order=order)  # 64 MiB
    labels[::3] = 2
    if name == "strided":
        labels = labels[::-1, 1:, 1:255]
    where = f"{name} {order}"
    for method in METHODS:
        out = downsample(labels[:64], method=method)  # its type and order
        out = np.zeros(tuple(-(-n // 2) for n in labels.shape), np.uint32, order=order)
        grown[f"{method} {where}"] = growth(lambda: downsample(labels, method=method, out=out))
    del out
    grown[f"encode {where}"] = growth(lambda: cseg.encode(labels, block_size=(64, 64, 64)))
    encoded = cseg.encode(labels, block_size=(64, 64, 64))
    grown[f"decode {where}"] = growth(
        lambda: cseg.decode(encoded, labels.shape, "uint32", block_size=(64, 64, 64), out=labels)
    )
    grown[f"size {where}"] = 0 * len(encoded)
print(json.dumps(grown))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak through these calls")
def test_no_input_is_copied_and_out_saves_the_output():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT + MEASURE], capture_output=True, text=True, check=True
    )
    grown = json.loads(run.stdout)
    assert len(grown) == 4 * 8
    # A copy would take 64 MiB, an output of downsampling 8, encoded labels less than 9.
    assert {name: size for name, size in grown.items() if size > 12 << 20} == {}
