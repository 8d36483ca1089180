"""Bottleneck adapters: small layers inside the blocks of any decoder, named, switched, saved and loaded."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tuneloop.core.config import Config
from tuneloop.core.errors import ConfigError, DataError, IntegrityError
from tuneloop.core.seeds import derive_seed
from tuneloop.core.store import read_json, write_file, write_json
from tuneloop.model.backbone import CausalModel
from tuneloop.model.blocks import blocks_of
from tuneloop.tune.bottleneck import Activation, Bottleneck, Slot, close_slot, open_slot, slot_of
from tuneloop.tune.config import AdapterConfig

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapters.safetensors"

_LAYERS = {
    "attention": ("self_attn", "attn", "attention", "self_attention", "linear_attn"),
    # Blocks of OPT's kind have no module for the feed-forward: its last layer is `fc2`. Shared experts beside a
    # router stand here so that a block with both is refused: neither alone is the feed-forward's output.
    "feed_forward": ("mlp", "feed_forward", "block_sparse_moe", "ffn", "fc2", "shared_mlp", "residual_mlp"),
}
"""What transformers' blocks call their two parts."""

_PLACES = {"houlsby": ("attention", "feed_forward"), "pfeiffer": ("feed_forward",)}


class AdapterLayout(Config):
    """Where the layers of one adapter sit, and what they compute: all but the numbers."""

    tuneloop_adapter: Literal[1] = 1
    """Version of the folder's layout."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    style: Literal["houlsby", "pfeiffer"]
    hidden_size: int = Field(gt=0)
    bottleneck: int = Field(gt=0)
    activation: Activation
    dropout: float = Field(ge=0, lt=1)
    scale: float = Field(gt=0)
    blocks: tuple[int, ...] = Field(min_length=1)
    """Counted from 0."""


@dataclass(frozen=True)
class _Site:
    """A layer of the network that an adapter's layer follows."""

    block: int
    place: str
    layer: nn.Module

    @property
    def name(self) -> str:
        """In saved folders: the same for every architecture."""
        return f"blocks.{self.block}.{self.place}"


def add_adapters(model: CausalModel, config: AdapterConfig, *, seed: int) -> str:
    """Put a silent adapter into the chosen blocks, and let it alone move; return a description for people.

    Called again with another name it adds another adapter, which is then the active one.

    Raises:
        ConfigError: the name is taken, there are fewer blocks than asked for, or a block's parts are not known.
    """
    num_blocks = len(blocks_of(model))
    if config.trainable_blocks is not None and config.trainable_blocks > num_blocks:
        raise ConfigError(f"tune.trainable_blocks: the model has {num_blocks} blocks, not {config.trainable_blocks}.")
    first = 0 if config.trainable_blocks is None else num_blocks - config.trainable_blocks
    hidden_size = model.base.config.get_text_config().hidden_size
    layout = AdapterLayout(
        name=config.name,
        style=config.style,
        hidden_size=hidden_size,
        bottleneck=config.bottleneck or max(1, int(hidden_size / config.reduction_factor)),
        activation=config.activation,
        dropout=config.dropout,
        scale=config.scale,
        blocks=tuple(range(first, num_blocks)),
    )
    for site, adapter in _insert(model, layout, where="tune.name"):
        adapter.begin(derive_seed(seed, "adapter", config.name, site.name))
    model.network.requires_grad_(requires_grad=False)
    set_active(model, config.name)
    where = f" in blocks {first} to {num_blocks - 1}" if first else ""
    return f"{config.style.capitalize()} adapter '{config.name}' of {layout.bottleneck} in {hidden_size}{where}"


def set_active(model: CausalModel, name: str | None) -> None:
    """Let one adapter speak, the others neither speak nor move; None: the base alone.

    Raises:
        ConfigError: there is no adapter of that name.
    """
    names = adapter_names(model)
    if name is not None and name not in names:
        raise ConfigError(f"The model has no adapter '{name}', only: {', '.join(names) or 'none'}.")
    for slot in _slots(model):
        slot.active = name
        for other, adapter in slot.items():
            adapter.requires_grad_(requires_grad=other == name)


