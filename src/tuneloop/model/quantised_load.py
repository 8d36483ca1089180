"""Quantises weights while transformers loads them, one tensor at a time: the whole model is never there in full width.

transformers hands each tensor of the files to a registered quantiser before the next one is read.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.utils.quantization_config import QuantizationConfigMixin

from tuneloop.model.backbone import CausalModel
from tuneloop.model.blocks import blocks_of
from tuneloop.model.config import ModelConfig
from tuneloop.model.quantize import check_quantisable, load_bitsandbytes, quantise_linear

_METHOD = "tuneloop"
"""Our name in transformers' registry of quantisers."""

_TRIM_WEIGHTS = 1 << 24
"""After so many, what the allocator has kept of their full width is given back."""


def quantisation_of(config: ModelConfig, device: torch.device) -> Any:
    """What `from_pretrained` wants to be told; None where nothing is to be quantised.

    Raises:
        MissingError: 4 bits need bitsandbytes.
    """
    if config.quantization is None:
        return None
    if config.quantization != "int8":
        load_bitsandbytes()
    if _METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantization_config(_METHOD)(_Settings)
        register_quantizer(_METHOD)(_Quantiser)
    return _Settings(config, device)


class _Settings(QuantizationConfigMixin):
    """Carries our settings through transformers."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self.quant_method = _METHOD  # type: ignore[assignment] - a name of our own
        self.config = config
        self.device = device


class _Quantiser(HfQuantizer):
    """Swaps a linear layer of a block for a quantised one in the moment in which its weight has been read."""

    def __init__(self, quantization_config: Any, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self.names: set[str] = set()
        """Parameters to quantise."""
        self.untrimmed = 0
        """Weights since the allocator was last asked to give back."""

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> Any:
        blocks = blocks_of(CausalModel(model, torch.device("meta")))
        linears = {id(module): module for module in blocks.modules() if type(module) is nn.Linear}
        check_quantisable(list(linears.values()), type(model).__name__)
        self.names = {f"{name}.weight" for name, module in model.named_modules() if id(module) in linears}
        return model

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        # For transformers the network is a plain one again: it may be moved, and its config saved.
        self.remove_quantization_config(model)
        model.config._is_quantized = False  # noqa: SLF001 - transformers' own mark
        for parameter in model.parameters():
            # As it comes it may be a view of the mapped file, which would stay mapped, and counted, as a whole.
            parameter.data = parameter.data.clone()
        _trim()
        return model

    def param_needs_quantization(self, model: Any, param_name: str, **_: Any) -> bool:
        del model
        return param_name in self.names

    def get_quantize_ops(self) -> "_Quantise":
        return _Quantise(self)

    def is_serializable(self) -> bool:  # type: ignore[override] - the parent's has no type
        return False

    @property
    def is_trainable(self) -> bool:  # type: ignore[override] - as above
        return True


class _Quantise(ConversionOps):
    """Takes a weight that has been read, and gives nothing back to be stored."""

    def __init__(self, quantiser: _Quantiser) -> None:
        self.quantiser = quantiser

    def convert(  # type: ignore[override] - transformers hands everything over by name
        self, input_dict: dict[str, Any], *, model: Any, missing_keys: set[str] | None = None, **_: Any
    ) -> dict[str, Tensor]:
        settings: Any = self.quantiser.quantization_config
        for name, read in input_dict.items():
            weight_OI = read[0] if isinstance(read, list) else read
            path = name.removesuffix(".weight")
            parent, _dot, child = path.rpartition(".")
            layer = model.get_submodule(path)
            if weight_OI.shape != layer.weight.shape:
                raise ValueError(f"{name} is {list(weight_OI.shape)}, not {list(layer.weight.shape)}")
            quantised: Any = quantise_linear(layer, weight_OI.to(settings.device), settings.config)
            # Else transformers would draw it at random as one that it did not load.
            quantised._is_hf_initialized = True  # noqa: SLF001 - transformers' own mark
            setattr(model.get_submodule(parent), child, quantised)
            if missing_keys is not None:
                missing_keys.discard(name)
            self.quantiser.untrimmed += weight_OI.numel()
            if self.quantiser.untrimmed >= _TRIM_WEIGHTS:
                _trim()
                self.quantiser.untrimmed = 0
        return {}


def _trim() -> None:
    """Give freed memory back to the system: between the codes glibc would keep it, several times the model's size."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
