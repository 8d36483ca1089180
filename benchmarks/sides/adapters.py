"""Gives both sides the same LoRA weights to start from, so that their curves can be compared step by step."""

import math

import torch
from torch import nn


def draw_adapters(network: nn.Module, seed: int) -> None:
    """Draw every A of peft's LoRA layers anew, in the order of the layers; every B stays zero.

    The law is peft's own: uniform within +-1 / sqrt(inputs), which is Kaiming's with a slope of sqrt(5).
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if "lora_A" in name:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=generator)
