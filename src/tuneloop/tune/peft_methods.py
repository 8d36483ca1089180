"""OFT, VeRA and IA3 through peft: the layers, the file layout and the merge are peft's."""

from collections.abc import Iterable
from typing import Any

from tuneloop.core.errors import ConfigError
from tuneloop.core.seeds import derive_seed
from tuneloop.model.backbone import CausalModel
from tuneloop.tune.config import Ia3Config, OftConfig, VeraConfig
from tuneloop.tune.places import Places, choose_layers, ends_in, find_places, last_name, sizes_of, wrap

_KEYS_AND_VALUES = ("k_proj", "v_proj", "c_attn", "query_key_value", "qkv_proj", "Wqkv")
"""What transformers' blocks call the layers that make keys and values; some make queries along with them."""

_FEED_FORWARD = ("down_proj", "mlp.c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2")
"""What they call the last layer of a feed-forward, whose input is the inner activation."""


def add_oft(model: CausalModel, config: OftConfig) -> str:
    """Put turns, all zero, before the chosen layers; return a description for people.

    Raises:
        ConfigError: a target matches nothing, or the blocks do not divide a layer's input.
    """
    import peft

    places = find_places(model, config)
    if places.is_transposed:
        raise ConfigError("tune.kind: peft's OFT does not know layers that lie as GPT-2's do. Choose lora.")
    _check_block_size(config, places)
    wrap(
        model,
        peft.OFTConfig(
            task_type="CAUSAL_LM",
            oft_block_size=config.block_size,
            use_cayley_neumann=config.use_cayley_neumann,
            target_modules=places.targets,
            **places.which_blocks,
        ),
    )
    return f"OFT with blocks of {config.block_size}, {places.described()}"


def _check_block_size(config: OftConfig, places: Places) -> None:
    sizes = {sizes_of(layer)[0]: name for name, layer in places.layers.items()}
    wrong = [(name, size) for size, name in sizes.items() if size % config.block_size]
    if wrong:
        name, size = wrong[0]
        # peft would take another size for this layer alone, and only warn.
        fitting = next(
            block for block in range(config.block_size, 0, -1) if all(number % block == 0 for number in sizes)
        )
        hint = f"Take {fitting}, which divides all." if fitting > 1 else "No smaller one divides all chosen layers."
        raise ConfigError(
            f"tune.block_size: {config.block_size} does not divide the input size {size} of {name}. {hint}"
        )


def add_vera(model: CausalModel, config: VeraConfig, *, seed: int) -> str:
    """Put shared random projections beside the chosen layers; return a description for people.

    The vector behind them starts at zero, so the model answers as before. The projections follow from the seed, and
    an exported adapter holds them.

    Raises:
        ConfigError: a target matches nothing.
    """
    import peft

    places = find_places(model, config)
    wrap(
        model,
        peft.VeraConfig(
            task_type="CAUSAL_LM",
            r=config.rank,
            d_initial=config.d_initial,
            vera_dropout=config.dropout,
            projection_prng_key=derive_seed(seed, "vera"),
            save_projection=True,
            target_modules=places.targets,
            fan_in_fan_out=places.is_transposed,
            **places.which_blocks,
        ),
    )
    return f"VeRA rank {config.rank}, {places.described()}"


def add_ia3(model: CausalModel, config: Ia3Config) -> str:
    """Put factors, all one, behind keys and values and before the last layers of feed-forwards.

    Raises:
        ConfigError: a target matches nothing, or the layers to scale are not known.
    """
    import peft

    places = find_places(model, config)
    if isinstance(config.targets, str):
        outputs = _known(places.layers, _KEYS_AND_VALUES)
        inputs = _known(places.layers, config.feed_forward or _FEED_FORWARD)
        if not outputs or not inputs:
            missing = "a feed-forward's last layer" if outputs else "keys and values"
            names = ", ".join(sorted({last_name(name) for name in places.layers}))
            raise ConfigError(f"tune.targets: {missing} cannot be told among {names}. Name targets and feed_forward.")
        chosen = outputs | inputs
    else:
        chosen = places.layers
        inputs = _known(chosen, config.feed_forward if config.feed_forward is not None else _FEED_FORWARD)
    if config.feed_forward:
        choose_layers(chosen, config.feed_forward, where="tune.feed_forward")
    wrap(
        model,
        peft.IA3Config(
            task_type="CAUSAL_LM",
            # peft's IA3 knows no choice of blocks: full names are one.
            target_modules=sorted(chosen),
            feedforward_modules=sorted(inputs),
            fan_in_fan_out=places.is_transposed,
        ),
    )
    inner = {last_name(name) for name in inputs}
    outer = {last_name(name) for name in chosen.keys() - inputs.keys()}
    parts = [
        f"on {what} of {', '.join(sorted(names))}" for what, names in (("outputs", outer), ("inputs", inner)) if names
    ]
    return f"IA3 {' and '.join(parts)}{places.blocks}"


def _known(layers: dict[str, Any], ends: Iterable[str]) -> dict[str, Any]:
    ends = tuple(ends)
    return {name: layer for name, layer in layers.items() if any(ends_in(name, end) for end in ends)}
