"""Which weights move, as a recipe writes it."""

from typing import Annotated, Literal, Self, assert_never

from pydantic import AfterValidator, Field, model_validator

from tuneloop.core.config import Config


class FullConfig(Config):
    """Every weight moves."""

    kind: Literal["full"] = "full"


class FreezeConfig(Config):
    """Only some weights move: the last blocks, or whatever a pattern names."""

    kind: Literal["freeze"] = "freeze"
    trainable_blocks: int = Field(default=2, ge=0)
    """The last n blocks move (LLaMA-Factory's default is 2)."""
    trainable_patterns: tuple[str, ...] = ()
    """Parameters whose name holds one of these shell patterns move too: `*.mlp.*`, `model.norm.weight`."""
    train_embeddings: bool = False
    train_head: bool = False
    """Where input embeddings and head are one tensor, either of the two moves both."""


def _known_targets(targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(targets, str) and targets != "all-linear":
        raise ValueError("is 'all-linear' or a list of module names")
    return targets


Targets = Annotated[str | tuple[str, ...], AfterValidator(_known_targets)]
"""`all-linear` is every linear layer but the head; or the ends of module names: [q_proj, v_proj]."""


class LoraConfig(Config):
    """A low-rank correction moves beside frozen weights (arXiv:2106.09685)."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=16, gt=0)
    alpha: float = Field(default=32.0, gt=0)
    """The correction is scaled by alpha / rank (by alpha / sqrt(rank) with `use_rslora`)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Targets = "all-linear"
    trainable_blocks: int | None = Field(default=None, gt=0)
    """Only the last n blocks get a correction: no gradient is computed below them."""
    rank_pattern: dict[str, Annotated[int, Field(gt=0)]] = Field(default={})
    """Other ranks for layers whose name ends in a key: {q_proj: 32, "layers.0.mlp.down_proj": 8}. As in peft, a key
    is a regular expression: "layers.[0-3].mlp.*"."""
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = Field(default={})
    """Other values of alpha, as `rank_pattern`."""
    use_rslora: bool = False
    """Rank-stabilised scaling (arXiv:2312.03732)."""
    use_dora: bool = False
    """Magnitude and direction apart (arXiv:2402.09353)."""
    init: Literal["default", "gaussian", "pissa", "olora", "orthogonal"] = "default"
    """How A and B begin. `pissa` takes the largest singular directions of the weight itself (arXiv:2404.02948),
    `olora` the first of its QR decomposition (arXiv:2406.01775); the others leave the weight whole."""
    pissa_iterations: int | None = Field(default=None, gt=0)
    """Find the singular directions in so many rounds of a randomised method: much faster, nearly the same; 16 is
    usual. By default the decomposition is exact."""
    loraplus_lr_ratio: float | None = Field(default=None, gt=0)
    """LoRA+ (arXiv:2402.12354): B learns at so many times the rate of A; 16 is usual."""

    @model_validator(mode="after")
    def _settings_that_work_together(self) -> Self:
        if self.pissa_iterations is not None and self.init != "pissa":
            raise ValueError("pissa_iterations goes with init: pissa")
        odd = [rank for rank in (self.rank, *self.rank_pattern.values()) if rank % 2]
        if self.init == "orthogonal" and odd:
            raise ValueError(f"init: orthogonal wants even ranks, not {odd[0]}")
        return self


class OftConfig(Config):
    """Weights are turned by a block-diagonal orthogonal matrix (arXiv:2306.07280)."""

    kind: Literal["oft"] = "oft"
    block_size: int = Field(default=32, gt=1)
    """Width of a block; it divides the input size of every chosen layer."""
    use_cayley_neumann: bool = True
    """A short series instead of an inverse (arXiv:2506.19847): faster, orthogonal only nearly."""
    targets: Targets = "all-linear"
    trainable_blocks: int | None = Field(default=None, gt=0)


class VeraConfig(Config):
    """Frozen random projections shared by all layers, and two trained vectors a layer (arXiv:2310.11454)."""

    kind: Literal["vera"] = "vera"
    rank: int = Field(default=256, gt=0)
    """Far above LoRA's: a unit of rank costs one number a layer."""
    d_initial: float = Field(default=0.1, gt=0)
    """Where the vector between the projections begins."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Targets = "all-linear"
    trainable_blocks: int | None = Field(default=None, gt=0)


class Ia3Config(Config):
    """Keys, values and feed-forward activations are scaled by trained vectors (arXiv:2205.05638)."""

    kind: Literal["ia3"] = "ia3"
    targets: Targets = "all-linear"
    """`all-linear` means here what the paper scales: keys, values and the feed-forward's inner activations."""
    feed_forward: tuple[str, ...] | None = None
    """Those of the targets whose input is scaled, not their output; by default the last layers of feed-forwards."""
    trainable_blocks: int | None = Field(default=None, gt=0)


class AdapterConfig(Config):
    """Small bottleneck layers inside each block: down, bend, up, added to what was there; silent at the start."""

    kind: Literal["adapter"] = "adapter"
    style: Literal["houlsby", "pfeiffer"] = "pfeiffer"
    """`houlsby` after attention and after the feed-forward (arXiv:1902.00751), `pfeiffer` after the feed-forward
    alone (arXiv:2005.00247)."""
    bottleneck: int | None = Field(default=None, gt=0)
    """Width of the narrow layer; by default hidden size / `reduction_factor`."""
    reduction_factor: float = Field(default=16.0, ge=1)
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the narrow layer."""
    scale: float = Field(default=1.0, gt=0)
    """Factor on what is added (arXiv:2110.04366)."""
    trainable_blocks: int | None = Field(default=None, gt=0)
    """Only the last n blocks get adapters: no gradient is computed below them."""
    name: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Several named adapters can live in one model."""


PeftConfig = LoraConfig | OftConfig | VeraConfig | Ia3Config
"""What peft implements: layers, file layout and merge are peft's."""

TuneConfig = Annotated[
    FullConfig | FreezeConfig | LoraConfig | OftConfig | VeraConfig | Ia3Config | AdapterConfig,
    Field(discriminator="kind"),
]

ADAPTER_KINDS = frozenset({"lora", "oft", "vera", "ia3", "adapter"})
"""Ways whose result is a small folder beside an unchanged base."""


def export_formats(tune: TuneConfig) -> dict[Literal["adapter", "merged"], str | None]:
    """For each form of a finished model: None where this way of tuning has it, else why it has not."""
    adapter = merged = None
    match tune:
        case FullConfig() | FreezeConfig():
            adapter = f"tune.kind '{tune.kind}' moves the weights themselves; there is no adapter. Export merged."
        case AdapterConfig():
            merged = "tune.kind 'adapter' adds layers, which no weight of the base can hold. Export adapter."
        case LoraConfig() | OftConfig() | VeraConfig() | Ia3Config():
            pass
        case unreachable:
            assert_never(unreachable)
    return {"adapter": adapter, "merged": merged}


def is_base_frozen(tune: TuneConfig) -> bool:
    """Whether the base's own weights neither move nor are measured: they may then be loaded in a narrower type."""
    match tune:
        case FullConfig() | FreezeConfig() | VeraConfig():
            # VeRA's fixed random matrices take the type of the weights beside them.
            return False
        case LoraConfig():
            # peft draws A and B in the type of the weight: rounded, orthogonal ones would no longer cancel.
            return not tune.use_dora and tune.init in {"default", "gaussian"}
        case OftConfig() | Ia3Config() | AdapterConfig():
            return True
        case unreachable:
            assert_never(unreachable)


def quantised_refusal(tune: TuneConfig) -> str | None:
    """Why this way of tuning cannot stand on a quantised base; None where it can."""
    match tune:
        case FullConfig() | FreezeConfig():
            return f"kind '{tune.kind}' moves the weights themselves, and quantised ones cannot move. Use kind: lora."
        case LoraConfig(init="pissa" | "olora"):
            return (
                f"init '{tune.init}' takes a part out of each weight, and a quantised one cannot give it up exactly. "
                "Use init: default."
            )
        case LoraConfig() | OftConfig() | VeraConfig() | Ia3Config() | AdapterConfig():
            return None
        case unreachable:
            assert_never(unreachable)
