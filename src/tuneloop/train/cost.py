"""How fast a device computes: measured here, or as its maker says."""

import time
from dataclasses import dataclass

import torch

from tuneloop.core.errors import ConfigError

GPU_SHARE = 0.40
"""Share of a card's peak that training is assumed to reach; 0.35 to 0.55 is what well-kept training code reports."""
CPU_SHARE = 0.60
"""Share of this machine's own matrix products that training is assumed to reach."""
_SIZE = 1536


@dataclass(frozen=True)
class Card:
    """A graphics card, as its maker describes it."""

    name: str
    memory_mib: int
    """As nvidia-smi reports it."""
    bf16_flops: float
    """Peak of dense bf16 products with float32 sums, a second; the figure with sparsity is twice as large."""
    source: str


CARDS = (
    Card("H200", 143_771, 989e12, "NVIDIA H200 data sheet, SXM"),
    Card("H100", 81_559, 989e12, "NVIDIA H100 data sheet, SXM"),
    Card("A100", 81_920, 312e12, "NVIDIA A100 data sheet, 80 GB"),
    Card("A100-40", 40_960, 312e12, "NVIDIA A100 data sheet, 40 GB"),
    Card("L40S", 46_068, 362e12, "NVIDIA L40S data sheet"),
    Card("A6000", 49_140, 154.8e12, "NVIDIA Ampere GA102 white paper, RTX A6000"),
    Card("L4", 23_034, 121e12, "NVIDIA L4 data sheet"),
    Card("4090", 24_564, 165.2e12, "NVIDIA Ada white paper, RTX 4090"),
    Card("3090", 24_576, 71e12, "NVIDIA Ampere GA102 white paper, RTX 3090"),
)


def find_card(name: str) -> Card:
    """The card of a name: `H100`, `rtx 4090`, `A100-80GB`.

    Raises:
        ConfigError: it is not in the table.
    """
    wanted = name.upper().replace("NVIDIA", "").replace("GEFORCE", "").replace("RTX", "").replace(" ", "").strip("-")
    wanted = wanted.removesuffix("GB")
    for card in CARDS:
        if wanted in {card.name, f"{card.name}-{round(card.memory_mib / 1024)}"}:
            return card
    known = ", ".join(card.name for card in CARDS)
    raise ConfigError(f"--device {name}: not known. Choose cpu, cuda, or one of {known}.")


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a matrix product here, 2 n^3 of them, best of a few; takes a moment."""
    left = torch.randn(_SIZE, _SIZE, device=device).to(dtype)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        product = left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
        del product
    return 2 * _SIZE**3 / best
