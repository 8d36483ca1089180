"""Ways of tuning that one of the tools alone has: LLaMA-Factory's OFT; ms-swift's VeRA, IA3 and bottleneck adapters."""

from tuneloop.importers.ledger import Reading, shorten
from tuneloop.importers.tuning import read_targets

_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "silu": "silu", "swish": "silu", "tanh": "tanh"}


def read_oft(reading: Reading) -> None:
    """Carry LLaMA-Factory's OFT section over.

    Raises:
        ConfigError: a block without width.
    """
    reading.recipe["tune.kind"] = "oft"
    rank = reading.whole("oft_rank")
    target = "tune.block_size"
    if rank:
        reading.recipe[target] = 32
        text = f"is the number of blocks in each layer, whatever its width; tuneloop has one width: {target}: 32."
        reading.note("oft_rank", "differs", text, target)
        reading.note("oft_block_size", "ignored", "has no effect beside oft_rank.")
    else:
        size = reading.whole("oft_block_size")
        if size is not None and size <= 1:
            raise reading.wrong("oft_block_size", f"is {size}; a block turns at least 2 inputs.")
        reading.settle("oft_block_size", target, size, 32)
        reading.note("oft_rank", "ignored", "is 0: oft_block_size decides.")
    # LLaMA-Factory 0.9.5 hands lora_target to OFT as well: model/adapter.py.
    read_targets(reading, "lora_target", "all-linear")
    chosen = reading.words("oft_target")
    if chosen == ["all"] and reading.recipe["tune.targets"] == "all-linear":
        reading.note("oft_target", "carried", "is tune.targets: all-linear.", "tune.targets")
    else:
        text = "is not read by LLaMA-Factory 0.9.5, where lora_target chooses for OFT too. "
        text += "To turn only these layers, name them in tune.targets."
        reading.note("oft_target", "ignored", text)
    text = "leaves a turn out by chance; tuneloop's OFT has no dropout."
    if reading.share("module_dropout"):
        reading.note("module_dropout", "not_carried", text)


def read_vera(reading: Reading, targets: str) -> None:
    """Carry ms-swift's VeRA section over; `targets` is the key of the chosen layers."""
    reading.recipe["tune.kind"] = "vera"
    reading.settle("vera_rank", "tune.rank", reading.count("vera_rank"), 256)
    reading.settle("vera_d_initial", "tune.d_initial", reading.positive("vera_d_initial"), 0.1)
    reading.settle("vera_dropout", "tune.dropout", reading.share("vera_dropout"), 0.0)
    read_targets(reading, targets, "all-linear")
    if reading.recipe["tune.targets"] == "all-linear":
        text = "of these ms-swift keeps the layers that are shaped as v_proj; tuneloop takes them all. "
        text += "To have the same, name those in tune.targets."
        reading.default(f"({targets})", "differs", text, "tune.targets")
    text = "the random matrices follow from the recipe's seed here, and are others."
    reading.note("vera_projection_prng_key", "differs", text, "seed")


def read_ia3(reading: Reading, key: str) -> None:
    """ms-swift's IA3 has no settings of its own, and takes more layers than the paper's."""
    reading.recipe["tune.kind"] = "ia3"
    text = "is tune.kind: ia3. ms-swift scales the output of every linear layer outside the feed-forwards, and the "
    text += "input of every one inside; tuneloop scales keys, values and the feed-forward's inner activation."
    reading.note(key, "differs", text, "tune.kind")


def read_adapter(reading: Reading, key: str) -> None:
    """Carry ms-swift's bottleneck adapters over: they follow the feed-forward, as Pfeiffer's do."""
    reading.recipe["tune.kind"] = "adapter"
    text = "is tune.kind: adapter, behind each feed-forward (style: pfeiffer). It begins at random there, and silent "
    reading.note(key, "differs", text + "here.", "tune.kind")
    reading.recipe["tune.style"] = "pfeiffer"
    reading.settle("adapter_length", "tune.bottleneck", reading.count("adapter_length"), 128)
    name = reading.text("adapter_act")
    target = "tune.activation"
    if name is None:
        reading.fill("adapter_act", target, "gelu")
    elif name in _ACTIVATIONS:
        reading.carry("adapter_act", target, _ACTIVATIONS[name])
    else:
        reading.recipe[target] = "gelu"
        reading.note("adapter_act", "differs", f"'{shorten(name)}' is not there; {target} is gelu.", target)
