"""Log-probabilities of chosen tokens from hidden states, in chunks: the logits never exist all at once.

Shapes: N target positions, D hidden size, V vocabulary, C rows of a chunk.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tuneloop.batch import Head

_CHUNK_BYTES = 96 << 20
"""Memory of one chunk of float32 logits."""


def token_nll(head: Head, states_ND: Tensor, targets_N: Tensor) -> Tensor:
    """Negative log-likelihood of each target, in nats, float32 [N].

        nll_n = log sum_v exp(z_nv) - z_n,target        z = head(h_n)

    Differentiable in the states and, where it is trainable, in the head. A frozen head costs two matrix products
    a token (the gradient of each row is made on the way forward); a trainable one costs four.
    With V equal logits every value is log V: check by hand.
    """
    rules = _Rules(head.scale, head.softcap, head.compute_dtype or head.weight_VD.dtype)
    bias_V = states_ND.new_zeros(0) if head.bias_V is None else head.bias_V
    return _TokenNLL.apply(states_ND, head.weight_VD, bias_V, targets_N, rules)


class _Rules(NamedTuple):
    scale: float
    softcap: float | None
    dtype: torch.dtype


def _chunks(num_rows: int, vocabulary: int) -> list[tuple[int, int]]:
    size = max(1, _CHUNK_BYTES // (4 * vocabulary))
    return [(begin, min(begin + size, num_rows)) for begin in range(0, num_rows, size)]


def _logits(states_CD: Tensor, weight_VD: Tensor, bias_V: Tensor, rules: _Rules) -> Tensor:
    scale, softcap, _ = rules
    logits_CV = (states_CD @ weight_VD.T).float()
    if bias_V.numel():
        logits_CV += bias_V
    if scale != 1.0:
        logits_CV *= scale
    if softcap is not None:
        logits_CV.div_(softcap).tanh_().mul_(softcap)
    return logits_CV


def _gradient_of_logits(logits_CV: Tensor, log_total_C: Tensor, targets_C: Tensor, rules: _Rules) -> Tensor:
    """D nll / d (W h + b), [C, V]; may reuse the memory of its input.

    softmax(z) - onehot(target), times the slope of scale and softcap: d cap(x)/dx = 1 - (cap(x)/c)^2.
    """
    scale, softcap, _ = rules
    slope_CV = None if softcap is None else 1.0 - (logits_CV / softcap).square()
    gradient_CV = logits_CV.sub_(log_total_C[:, None]).exp_()
    gradient_CV[torch.arange(len(targets_C), device=targets_C.device), targets_C] -= 1.0
    if slope_CV is not None:
        gradient_CV *= slope_CV
    return gradient_CV.mul_(scale) if scale != 1.0 else gradient_CV


class _TokenNLL(torch.autograd.Function):
    """See `token_nll`. Each row's gradient is scaled by what comes from above, so any objective may use it."""

    @staticmethod
    def forward(
        ctx: Any,
        states_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor,
        targets_N: Tensor,
        rules: _Rules,
    ) -> Tensor:
        states_type, states_ND = states_ND.dtype, states_ND.to(rules.dtype)
        product_VD = weight_VD.to(rules.dtype)
        nll_N = torch.empty(len(targets_N), dtype=torch.float32, device=states_ND.device)
        head_learns = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        gradient_ND = torch.empty_like(states_ND) if ctx.needs_input_grad[0] and not head_learns else None
        log_total_N = torch.empty_like(nll_N)
        for begin, end in _chunks(len(targets_N), len(weight_VD)):
            targets_C = targets_N[begin:end]
            logits_CV = _logits(states_ND[begin:end], product_VD, bias_V, rules)
            log_total_C = torch.logsumexp(logits_CV, dim=-1)
            nll_N[begin:end] = log_total_C - logits_CV.gather(1, targets_C[:, None])[:, 0]
            log_total_N[begin:end] = log_total_C
            if gradient_ND is not None:
                gradient_CV = _gradient_of_logits(logits_CV, log_total_C, targets_C, rules)
                gradient_ND[begin:end] = gradient_CV.to(rules.dtype) @ product_VD
        ctx.rules, ctx.states_type, ctx.weight_type = rules, states_type, weight_VD.dtype
        if gradient_ND is not None:
            ctx.save_for_backward(gradient_ND)
        elif head_learns:
            ctx.save_for_backward(states_ND, product_VD, bias_V, targets_N, log_total_N)
        return nll_N

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        upstream_N = upstream[0]
        if len(ctx.saved_tensors) == 1:
            (gradient_ND,) = ctx.saved_tensors
            return (gradient_ND * upstream_N[:, None]).to(ctx.states_type), None, None, None, None
        states_ND, product_VD, bias_V, targets_N, log_total_N = ctx.saved_tensors
        gradient_ND = torch.empty_like(states_ND) if ctx.needs_input_grad[0] else None
        gradient_VD = torch.zeros_like(product_VD, dtype=ctx.weight_type) if ctx.needs_input_grad[1] else None
        gradient_V = torch.zeros_like(bias_V) if ctx.needs_input_grad[2] else None
        for begin, end in _chunks(len(targets_N), len(product_VD)):
            logits_CV = _logits(states_ND[begin:end], product_VD, bias_V, ctx.rules)
            gradient_CV = _gradient_of_logits(logits_CV, log_total_N[begin:end], targets_N[begin:end], ctx.rules)
            gradient_CV *= upstream_N[begin:end, None]
            if gradient_V is not None and bias_V.numel():
                gradient_V += gradient_CV.sum(0)
            gradient_CV = gradient_CV.to(ctx.rules.dtype)
            if gradient_ND is not None:
                gradient_ND[begin:end] = gradient_CV @ product_VD
            if gradient_VD is not None:
                gradient_VD += gradient_CV.T @ states_ND[begin:end]
        if gradient_ND is not None:
            gradient_ND = gradient_ND.to(ctx.states_type)
        return gradient_ND, gradient_VD, gradient_V, None, None
