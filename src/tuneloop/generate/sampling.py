"""From logits to the next token: the likeliest one, or one drawn with a number that is the sequence's own.

Shapes: S sequences, V vocabulary, C candidates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tuneloop.core.seeds import derive_seed
from tuneloop.generate.config import GenerateConfig

_CANDIDATES = 256
"""The likeliest tokens that are looked at first for a nucleus."""


def uniform(seed: int, key: object, position: int) -> float:
    """The number in [0, 1) that decides the token at a position: a function of these three alone, with 53 bits."""
    return (derive_seed(seed, "token", key, position) >> 10) / 2**53


def choose(logits_SV: Tensor, config: GenerateConfig, uniform_S: Sequence[float]) -> Tensor:
    """The next token of each sequence, int64 [S].

        p = softmax(logits / temperature), cut to the `top_k` likeliest, then to the fewest likeliest of those whose
        share is at least `top_p`; the token is the first with p_1 + ... + p_i > u (p_1 + ... + p_n)

    Temperature 0 takes the likeliest, and no number. Source of top_p: Holtzman et al. 2020 (arXiv:1904.09751).
    With p = (0.5, 0.3, 0.2), in this order, u = 0.6 chooses the second; with top_p = 0.5 the first, whatever u.
    """
    if config.temperature == 0:
        return logits_SV.argmax(dim=-1)
    p_SV = torch.softmax(logits_SV.float() / config.temperature, dim=-1)
    u_S1 = torch.tensor(uniform_S, dtype=torch.float64, device=p_SV.device)[:, None]
    if config.top_k == 0 and config.top_p == 1:
        return _draw(p_SV, u_S1)
    p_SC, ids_SC = _likeliest(p_SV, config)
    # Counted without each token's own share: the first one always stays.
    before_SC = p_SC.double().cumsum(dim=-1) - p_SC
    total_S1 = p_SC.double().sum(dim=-1, keepdim=True) if config.top_k else 1.0
    kept_SC = p_SC.where(before_SC < config.top_p * total_S1, 0.0) if config.top_p < 1 else p_SC
    return ids_SC.gather(1, _draw(kept_SC, u_S1)[:, None])[:, 0]


def _likeliest(p_SV: Tensor, config: GenerateConfig) -> tuple[Tensor, Tensor]:
    """Enough candidates, the likeliest first: `top_k`, or as many as hold the nucleus in every row."""
    V = p_SV.shape[1]
    if config.top_k:
        return p_SV.topk(min(config.top_k, V), dim=-1)
    number = min(_CANDIDATES, V)
    while True:
        p_SC, ids_SC = p_SV.topk(number, dim=-1)
        if number == V or bool((p_SC.double().sum(dim=-1) >= config.top_p).all()):
            return p_SC, ids_SC
        number = min(number * 8, V)


def _draw(p_SC: Tensor, u_S1: Tensor) -> Tensor:
    """The place where the running sum passes u times the whole, [S]."""
    sum_SC = p_SC.double().cumsum(dim=-1)
    total_S1 = sum_SC[:, -1:]
    # Below the whole even where the product is rounded up to it: what follows the last likely token has a share of 0.
    target_S1 = torch.minimum(u_S1 * total_S1, total_S1.nextafter(torch.zeros_like(total_S1)))
    return torch.searchsorted(sum_SC, target_S1, right=True)[:, 0]
