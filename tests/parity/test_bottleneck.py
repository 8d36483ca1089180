"""Bottleneck adapters against the published formula, written out: one Llama in plain torch, and every family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

from tuneloop.data.batches import build_batches
from tuneloop.model.backbone import CausalModel, logits_of
from tuneloop.model.quiet import quiet_transformers
from tuneloop.tune.build import Tuned, apply_tune
from tuneloop.tune.config import AdapterConfig
from unit.train.training_kit import FAMILIES, load, random_rows, write_model

FamilyModel = Callable[[str], Path]

TOLERANCE = 1e-5
"""Float32 sums in another order, relative to the largest value."""
HOULSBY = AdapterConfig(style="houlsby", bottleneck=5, activation="gelu", scale=0.7)
PFEIFFER = AdapterConfig(style="pfeiffer", bottleneck=3)
BENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1),
}
PARTS = {
    "gpt2": ("attn", "mlp"),
    "gpt_neox": ("attention", "mlp"),
    "opt": ("self_attn", "fc2"),
}
"""What blocks call attention and feed-forward, read from transformers' code; `self_attn` and `mlp` otherwise."""


@pytest.fixture(scope="module")
def any_model(family_model: FamilyModel, tmp_path_factory: pytest.TempPathFactory) -> FamilyModel:
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family in FAMILIES:
            return family_model(family)
        if family not in made:
            made[family] = write_model(tmp_path_factory.mktemp("family") / family, family)
        return made[family]

    return get


def awake(folder: Path, config: AdapterConfig) -> tuple[CausalModel, Tuned]:
    """A model whose adapters say something: every parameter of theirs is drawn anew."""
    model = load(folder)
    tuned = apply_tune(model, config, seed=3)
    model.network.eval()
    with torch.no_grad():
        for place, (_, parameter) in enumerate(sorted(tuned.trainable.items())):
            random = torch.Generator().manual_seed(place)
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)
    return model, tuned


def formula(h: Tensor, weights: dict[str, Tensor], prefix: str, config: AdapterConfig) -> Tensor:
    """Of Houlsby et al. 2019, section 2.1, with the scale of He et al. 2022."""
    narrow = BENDS[config.activation](h @ weights[f"{prefix}.down.weight"].T + weights[f"{prefix}.down.bias"])
    return h + config.scale * (narrow @ weights[f"{prefix}.up.weight"].T + weights[f"{prefix}.up.bias"])


