"""Questions to vLLM (extra `vllm`, CUDA): the same token ids that our own engine would be given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.core.hooks import Hooks
from tuneloop.core.optional import load_optional
from tuneloop.core.seeds import derive_seed
from tuneloop.data.prompt import Renderer
from tuneloop.evaluate.tasks.local import output_of, refuse_prompt
from tuneloop.evaluate.tasks.questions import Question
from tuneloop.evaluate.tasks.responder import Ask
from tuneloop.evaluate.tasks.samples import Output
from tuneloop.generate.config import GenerateConfig

_CHUNK = 256
"""Questions that are handed over at once; a kill loses no more than these."""


@dataclass(frozen=True)
class VllmResponder:
    """A plain folder in vLLM. Prompts are rendered here, through the contract, and go over as ids."""

    engine: Any
    renderer: Renderer
    description: str
    sha256: str

    @classmethod
    def load(cls, folder: Path, renderer: Renderer, *, sha256: str) -> "VllmResponder":
        """Start vLLM over a folder.

        Raises:
            MissingError: vLLM is not installed.
        """
        vllm = load_optional("vllm", purpose="a model named vllm:FOLDER", extra="vllm")
        engine = vllm.LLM(model=str(folder), skip_tokenizer_init=True, enable_prefix_caching=True)
        return cls(engine, renderer, f"{folder} in vLLM", sha256)

    @property
    def contract_hash(self) -> str:
        """Of the renderer's contract."""
        return self.renderer.contract.hash

    def identity(self) -> dict[str, Any]:
        """Weights, contract, engine."""
        return {"weights": self.sha256, "contract": self.contract_hash, "engine": "vllm"}

    def refuse(self, question: Question, config: GenerateConfig) -> str | None:
        """The template refuses the turns, or prompt and answer do not fit into the model's context."""
        return refuse_prompt(self.renderer, question, config)

    def answer(
        self, asks: Sequence[Ask], config: GenerateConfig, *, seed: int, hooks: Hooks, take: Callable[[Output], None]
    ) -> None:
        """Answer all, so many at a time; each output has a seed of its own.

        Raises:
            StoppedError: an end was asked for.
        """
        vllm = load_optional("vllm", purpose="a model named vllm:FOLDER", extra="vllm")
        stops = list(self.renderer.contract.stop_ids)
        for begin in range(0, len(asks), _CHUNK):
            hooks.stop.check()
            chosen = asks[begin : begin + _CHUNK]
            prompts = [self.renderer.encode_prompt(ask.asked.messages) for ask in chosen]
            settings = [
                vllm.SamplingParams(
                    temperature=config.temperature,
                    top_p=config.top_p,
                    top_k=config.top_k or -1,  # its word for all
                    max_tokens=config.max_new_tokens,
                    stop_token_ids=stops,
                    seed=derive_seed(seed, "generate", ask.question, ask.sample) % 2**31,
                    detokenize=False,
                )
                for ask in chosen
            ]
            shown = [{"prompt_token_ids": prompt.tolist()} for prompt in prompts]
            results = self.engine.generate(shown, settings, use_tqdm=False)
            for ask, prompt, result in zip(chosen, prompts, results, strict=True):
                ids = list(result.outputs[0].token_ids)
                finished = result.outputs[0].finish_reason == "stop"
                ids = ids[:-1] if ids and ids[-1] in stops else ids
                take(output_of(self.renderer, ask, prompt, ids, finished=finished))
            hooks.emit("generated", done=begin + len(chosen), total=len(asks))
