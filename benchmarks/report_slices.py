"""`python -m benchmarks.report_slices [--planes N] [--memory SIZE]`: 2 GB of TIFF slices.

A folder of 1024 slices of 1024 x 1024 pixels of uint16 becomes every scale, sharded, gzip, by
`ngcore convert` and by tifffile feeding tensorstore, alternately, each as a whole process. Both
write the same scales, chunks and shards. The peak of resident memory is what the system says.

`--scripts BIN` takes neuroglancer-scripts instead of tensorstore, from the `bin` folder of an
environment of its own: with scikit-image from 0.25 on its reader of slices fails. Both then write
nested, gzipped chunk files. For so slow a peer take fewer slices: `--planes 256`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

BIN = Path(sys.executable).parent
PEER = Path(__file__).with_name("slices_with_tensorstore.py")
SIDE = 1024


def write_slices(folder: Path, planes: int, compression: str | None) -> None:
    """Write slices of a noisy ball of 12-bit values in an empty box, about as a scanned brain."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 25, (17, SIDE, SIDE)).astype(np.float32)
    across = np.linspace(-1, 1, SIDE, dtype=np.float32)
    for z in range(planes):
        radius = np.sqrt(across[:, None] ** 2 + across**2 + (2 * z / planes - 1) ** 2)
        signal = np.clip(1.0 - radius, 0, 1) * 3000
        signal += 200 * np.sin(40 * across) * (signal > 0)
        plane = np.where(signal > 50, np.clip(signal + noise[z % 17], 0, 4095), 0)
        tifffile.imwrite(
            folder / f"slice{z:04d}.tif", plane.astype(np.uint16), compression=compression
        )


def measure(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and the peak of its resident memory in bytes."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read().decode()[-2000:]}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_scripts(scripts: Path, slices: Path, dest: Path, planes: int) -> tuple[float, int]:
    """Run the classic chain of neuroglancer-scripts; return what `measure` does, of all steps."""
    dest.mkdir()
    scale = {"size": [SIDE, SIDE, planes], "resolution": [1000] * 3, "voxel_offset": [0, 0, 0]}
    full = {"type": "image", "data_type": "uint16", "num_channels": 1, "scales": [scale]}
    (dest / "info_fullres.json").write_text(json.dumps(full))
    steps = [
        ["generate-scales-info", str(dest / "info_fullres.json"), str(dest)],
        ["slices-to-precomputed", "--input-orientation", "RAS", str(slices), str(dest)],
        ["compute-scales", str(dest)],
    ]
    taken = [measure([str(scripts / step[0]), *step[1:]]) for step in steps]
    return sum(seconds for seconds, _ in taken), max(peak for _, peak in taken)


def assert_same(ours: Path, theirs: Path) -> None:
    """Compare finest and coarsest scale; mean rounds halves differently, by 1."""
    import ngcore

    mine, other = ngcore.open(ours), ngcore.open(theirs)
    middle = mine.scales[0].shape[2] // 2
    if (mine.scales[0][:, :, middle] != other.scales[0][:, :, middle]).any():
        raise SystemExit("the volumes differ")
    last = min(len(mine.scales), len(other.scales)) - 1
    coarse = [volume.scales[last][...].astype(int) for volume in (mine, other)]
    if abs(coarse[0] - coarse[1]).max() > last + 1:
        raise SystemExit("the coarsest scales differ")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planes", type=int, default=1024, help="slices of 2 MiB each")
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compression", choices=["zlib", "lzw"], help="of the slices")
    parser.add_argument("--scripts", type=Path, metavar="BIN", help="of neuroglancer-scripts")
    parser.add_argument("--folder", type=Path, help="where to put some 6 GB; kept if given")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    slices, ours, peers = folder / "slices", folder / "ours", folder / "theirs"
    try:
        if not slices.exists():
            slices.mkdir(parents=True)
            write_slices(slices, asked.planes, asked.compression)
        convert = [str(BIN / "ngcore"), "convert", str(slices), str(ours), "--no-fsync"]
        convert += ["--resolution", "1000,1000,1000", "--memory", asked.memory]
        if asked.scripts:
            convert += ["--no-sharding", "--layout", "nested", "--gzip"]
        peer = [sys.executable, str(PEER), str(slices), str(peers), str(folder / "info")]
        taken: list[tuple[float, int, float, int]] = []
        for _ in range(asked.rounds):
            shutil.rmtree(ours, ignore_errors=True)
            shutil.rmtree(peers, ignore_errors=True)
            own = measure(convert)
            shutil.copy(ours / "info", folder / "info")
            if asked.scripts:
                taken.append((*own, *run_scripts(asked.scripts, slices, peers, asked.planes)))
            else:
                taken.append((*own, *measure(peer)))
        assert_same(ours, peers)
        scales = len(json.loads((ours / "info").read_text())["scales"])
    finally:
        if asked.folder is None:
            shutil.rmtree(folder)
    mine, my_peaks, theirs, their_peaks = zip(*taken, strict=True)
    seconds, peer_seconds = statistics.median(mine), statistics.median(theirs)
    megabytes = asked.planes * SIDE * SIDE * 2 / 1e6
    print(f"{megabytes:.0f} MB of TIFF slices, compression {asked.compression}: {scales} scales,")
    layout = "nested files" if asked.scripts else "sharded"
    print(f"{layout}, gzip, {os.cpu_count()} cores, median of {asked.rounds}.\n")
    print("| | seconds | MB/s | peak resident memory, MiB |")
    print("|---|---|---|---|")
    for name, took, most in (
        (f"ngcore convert --memory {asked.memory}", seconds, max(my_peaks)),
        (
            "neuroglancer-scripts" if asked.scripts else "tifffile, tensorstore",
            peer_seconds,
            max(their_peaks),
        ),
    ):
        print(f"| {name} | {took:.1f} | {megabytes / took:.0f} | {most / 2**20:.0f} |")
    print(f"\n**{peer_seconds / seconds:.1f} times as fast** (asked: 5).")


if __name__ == "__main__":
    main()
