"""A conversation with any model that tuneloop can find: a run, an exported folder, a base."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tuneloop.core.errors import ConfigError, ModelError
from tuneloop.core.seeds import derive_seed
from tuneloop.core.store import read_json
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, RowError
from tuneloop.deploy.adapter import BASE_FILE, load_adapter, merge
from tuneloop.deploy.contract import CONTRACT_FILE, read_contract
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine
from tuneloop.model.config import HardwareConfig, ModelConfig
from tuneloop.model.hardware import choose_hardware
from tuneloop.model.load import load_model
from tuneloop.model.source import cache_folder, environment, fetch_model, hash_model
from tuneloop.pipeline.folder import RunFolder
from tuneloop.tune.adapter import is_adapter_folder, load_adapters


@dataclass(frozen=True)
class Answer:
    """What the model said."""

    text: str
    tokens: int
    finished: bool
    """Whether it closed its turn within the limit."""


@dataclass
class Talk:
    """A conversation that remembers its turns."""

    engine: Engine
    renderer: Renderer
    description: str
    seed: int
    system: str | None
    turns: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begin_again()

    def begin_again(self) -> None:
        """Forget the turns."""
        self.turns = [Message("system", self.system)] if self.system else []

    def ask(self, question: str, *, show: Callable[[str], object] | None = None) -> Answer:
        """Put a question; `show` gets the answer's text piece by piece.

        Raises:
            ConfigError: the model's template refuses the conversation.
        """
        self.turns.append(Message("user", question))
        try:
            prompt = self.renderer.encode_prompt(self.turns)
        except RowError as error:
            self.turns.pop()
            raise ConfigError(str(error)) from error
        writer = _Writer(self.renderer, show or (lambda _: None))
        torch.manual_seed(derive_seed(self.seed, "chat", len(self.turns)))
        generated = self.engine.stream(prompt, show=writer.take)
        text = self.renderer.decode(generated.ids)
        writer.finish(text)
        self.turns.append(Message("assistant", text))
        return Answer(text, len(generated.ids), generated.finished)


@dataclass
class _Writer:
    """Hands out the text of growing ids; a character of several tokens comes once it is whole."""

    renderer: Renderer
    show: Callable[[str], object]
    ids: list[int] = field(default_factory=list)
    shown: str = ""

    def take(self, token_id: int) -> None:
        self.ids.append(token_id)
        text = self.renderer.decode(self.ids)
        if not text.endswith("\ufffd"):
            self.finish(text)

    def finish(self, text: str) -> None:
        self.show(text[len(self.shown) :])
        self.shown = text


def open_talk(source: str, *, max_new_tokens: int, temperature: float, seed: int, system: str | None) -> Talk:
    """Find and load a model by the path or name that a person gave.

    Raises:
        ModelError, ConfigError: there is no such model, or its run has nothing to talk with yet.
    """
    folder = Path(source)
    adapter: Path | None = None
    rounding = ModelConfig()
    if (folder / "recipe.yaml").exists():
        folder = _exported(RunFolder(folder))
    if (folder / "adapter_config.json").exists():
        adapter = folder
        folder = _base_of(adapter)
        rounding = _rounding_of(adapter)
    else:
        folder = fetch_model(str(folder) if folder.is_dir() else source, cache=cache_folder(environment()))
    model = load_model(folder, choose_hardware(HardwareConfig()), rounding)
    if adapter is not None:
        if is_adapter_folder(adapter):
            load_adapters(model, adapter)
            model.network.eval()
        else:
            load_adapter(model, adapter)
            if rounding.quantization is None:
                merge(model)
    described = adapter or folder
    renderer = read_contract(described) if (described / CONTRACT_FILE).exists() else load_renderer(folder)
    config = GenerateConfig(max_new_tokens=max_new_tokens, temperature=temperature)
    engine = Engine(model, renderer.contract.stop_ids, config)
    return Talk(engine, renderer, f"Talking with {source}", seed, system)


def _base_of(adapter: Path) -> Path:
    """The folder of the base that an adapter was trained on, its weights checked."""
    if not (adapter / BASE_FILE).exists():
        raise ModelError(f"{adapter}: does not say which base it belongs to. Talk with a merged folder.")
    base = read_json(adapter / BASE_FILE)
    folder = fetch_model(base["source"], cache=cache_folder(environment()))
    if hash_model(folder) != base["sha256"]:
        raise ModelError(f"{adapter}: its base {base['source']} has other weights than the one it was trained on.")
    return folder


def _rounding_of(adapter: Path) -> ModelConfig:
    """How the base's weights were quantised when the adapter learned: it speaks beside the same ones."""
    base = read_json(adapter / BASE_FILE)
    known = {name: base[name] for name in ("quantization", "double_quantization") if name in base}
    return ModelConfig.model_validate(known)


def _exported(run: RunFolder) -> Path:
    for kind in ("merged", "adapter"):
        if run.export(kind).exists():
            return run.export(kind)
    raise ConfigError(f"{run.path}: has no exported model yet. First: tuneloop export {run.path}")
