"""LoRA and its relatives through peft: the layers, the file layout and the merge are peft's."""

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tuneloop.core.errors import ConfigError
from tuneloop.core.seeds import derive_seed
from tuneloop.model.backbone import CausalModel
from tuneloop.tune.config import LoraConfig
from tuneloop.tune.places import Places, find_places, sizes_of, wrap

_SPLIT = {"pissa", "olora"}
"""Ways to begin that move a part of the weight into the correction."""

_START = "correction_at_start"
"""Attribute of the network: A and B as they were cut out of the weights."""


def add_lora(model: CausalModel, config: LoraConfig, *, seed: int) -> str:
    """Put silent corrections beside the chosen layers; return a description for people.

    The model answers as before until the first step: B starts at zero, or B A is what was taken out of the weight.
    The same model, settings and seed give the same weights again.

    Raises:
        ConfigError: a target or a pattern matches nothing, a rank does not fit a layer, or there are fewer blocks
            than asked for.
    """
    places = find_places(model, config)
    ranks = _values(config.rank_pattern, places, config.rank, where="tune.rank_pattern")
    _values(config.alpha_pattern, places, config.alpha, where="tune.alpha_pattern")
    if config.init in _SPLIT:
        _check_split(config, places, ranks)
    torch.manual_seed(derive_seed(seed, "lora"))
    wrap(model, _peft_config(config, places))
    if config.init in _SPLIT:
        _remember_start(model)
    return _describe(config, places)


def lora_rates(config: LoraConfig, names: Mapping[str, Tensor]) -> dict[str, float]:
    """LoRA+: name -> factor on the learning rate, for B and, as peft has it, for vectors such as DoRA's magnitudes."""
    if config.loraplus_lr_ratio is None:
        return {}
    return {name: config.loraplus_lr_ratio for name, value in names.items() if "lora_B" in name or value.dim() == 1}


def as_plain_lora(
    network: Any, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A saved adapter's tensors and settings, in the form that fits the whole base.

    Where training began by taking B0 A0 out of the weights, W + (B A - B0 A0) is W + [B, -B0] [A; A0]: a plain
    correction of twice the rank (Meng et al. 2024, appendix; arXiv:2404.02948). Alpha grows so that the scale stays.
    Anything else is given back as it is.
    """
    start: dict[str, Tensor] | None = getattr(network, _START, None)
    if start is None:
        return dict(tensors), dict(values)
    plain = {}
    for name, tensor in tensors.items():
        if name in start:
            is_up = "lora_B" in name
            old = start[name].to(tensor.device, tensor.dtype)
            plain[name] = torch.cat([tensor, -old if is_up else old], dim=1 if is_up else 0).contiguous()
        else:
            plain[name] = tensor
    factor = math.sqrt(2) if values["use_rslora"] else 2
    return plain, dict(values) | {
        "init_lora_weights": True,
        "r": 2 * values["r"],
        "lora_alpha": factor * values["lora_alpha"],
        "rank_pattern": {key: 2 * rank for key, rank in values["rank_pattern"].items()},
        "alpha_pattern": {key: factor * alpha for key, alpha in values["alpha_pattern"].items()},
    }


def _remember_start(model: CausalModel) -> None:
    """Keep A and B as they begin: they are as small as the adapter itself, and the export needs them."""
    start = {
        name.replace(".default.", "."): parameter.detach().to("cpu", copy=True)
        for name, parameter in model.network.named_parameters()
        if not parameter.is_meta and ("lora_A" in name or "lora_B" in name)
    }
    setattr(model.network, _START, start)


def _peft_config(config: LoraConfig, places: Places) -> Any:
    import peft

    with warnings.catch_warnings():
        # Of rank-stabilised scaling with patterns peft says that it cannot make plain LoRA of it; `as_plain_lora` can.
        warnings.filterwarnings("ignore", message="Using Rank-Stabilized LoRA with rank_pattern")
        return peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.rank,
            lora_alpha=config.alpha,  # type: ignore[arg-type] - peft takes fractions, its annotation does not
            lora_dropout=config.dropout,
            target_modules=places.targets,
            rank_pattern=dict(config.rank_pattern),
            alpha_pattern=dict(config.alpha_pattern),
            use_rslora=config.use_rslora,
            use_dora=config.use_dora,
            init_lora_weights=_peft_init(config, places),
            fan_in_fan_out=places.is_transposed,
            **places.which_blocks,
        )


def _peft_init(config: LoraConfig, places: Places) -> Any:
    has_weights = not any(layer.weight.is_meta for layer in places.layers.values())
    match config.init:
        case "pissa" | "olora" if not has_weights:
            # There is nothing to take apart; the shapes are the same.
            return True
        case "default":
            return True
        case "pissa" if config.pissa_iterations:
            return f"pissa_niter_{config.pissa_iterations}"
        case init:
            return init


def _values(pattern: Mapping[str, float], places: Places, default: float, *, where: str) -> dict[str, float]:
    """Layer -> its rank or alpha.

    Raises:
        ConfigError: a key is no regular expression, matches nothing, or two keys with different values match one
            layer, where the order of a mapping would decide.
    """
    matchers = {key: _matcher(key, where) for key in pattern}
    found: dict[str, float] = {}
    unused = dict.fromkeys(pattern)
    for name in places.layers:
        keys = [key for key, matcher in matchers.items() if matcher.match(name)]
        if len({pattern[key] for key in keys}) > 1:
            raise ConfigError(f"{where}: {_quoted(keys)} all match {name}. Make them narrower, so that one does.")
        found[name] = pattern[keys[0]] if keys else default
        for key in keys:
            unused.pop(key, None)
    if unused:
        raise ConfigError(f"{where}: {_quoted(unused)} matches none of the {len(places.layers)} corrected layers.")
    return found


def _matcher(key: str, where: str) -> re.Pattern[str]:
    """Peft's rule for keys of patterns."""
    try:
        return re.compile(rf"(.*\.)?({key})$")
    except re.error as error:
        raise ConfigError(f"{where}: '{key}' is no regular expression: {error}.") from error


def _quoted(keys: Iterable[str]) -> str:
    return ", ".join(f"'{key}'" for key in keys)


def _check_split(config: LoraConfig, places: Places, ranks: Mapping[str, float]) -> None:
    if config.init == "olora" and places.is_transposed:
        raise ConfigError("tune.init: olora does not know layers that lie as GPT-2's do. Choose pissa.")
    for name, layer in places.layers.items():
        most = min(sizes_of(layer))
        if ranks[name] > most:
            raise ConfigError(
                f"tune.rank: {name} has only {most} directions for init '{config.init}', not {ranks[name]:g}. "
                "Lower the rank, or lower it there with tune.rank_pattern."
            )


def _describe(config: LoraConfig, places: Places) -> str:
    name = "DoRA" if config.use_dora else "LoRA"
    how = [
        "" if config.init == "default" else f"begun as {config.init}",
        "rank-stabilised" if config.use_rslora else "",
        f"B at {config.loraplus_lr_ratio:g} times the rate" if config.loraplus_lr_ratio else "",
        f"with {len(config.rank_pattern)} patterns of rank" if config.rank_pattern else "",
    ]
    more = "".join(f", {part}" for part in how if part)
    return f"{name} rank {config.rank}, alpha {config.alpha:g}, {places.described()}{more}"
