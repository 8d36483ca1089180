"""Frozen matrices kept in the type that they are multiplied in: half the memory, and no cast in each step."""

from torch import nn

from tuneloop.model.backbone import CausalModel


def compact_frozen(model: CausalModel) -> int:
    """Store the frozen weights of linear layers in the autocast type; return the bytes that this saves.

    Autocast rounds them to it before every product, so results are the same, bit for bit. Embeddings, norms and a
    head that shares the embeddings' matrix stay as they are: they are used in float32 too.
    """
    dtype = model.autocast_dtype
    if dtype is None:
        return 0
    embedded = model.base.get_input_embeddings().weight
    saved = 0
    for module in model.network.modules():
        if type(module) is not nn.Linear or module.weight is embedded:
            continue
        for parameter in (module.weight, module.bias):
            if parameter is not None and not parameter.requires_grad and parameter.dtype.itemsize > dtype.itemsize:
                saved += parameter.numel() * (parameter.dtype.itemsize - dtype.itemsize)
                parameter.data = parameter.data.to(dtype)
    return saved
