"""Write valid chunks, as the decoders' fuzzing harness takes them, into a folder."""

import sys
from pathlib import Path

import numpy as np

from ngcore import compressed_segmentation


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(200):
        shape = random.integers(1, 21, 4)
        shape[3] = random.integers(1, 4)
        is_wide, is_c, is_usual = (bool(flag) for flag in random.integers(0, 2, 3))
        block = [8, 8, 8] if is_usual else random.integers(1, 65, 3).tolist()
        top = random.choice([0, 1, 3, 15, 200, 2**31])
        labels = random.integers(0, top, shape, endpoint=True)
        chunk = compressed_segmentation.encode(
            labels.astype("uint64" if is_wide else "uint32"), block_size=block
        )
        header = [*(shape - 1), *(b - 1 for b in block), is_wide + 2 * is_c + 4 * is_usual]
        (folder / f"{number}").write_bytes(bytes(int(n) for n in header) + chunk)


main(Path(sys.argv[1]))
