"""Any benchmark of lm-evaluation-harness (extra `harness`) through our own model, template and engine.

Source of the interface: lm_eval.api.model.LM of version 0.4 (github.com/EleutherAI/lm-evaluation-harness).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.hooks import Hooks
from tuneloop.core.optional import load_optional
from tuneloop.data.batches import build_batch
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message
from tuneloop.data.tokens.block import TokenRow
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine
from tuneloop.model.backbone import CausalModel, logits_of
from tuneloop.pipeline.opening import find_model

_DEFAULT_NEW_TOKENS = 256
_BUDGET_TOKENS = 1024
_LOGIT_ROWS = 256
"""Targets whose logits exist at the same time."""


@dataclass(frozen=True)
class HarnessRun:
    """What the harness is asked to do."""

    source: str
    """The model, by path or name."""
    tasks: tuple[str, ...]
    """The harness's own names, or those of YAML files in `include`."""
    limit: int | None = None
    num_fewshot: int | None = None
    include: Path | None = None
    """A folder with further tasks of the harness."""
    chat_template: bool = False
    """Render prompts as chats, through the prompt contract."""


def run_harness(run: HarnessRun, hooks: Hooks, *, seed: int = 0) -> dict[str, Any]:
    """The harness's own results (`results`, `configs`, `versions`, `n-samples`), and what they belong to.

    Raises:
        MissingError: lm-evaluation-harness is not installed.
        ConfigError: it has no such task.
    """
    lm_eval = load_optional("lm_eval", purpose="tuneloop harness", extra="harness")
    manager_class = load_optional("lm_eval.tasks", purpose="tuneloop harness", extra="harness").TaskManager
    manager = manager_class(include_path=None if run.include is None else str(run.include))
    unknown = sorted(set(run.tasks) - set(manager.all_tasks))
    if unknown:
        raise ConfigError(f"lm-evaluation-harness has no task '{unknown[0]}'. `lm-eval ls tasks` shows its tasks.")
    named = find_model(run.source)
    model = _as_harness_model(named.load(), named.renderer, hooks, seed)
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=list(run.tasks),
        num_fewshot=run.num_fewshot,
        limit=run.limit,
        task_manager=manager,
        apply_chat_template=run.chat_template,
        log_samples=False,
        bootstrap_iters=0,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    if found is None:
        raise DataError("lm-evaluation-harness gave no results.")
    kept = {name: found[name] for name in ("results", "versions", "n-shot", "n-samples", "configs") if name in found}
    kept |= {
        "model": run.source,
        "seed": seed,
        "chat_template": run.chat_template,
        "harness": version("lm_eval"),
        "contract_hash": named.renderer.contract.hash,
    }
    return json.loads(json.dumps(kept, default=str))


def _as_harness_model(model: CausalModel, renderer: Renderer, hooks: Hooks, seed: int) -> Any:
    """An object of the harness's class; the class exists only where the harness is installed."""
    base = load_optional("lm_eval.api.model", purpose="tuneloop harness", extra="harness").LM
    answers = HarnessAnswers(model, renderer, hooks, seed)
    methods = {
        name: lambda _, *arguments, _name=name, **options: getattr(answers, _name)(*arguments, **options)
        for name in ("loglikelihood", "loglikelihood_rolling", "generate_until", "apply_chat_template", "chat_template")
    }
    kind = type("TuneloopLM", (base,), methods | {"tokenizer_name": renderer.contract.tokenizer_sha256[:12]})
    return kind()