def plain_llama(weights: dict[str, Tensor], ids_T: Tensor, network: Any, config: AdapterConfig) -> Tensor:
    """Logits of a Llama with adapters, [T, V], with nothing of transformers' or ours."""
    settings, num_tokens, size = network.config, len(ids_T), 8
    heads, groups = settings.num_attention_heads, settings.num_attention_heads // settings.num_key_value_heads
    rope = 1 / settings.rope_parameters["rope_theta"] ** (torch.arange(0, size, 2) / size)
    angles = torch.arange(num_tokens)[:, None] * torch.cat([rope, rope])
    above = torch.ones(num_tokens, num_tokens).triu(1).bool()

    def norm(x: Tensor, name: str) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + settings.rms_norm_eps).sqrt() * weights[name]

    def turn(x: Tensor) -> Tensor:
        half = torch.cat([-x[..., size // 2 :], x[..., : size // 2]], dim=-1)
        return x * angles.cos() + half * angles.sin()

    def split(x: Tensor) -> Tensor:
        return x.view(num_tokens, -1, size).transpose(0, 1)

    x = weights["model.embed_tokens.weight"][ids_T]
    for i in range(settings.num_hidden_layers):
        at = f"model.layers.{i}"
        y = norm(x, f"{at}.input_layernorm.weight")
        q, k, v = (split(y @ weights[f"{at}.self_attn.{name}_proj.weight"].T) for name in "qkv")
        k, v = (part.repeat_interleave(groups, dim=0) for part in (turn(k), v))
        scores = (turn(q) @ k.transpose(1, 2) / size**0.5).masked_fill(above, float("-inf"))
        seen = (scores.softmax(-1) @ v).transpose(0, 1).reshape(num_tokens, heads * size)
        attended = seen @ weights[f"{at}.self_attn.o_proj.weight"].T
        if config.style == "houlsby":
            attended = formula(attended, weights, f"{at}.self_attn.adapters.default", config)
        x = x + attended
        y = norm(x, f"{at}.post_attention_layernorm.weight")
        inner = functional.silu(y @ weights[f"{at}.mlp.gate_proj.weight"].T) * (
            y @ weights[f"{at}.mlp.up_proj.weight"].T
        )
        fed = inner @ weights[f"{at}.mlp.down_proj.weight"].T
        x = x + formula(fed, weights, f"{at}.mlp.adapters.default", config)
    return norm(x, "model.norm.weight") @ weights["lm_head.weight"].T


@pytest.mark.parametrize("config", [HOULSBY, PFEIFFER], ids=["houlsby", "pfeiffer"])
def test_a_llama_with_adapters_computes_the_published_formula(config: AdapterConfig, tiny_model: Path) -> None:
    model, tuned = awake(tiny_model, config)
    weights = {name: parameter.detach() for name, parameter in model.network.named_parameters()}
    ids_T = torch.from_numpy(random_rows(1, shortest=30)[0].ids.astype(np.int64))
    expected_TV = plain_llama(weights, ids_T, model.network, config)
    with torch.no_grad():
        found_TV = model.network(input_ids=ids_T[None], use_cache=False).logits[0]
    torch.testing.assert_close(found_TV, expected_TV, rtol=1e-4, atol=TOLERANCE * float(expected_TV.abs().max()))
    silent = weights | {name: torch.zeros_like(weights[name]) for name in tuned.trainable}
    assert not torch.allclose(plain_llama(silent, ids_T, model.network, config), expected_TV, atol=0.1)


class Written(nn.Module):
    """A layer with an adapter behind it, as one would write it by hand."""

    def __init__(self, layer: nn.Module, weights: dict[str, Tensor], config: AdapterConfig) -> None:
        super().__init__()
        self.layer, self.config = layer, config
        self.weights = nn.ParameterDict({name.replace(".", "/"): tensor.clone() for name, tensor in weights.items()})

    def forward(self, *args: Any, **options: Any) -> Any:
        out = self.layer(*args, **options)
        h = out[0] if isinstance(out, tuple) else out
        weights = {f"a.{name.replace('/', '.')}": tensor for name, tensor in self.weights.items()}
        h = formula(h, weights, "a", self.config)
        return (h, *out[1:]) if isinstance(out, tuple) else h


def by_hand(folder: Path, family: str, config: AdapterConfig, tuned: Tuned) -> tuple[Any, dict[str, Tensor]]:
    """The network with each part of each block wrapped; and its adapters' parameters under our names."""
    with quiet_transformers():
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    modules, theirs = dict(network.named_modules()), {}
    attention, feed_forward = PARTS.get(family, ("self_attn", "mlp"))
    ends = (attention, feed_forward) if config.style == "houlsby" else (feed_forward,)
    layers = [name for name in modules if name.rpartition(".")[2] in ends and name.rpartition(".")[0][-1:].isdigit()]
    for name in layers:
        parent, _, end = name.rpartition(".")
        prefix = f"{name}.adapters.default."
        own = {key.removeprefix(prefix): p.detach() for key, p in tuned.trainable.items() if key.startswith(prefix)}
        wrapped = Written(modules[name], own, config)
        theirs |= {prefix + key.replace("/", "."): parameter for key, parameter in wrapped.weights.items()}
        setattr(modules[parent], end, wrapped)
    return network, theirs


@pytest.mark.parametrize("config", [HOULSBY, PFEIFFER], ids=["houlsby", "pfeiffer"])
@pytest.mark.parametrize("family", [*FAMILIES, "gpt_neox", "opt"])
def test_packed_outputs_and_gradients_equal_layers_written_by_hand(
    family: str, config: AdapterConfig, any_model: FamilyModel
) -> None:
    model, tuned = awake(any_model(family), config)
    network, theirs = by_hand(any_model(family), family, config, tuned)
    assert theirs.keys() == tuned.trainable.keys()
    rows = random_rows(3)
    loss, expected_loss = torch.zeros(()), torch.zeros(())
    for batch in build_batches(rows, budget=512):
        logits_NV = logits_of(model.head, model.states(batch))
        loss = loss + functional.cross_entropy(logits_NV, batch.ids_T[batch.predictors_N + 1], reduction="sum")
    for row in rows:
        ids_T = torch.from_numpy(row.ids.astype(np.int64))
        logits_TV = network(input_ids=ids_T[None], use_cache=False).logits[0, :-1]
        nll_T = functional.cross_entropy(logits_TV, ids_T[1:], reduction="none")
        expected_loss = expected_loss + (nll_T * torch.from_numpy(row.weights[1:])).sum()
    torch.testing.assert_close(loss, expected_loss, rtol=TOLERANCE, atol=0)
    loss.backward()
    expected_loss.backward()
    largest = max(float(parameter.grad.abs().max()) for parameter in theirs.values() if parameter.grad is not None)
    assert largest > 0
    for name, parameter in tuned.trainable.items():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=2 * TOLERANCE * largest)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_every_activation_is_what_its_name_says(activation: Any, tiny_model: Path) -> None:
    config = AdapterConfig(bottleneck=4, activation=activation)
    model, tuned = awake(tiny_model, config)
    prefix = "model.layers.1.mlp.adapters.default"
    layer = model.network.get_submodule(prefix)
    weights = {name: parameter.detach() for name, parameter in tuned.trainable.items()}
    h = torch.randn(7, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(h).detach(), formula(h, weights, prefix, config), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", [HOULSBY, PFEIFFER], ids=["houlsby", "pfeiffer"])
def test_parameters_are_as_many_as_the_papers_count(config: AdapterConfig, tiny_model: Path) -> None:
    """2 d m + d + m a layer (Houlsby et al. 2019, section 2.1), d = 32; one layer a block, or two; 3 blocks."""
    assert config.bottleneck is not None
    layers = 2 if config.style == "houlsby" else 1
    tuned = apply_tune(load(tiny_model), config, seed=0)
    assert tuned.num_trainable == 3 * layers * (2 * 32 * config.bottleneck + 32 + config.bottleneck)
    plain = sum(parameter.numel() for parameter in load(tiny_model).network.parameters())
    assert tuned.total == plain + tuned.num_trainable
