"""Fuzz one target with Atheris (libFuzzer for Python): `run_target.py TARGET [OPTION...]`.

Options are libFuzzer's, such as ``-max_total_time=600`` and a folder that keeps what was found
worth keeping. A crash, an error that is not ours, a hang of ten seconds, and memory over 1 GiB are
findings: the input is written to ``crash-...``, and ``run_target.py TARGET FILE`` runs it again.
"""

import random
import sys
import sysconfig
import tempfile
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "support")]
_LINKS = tempfile.TemporaryDirectory()


def _undo_editable_install() -> None:
    """Lay an editable install out as a plain package: Atheris instruments no others."""
    for finder in [found for found in sys.meta_path if hasattr(found, "known_source_files")]:
        sys.meta_path.remove(finder)
        package = Path(_LINKS.name, "ngcore")
        package.mkdir()
        source = Path(finder.known_source_files["ngcore"]).parent
        kernels = Path(sysconfig.get_path("platlib"), "ngcore").glob("*.so")
        for path in (*source.iterdir(), *kernels):
            (package / path.name).symlink_to(path)
    sys.path.insert(0, _LINKS.name)


_undo_editable_install()
_OTHERS = {"meshes": ["nibabel.gifti"], "tiff": ["tifffile"]}
"""Packages beside ngcore that are worth their instrumentation, which takes a while."""

with atheris.instrument_imports(include=["ngcore", *_OTHERS.get(sys.argv[1], [])]):
    import logging
    import warnings

    from fuzz.mutation import mutated_json
    from fuzz.targets import TARGETS, is_sound, work_folder

_MOST_MEMORY = 3 << 30
"""Address space: what asks for more gets a MemoryError, which is a finding."""


def main() -> None:
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    except ImportError:
        pass
    with work_folder() as folder, tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        defaults = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=20000", "-print_final_stats=1"]
        arguments = [sys.argv[0], *defaults, *options]
        is_rerun = any(Path(option).is_file() for option in options)
        atheris.Setup(
            arguments if is_rerun else [*arguments, corpus],
            lambda data: is_sound(target, data, folder) and None,
            **({"custom_mutator": _mutate_json} if target.is_json else {}),
        )
        atheris.Fuzz()


def _mutate_json(data: bytes, max_size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    changed = mutated_json(data, rng) if rng.random() < 0.8 else None
    if changed is None or len(changed) > max_size:
        return atheris.Mutate(data, max_size)
    return changed


if __name__ == "__main__":
    main()
