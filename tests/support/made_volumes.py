import damage
import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return where a volume lies, made when first asked for; whoever changes it copies it."""
    folder = tmp_path_factory.mktemp("made")

    def make(name, seed=0):
        path = folder / str(seed) / name
        if not path.exists():
            damage.make_volume(path, name, seed)
        return path

    return make


@pytest.fixture
def sharded(made, tmp_path):
    return damage.copy(made("sharded"), tmp_path / "volume")


@pytest.fixture
def files(made, tmp_path):
    return damage.copy(made("files"), tmp_path / "volume")


@pytest.fixture
def labels(made, tmp_path):
    return damage.copy(made("files of labels"), tmp_path / "volume")