def active_adapter(model: CausalModel) -> str | None:
    """The name of the adapter that speaks."""
    return next((slot.active for slot in _slots(model)), None)


def adapter_names(model: CausalModel) -> tuple[str, ...]:
    """Names of all adapters, in the order in which blocks meet them."""
    return tuple(dict.fromkeys(name for slot in _slots(model) for name in slot))


def has_adapters(model: CausalModel) -> bool:
    """Whether there are bottleneck adapters in the model."""
    return any(True for _ in _slots(model))


def remove_adapters(model: CausalModel) -> None:
    """Take all adapters out: the model is what it was before."""
    for layer in list(model.base.modules()):
        close_slot(layer)


def is_adapter_folder(folder: Path) -> bool:
    """Whether a folder holds a bottleneck adapter rather than one of peft's."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return False
    values = read_json(path)
    return isinstance(values, dict) and "tuneloop_adapter" in values


def save_adapters(model: CausalModel, folder: Path, *, name: str | None = None) -> None:
    """Write one adapter, by default the active one, as JSON and safetensors.

    Raises:
        ConfigError: the model has no such adapter, or none is active.
    """
    name = name or active_adapter(model)
    if name is None or name not in adapter_names(model):
        raise ConfigError(f"The model has no adapter to save: {name or 'none is active'}.")
    layers = {site.name: (site, slot[name]) for site, slot in _filled_sites(model) if name in slot}
    one = next(iter(layers.values()))[1]
    assert isinstance(one, Bottleneck)
    layout = AdapterLayout(
        name=name,
        style="houlsby" if any(site.place == "attention" for site, _ in layers.values()) else "pfeiffer",
        hidden_size=one.down.in_features,
        bottleneck=one.down.out_features,
        activation=one.activation,
        dropout=one.dropout.p,
        scale=one.scale,
        blocks=tuple(sorted({site.block for site, _ in layers.values()})),
    )
    tensors = {
        f"{site}.{parameter_name}": parameter.detach().cpu().contiguous()
        for site, (_, adapter) in layers.items()
        for parameter_name, parameter in adapter.named_parameters()
    }
    write_json(folder / CONFIG_FILE, layout.model_dump(mode="json"))
    write_file(folder / WEIGHTS_FILE, lambda part: save_file(tensors, part, metadata={"format": "pt"}))


def load_adapters(model: CausalModel, folder: Path, *, name: str | None = None) -> None:
    """Put a saved adapter into its base and make it the active one, under its own or another name.

    Other keys of the JSON, such as the hash of the base, are left alone.

    Raises:
        ConfigError: it is damaged or does not fit the model, which is then as it was.
    """
    layout = _read_layout(folder, name)
    sites = _sites(model, layout, where=str(folder))
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{folder / WEIGHTS_FILE}: not readable: {str(error).splitlines()[0]}.") from error
    _check_tensors(tensors, layout, sites, where=folder / WEIGHTS_FILE)
    for site, adapter in _insert(model, layout, where=str(folder)):
        for parameter_name, parameter in adapter.named_parameters():
            parameter.data.copy_(tensors[f"{site.name}.{parameter_name}"])
    set_active(model, layout.name)


def _read_layout(folder: Path, name: str | None) -> AdapterLayout:
    path = folder / CONFIG_FILE
    try:
        values: Any = read_json(path)
    except (DataError, IntegrityError) as error:
        raise ConfigError(str(error)) from error
    if not isinstance(values, dict) or "tuneloop_adapter" not in values:
        raise ConfigError(f"{path}: describes no bottleneck adapter: it has no key 'tuneloop_adapter'.")
    known = {key: value for key, value in values.items() if key in AdapterLayout.model_fields}
    try:
        return AdapterLayout.model_validate(known | ({"name": name} if name else {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def _check_tensors(tensors: dict[str, Tensor], layout: AdapterLayout, sites: list[_Site], *, where: Path) -> None:
    down, up = (layout.bottleneck, layout.hidden_size), (layout.hidden_size, layout.bottleneck)
    shapes = {"down.weight": down, "down.bias": down[:1], "up.weight": up, "up.bias": up[:1]}
    wanted = {f"{site.name}.{name}": shape for site in sites for name, shape in shapes.items()}
    complaints = [
        *(f"it lacks {name}" for name in wanted if name not in tensors),
        *(f"{name} belongs nowhere" for name in tensors if name not in wanted),
        *(
            f"{name} is {list(tensors[name].shape)}, not {list(shape)}"
            for name, shape in wanted.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ),
    ]
    if complaints:
        more = f" ({len(complaints)} complaints in all)" if len(complaints) > 3 else ""  # noqa: PLR2004 - enough to see
        raise ConfigError(f"{where}: does not fit its {CONFIG_FILE}: {'; '.join(complaints[:3])}{more}.")


def _insert(model: CausalModel, layout: AdapterLayout, *, where: str) -> list[tuple[_Site, Bottleneck]]:
    """Check everything, then make the layers; they are neither begun nor loaded yet."""
    if layout.name in adapter_names(model):
        raise ConfigError(f"{where}: the model has an adapter '{layout.name}' already. Choose another name.")
    if hasattr(Slot(), layout.name):
        raise ConfigError(f"{where}: '{layout.name}' is a word of torch's own. Choose another name.")
    made = []
    for site in _sites(model, layout, where=where):
        adapter = Bottleneck(
            layout.hidden_size,
            layout.bottleneck,
            activation=layout.activation,
            dropout=layout.dropout,
            scale=layout.scale,
        ).to(model.device)
        adapter.train(site.layer.training)
        open_slot(site.layer)[layout.name] = adapter
        made.append((site, adapter))
    return made


def _sites(model: CausalModel, layout: AdapterLayout, *, where: str) -> list[_Site]:
    blocks = blocks_of(model)
    hidden_size = model.base.config.get_text_config().hidden_size
    if layout.hidden_size != hidden_size:
        raise ConfigError(f"{where}: made for a hidden size of {layout.hidden_size}; the model's is {hidden_size}.")
    if not 0 <= min(layout.blocks) <= max(layout.blocks) < len(blocks):
        raise ConfigError(f"{where}: sits in blocks up to {max(layout.blocks)}; the model has {len(blocks)} blocks.")
    return [_Site(i, place, _part(blocks[i], place)) for i in layout.blocks for place in _PLACES[layout.style]]


def _part(block: nn.Module, place: str) -> nn.Module:
    """The block's attention or feed-forward, whose output is then added to the residual."""
    children = dict(block.named_children())
    found = [name for name in _LAYERS[place] if name in children]
    kind = type(block).__name__
    if len(found) != 1:
        what = f"has several ({', '.join(found)})" if found else "calls it by a name that is not known here"
        raise ConfigError(f"tune: where the {place.replace('_', '-')} of {kind} ends is not known: it {what}. {_HINT}")
    part = children[found[0]]
    if "residual" in inspect.signature(type(part).forward).parameters:
        # Bloom and MPT: behind the layer is already behind the sum.
        raise ConfigError(f"tune: {kind} adds the residual inside {found[0]}, where no adapter can come first. {_HINT}")
    return part


_HINT = "Use tune.kind: lora."


def _slots(model: CausalModel) -> Iterator[Slot]:
    return (module for module in model.base.modules() if isinstance(module, Slot))


def _filled_sites(model: CausalModel) -> Iterator[tuple[_Site, Slot]]:
    for i, block in enumerate(blocks_of(model)):
        for place, names in _LAYERS.items():
            for name in names:
                layer = getattr(block, name, None)
                slot = slot_of(layer) if isinstance(layer, nn.Module) else None
                if layer is not None and slot is not None:
                    yield _Site(i, place, layer), slot
