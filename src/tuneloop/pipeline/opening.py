"""Any model that a person can name, with its prompt contract: a run, an exported folder, an adapter, a base."""

from dataclasses import dataclass
from pathlib import Path

from tuneloop.core.config import load_source, parse_config
from tuneloop.core.errors import ConfigError, ModelError
from tuneloop.core.store import hash_file, hash_json, read_json
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.deploy.adapter import BASE_FILE, load_adapter, merge
from tuneloop.deploy.contract import CONTRACT_FILE, read_contract
from tuneloop.generate.chat import ChatParameters
from tuneloop.generate.endpoint_config import EndpointConfig
from tuneloop.model.backbone import CausalModel
from tuneloop.model.config import HardwareConfig, ModelConfig
from tuneloop.model.hardware import choose_hardware
from tuneloop.model.load import load_model
from tuneloop.model.source import cache_folder, environment, fetch_model, hash_model
from tuneloop.pipeline.folder import RunFolder
from tuneloop.tune.adapter import is_adapter_folder, load_adapters

_ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class NamedModel:
    """Where a model lies; nothing of it is loaded yet."""

    source: str
    """As it was named."""
    weights: Path
    """The folder of the base, or of the whole model."""
    adapter: Path | None
    rounding: ModelConfig
    """How the base's weights were quantised when the adapter learned."""
    renderer: Renderer
    warnings: tuple[str, ...]
    """What may make its prompts differ from those of its training."""

    def sha256(self) -> str:
        """Over the weights, the adapter, and how the base is rounded."""
        weights = hash_model(self.weights)
        if self.adapter is None:
            return weights
        parts = {path.name: hash_file(path) for path in sorted(self.adapter.glob("*.safetensors"))}
        config = hash_file(self.adapter / _ADAPTER_CONFIG)
        return hash_json([weights, parts, config, self.rounding.model_dump(mode="json")])

    def load(self, hardware: HardwareConfig | None = None) -> CausalModel:
        """The model in memory; LoRA is merged, which gives the same answers faster."""
        model = load_model(self.weights, choose_hardware(hardware or HardwareConfig()), self.rounding)
        if self.adapter is None:
            return model
        if is_adapter_folder(self.adapter):
            load_adapters(model, self.adapter)
            model.network.eval()
        else:
            load_adapter(model, self.adapter)
            if self.rounding.quantization is None:
                merge(model)
        return model


@dataclass(frozen=True)
class OpenedModel:
    """A model that can answer."""

    model: CausalModel
    renderer: Renderer


def open_model(source: str) -> OpenedModel:
    """Find and load a model by the path or name that a person gave.

    Raises:
        ModelError, ConfigError: there is no such model, or its run has no exported model yet.
    """
    named = find_model(source)
    return OpenedModel(named.load(), named.renderer)


def find_model(source: str, *, template: str | None = None) -> NamedModel:
    """Find a model by path or name; `template` renders prompts by another chat template than its own.

    Raises:
        ModelError, ConfigError: there is no such model, or its run has no exported model yet.
    """
    folder = Path(source)
    adapter: Path | None = None
    rounding = ModelConfig()
    if (folder / "recipe.yaml").exists():
        folder = _exported(RunFolder(folder))
    if (folder / _ADAPTER_CONFIG).exists():
        adapter = folder
        folder = _base_of(adapter)
        rounding = _rounding_of(adapter)
    else:
        folder = fetch_model(str(folder) if folder.is_dir() else source, cache=cache_folder(environment()))
    described = adapter or folder
    renderer, warnings = _renderer_of(described, folder, template)
    return NamedModel(source, folder, adapter, rounding, renderer, warnings)


def find_endpoint(
    name: str, *, model: str | None, api_key_env: str | None, parameters: ChatParameters | None = None
) -> EndpointConfig | None:
    """The endpoint that a name means, a URL or a YAML file that describes one; None where it means a model here.

    Args:
        name: what a person gave.
        model: of a URL: the name that it is asked for.
        api_key_env: of a URL: the environment variable that holds the key.
        parameters: of a URL: how it is asked; None is the usual.

    Raises:
        ConfigError: a URL without a model; a file that is not as described.
    """
    if name.startswith(("http://", "https://")):
        if model is None:
            raise ConfigError(f"{name}: an endpoint needs --model: the name that it is asked for.")
        asked = parameters or ChatParameters()
        return EndpointConfig(base_url=name, model=model, api_key_env=api_key_env, parameters=asked)
    if name.endswith((".yaml", ".yml")):
        return parse_config(EndpointConfig, load_source(Path(name)))
    return None


def file_name(name: str) -> str:
    """A model's name as part of a path: without what a file name cannot hold; "" where nothing is left."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name.rstrip("/"))
    return kept.strip("-.")[-80:]


def _renderer_of(described: Path, weights: Path, template: str | None) -> tuple[Renderer, tuple[str, ...]]:
    """How prompts are rendered, and what is to be said about it."""
    trained = read_contract(described) if (described / CONTRACT_FILE).exists() else None
    if template is not None:
        chosen = load_renderer(weights, template=template)
        if trained is not None and chosen.contract.template != trained.contract.template:
            warning = (
                f"prompts are rendered by template '{template}', but the model was trained with "
                f"'{trained.contract.template_name}': its answers may be worse than they could be."
            )
            return chosen, (warning,)
        return chosen, ()
    if trained is None:
        if described != weights:
            return load_renderer(weights), (
                f"{described} does not say which chat template it was trained with; that of its base is used.",
            )
        return load_renderer(weights), ()
    beside = described / "chat_template.jinja"
    if beside.exists() and beside.read_text(encoding="utf-8") != trained.contract.template:
        warning = (
            f"{beside} was changed after training. The template of the training is used here; a server would use the "
            "other."
        )
        return trained, (warning,)
    return trained, ()


def _base_of(adapter: Path) -> Path:
    """The folder of the base that an adapter was trained on; where its hash is known, the weights are checked."""
    cache = cache_folder(environment())
    if not (adapter / BASE_FILE).exists():
        named = read_json(adapter / _ADAPTER_CONFIG).get("base_model_name_or_path")
        if not named:
            raise ModelError(f"{adapter}: does not say which base it belongs to. Name a merged folder.")
        return fetch_model(named if Path(named).is_dir() else f"hf:{named}", cache=cache)
    base = read_json(adapter / BASE_FILE)
    folder = fetch_model(base["source"], cache=cache)
    if hash_model(folder) != base["sha256"]:
        raise ModelError(f"{adapter}: its base {base['source']} has other weights than the one it was trained on.")
    return folder


def _rounding_of(adapter: Path) -> ModelConfig:
    """How the base's weights were quantised when the adapter learned: it speaks beside the same ones."""
    if not (adapter / BASE_FILE).exists():
        return ModelConfig()
    base = read_json(adapter / BASE_FILE)
    known = {name: base[name] for name in ("quantization", "double_quantization") if name in base}
    return ModelConfig.model_validate(known)


def _exported(run: RunFolder) -> Path:
    for kind in ("merged", "adapter"):
        if run.export(kind).exists():
            return run.export(kind)
    raise ConfigError(f"{run.path}: has no exported model yet. First: tuneloop export {run.path}")