@dataclass(frozen=True)
class HarnessAnswers:
    """What the harness asks of a model, answered."""

    model: CausalModel
    renderer: Renderer
    hooks: Hooks
    seed: int

    def apply_chat_template(self, history: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: FBT001, FBT002 - the harness's interface
        """Turns as the contract renders them; without a generation prompt, up to the end of the last answer."""
        turns = [Message(turn["role"], turn["content"]) for turn in history]  # type: ignore[arg-type] - checked there
        return self.renderer.template.render(turns, add_generation_prompt=add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:  # noqa: FBT001, FBT002 - the harness's interface
        """What the harness keeps beside its results."""
        return self.renderer.contract.template if chat_template else ""

    def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        """Of each (context, continuation): the continuation's log-probability, and whether greedy would write it."""
        return self._measure([self._join(*request.args) for request in requests])

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """The log-probability of each whole text, behind the token that begins one where the model has it."""
        rows = []
        for request in requests:
            ids = self._with_begin(self._encode(request.args[0]))
            rows.append((ids, 1))
        return [value for value, _ in self._measure(rows)]

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """An answer to each (context, settings), cut before the first of its stop texts."""
        groups: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault(_settings_key(request.args[1]), []).append(place)
        texts = [""] * len(requests)
        for places in groups.values():
            settings = requests[places[0]].args[1]
            config = _generate_config(settings)
            engine = Engine(self.model, self.renderer.contract.stop_ids, config)
            prompts = [self._encode(requests[place].args[0]) for place in places]
            answers = engine.generate(prompts, seed=self.seed, hooks=self.hooks, keys=places)
            for place, answer in zip(places, answers, strict=True):
                texts[place] = _cut(self.renderer.decode(answer.ids), _stop_texts(settings))
        return texts

    def _encode(self, text: str) -> np.ndarray:
        """As the tokenizer does it by itself; a chat that is rendered already has its first token.

        Special tokens in a rendered chat are meant: the harness hands over text, not turns.
        """
        begin = self.renderer.contract.bos_token
        is_begun = bool(begin) and text.startswith(begin)
        return np.array(self.renderer.tokenizer.encode(text, add_special_tokens=not is_begun).ids, dtype=np.int32)

    def _with_begin(self, ids: np.ndarray) -> np.ndarray:
        token = self.renderer.contract.bos_token
        begin = self.renderer.tokenizer.token_to_id(token) if token else None
        if begin is None or (len(ids) and ids[0] == begin):
            return ids
        return np.concatenate([np.array([begin], dtype=np.int32), ids])

    def _join(self, context: str, continuation: str) -> tuple[np.ndarray, int]:
        """The ids of both, and how many of them are context.

        White space at the end of the context belongs to the continuation, as most tokenizers join it to the word
        that follows; the whole is encoded once, so that the border falls where the tokens fall.
        """
        kept = context.rstrip()
        continuation = context[len(kept) :] + continuation
        whole = self._encode(kept + continuation)
        num_context = len(self._encode(kept))
        if num_context == 0:
            whole = self._with_begin(whole)
            num_context = 1
        return whole, max(1, min(num_context, len(whole) - 1))

    def _measure(self, rows: Sequence[tuple[np.ndarray, int]]) -> list[tuple[float, bool]]:
        token_rows = []
        for ids, num_context in rows:
            if len(ids) <= 1:
                raise DataError("lm-evaluation-harness asks for the probability of a text of fewer than two tokens.")
            weights = np.zeros(len(ids), dtype=np.float32)
            weights[num_context:] = 1.0
            token_rows.append(TokenRow(ids, weights, ""))
        found: list[tuple[float, bool]] = [(0.0, False)] * len(rows)
        was_training = self.model.network.training
        self.model.network.eval()
        try:
            for places in _groups(token_rows):
                self.hooks.stop.check()
                values = self._measure_group([token_rows[place] for place in places])
                for place, value in zip(places, values, strict=True):
                    found[place] = value
        finally:
            self.model.network.train(was_training)
        return found

    @torch.no_grad()
    def _measure_group(self, rows: Sequence[TokenRow]) -> list[tuple[float, bool]]:
        batch = build_batch(rows).to(self.model.device)
        states_ND = self.model.states(batch)
        pairs = [
            _judge(logits_of(self.model.head, states_CD).float(), targets_C)
            for states_CD, targets_C in zip(
                states_ND.split(_LOGIT_ROWS), batch.targets_N.split(_LOGIT_ROWS), strict=True
            )
        ]
        logp_N = torch.cat([logp for logp, _ in pairs]).double().cpu().numpy()
        greedy_N = torch.cat([greedy for _, greedy in pairs]).cpu().numpy()
        conversation_N = batch.conversation_N.cpu().numpy()
        return [
            (float(logp_N[conversation_N == row].sum()), bool(greedy_N[conversation_N == row].all()))
            for row in range(len(rows))
        ]


def _judge(logits_CV: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and whether it is the likeliest token."""
    chosen_C = logits_CV.gather(1, targets_C[:, None])[:, 0]
    return chosen_C - torch.logsumexp(logits_CV, dim=-1), logits_CV.argmax(dim=-1) == targets_C


def _groups(rows: Sequence[TokenRow]) -> Iterator[list[int]]:
    """Rows of similar length, up to the token budget."""
    group: list[int] = []
    size = 0
    for place in sorted(range(len(rows)), key=lambda place: -len(rows[place].ids)):
        if group and size + len(rows[place].ids) > _BUDGET_TOKENS:
            yield group
            group, size = [], 0
        group.append(place)
        size += len(rows[place].ids)
    if group:
        yield group


def _settings_key(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _generate_config(settings: dict[str, Any]) -> GenerateConfig:
    samples = bool(settings.get("do_sample", False))
    temperature = float(settings.get("temperature") or (1.0 if samples else 0.0)) if samples else 0.0
    tokens = settings.get("max_gen_toks") or settings.get("max_new_tokens") or _DEFAULT_NEW_TOKENS
    top_p = float(settings.get("top_p") or 1.0)
    return GenerateConfig(max_new_tokens=int(tokens), temperature=temperature, top_p=top_p)


def _stop_texts(settings: dict[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [text for text in ([until] if isinstance(until, str) else until) if text]


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.partition(stop)[0]
    return text
