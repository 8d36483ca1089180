"""The whole recipe as one closed, typed value. No torch."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from tuneloop.core.config import Config, load_source, parse_config, set_value
from tuneloop.core.store import hash_json
from tuneloop.data.config import DataConfig
from tuneloop.deploy.config import DeployConfig
from tuneloop.evaluate.config import EvaluateConfig
from tuneloop.evaluate.metrics.registry import expand_metrics
from tuneloop.iterate.config import IterateConfig, parse_target
from tuneloop.model.config import HardwareConfig, ModelConfig
from tuneloop.train.config import StageConfig
from tuneloop.tune.config import LoraConfig, TuneConfig, quantised_refusal

_USUAL_RATES = {
    "full": (1e-5, 5e-5),
    "freeze": (1e-5, 5e-5),
    "lora": (1e-4, 5e-4),
    "oft": (1e-4, 1e-3),
    "vera": (1e-3, 2e-2),
    "ia3": (1e-3, 1e-2),
    "adapter": (5e-5, 1e-3),
}
_DEFAULT_RATES = {"lora": 2e-4, "oft": 4e-4, "vera": 4e-3, "ia3": 3e-3, "adapter": 1e-4}
_WEIGHTS_THEMSELVES = 2e-5
_USUAL_BATCH = (16, 64)
_USUAL_EPOCHS = (3, 10)


class Plan(Config):
    """A recipe: what is learned, from what, how, how it is measured, and when that is enough."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run folder."""
    seed: int = Field(default=0, ge=0)
    """All chance of the run comes from it."""
    model: ModelConfig = ModelConfig()
    data: DataConfig
    tune: TuneConfig = LoraConfig()
    stages: tuple[StageConfig, ...] = Field(default=(StageConfig(),), min_length=1)
    evaluate: EvaluateConfig = EvaluateConfig()
    iterate: IterateConfig = IterateConfig()
    deploy: DeployConfig = DeployConfig()
    hardware: HardwareConfig = HardwareConfig()

    @model_validator(mode="after")
    def _metrics_are_known(self) -> "Plan":
        measured = [*expand_metrics(self.evaluate.metrics), "loss"]
        target = parse_target(self.iterate.target).metric if self.iterate.target else None
        for field, names in (("iterate.target", [target] if target else []), ("iterate.protect", self.iterate.protect)):
            for name in names:
                if name not in measured:
                    raise ValueError(f"{field}: '{name}' is not measured. Measured are: {', '.join(measured)}")
        return self

    @model_validator(mode="after")
    def _quantised_bases_are_frozen(self) -> "Plan":
        refusal = quantised_refusal(self.tune) if self.model.quantization else None
        if refusal is not None:
            raise ValueError(f"tune on a base in {self.model.quantization}: {refusal} Or leave model.quantization out")
        return self

    @model_validator(mode="after")
    def _streams_name_their_steps(self) -> "Plan":
        if self.data.streaming and any(stage.max_steps is None for stage in self.stages):
            raise ValueError(
                "data.streaming: how many rows there are is not known before the end, so every stage needs max_steps"
            )
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved recipe."""
        return hash_json(self.model_dump(mode="json"))

    def learning_rates(self) -> tuple[float, ...]:
        """The peak of each stage, defaults filled in by the way of tuning."""
        default = _DEFAULT_RATES.get(self.tune.kind, _WEIGHTS_THEMSELVES)
        return tuple(stage.learning_rate or default for stage in self.stages)

    def advice(self) -> list[str]:
        """What is unusual about the recipe, each with the reason; nothing of it is an error."""
        low, high = _USUAL_RATES[self.tune.kind]
        advice = []
        for index, (stage, rate) in enumerate(zip(self.stages, self.learning_rates(), strict=True)):
            where = f"stages.{index}"
            # Usual rates are AdamW's; others move further or less far at the same one.
            if stage.optimizer not in {"lion", "muon", "apollo", "galore"} and not low <= rate <= high:
                why = "below it little is learned" if rate < low else "above it training may become unstable"
                advice.append(
                    f"{where}.learning_rate is {rate:g}; usual for {self.tune.kind} is {low:g} to {high:g}: {why}."
                )
            if not _USUAL_BATCH[0] <= stage.batch_size <= _USUAL_BATCH[1]:
                why = "small batches are noisy" if stage.batch_size < _USUAL_BATCH[0] else "large ones mean few updates"
                advice.append(f"{where}.batch_size is {stage.batch_size}; usual is 16 to 64: {why}.")
            if stage.max_steps is None and not _USUAL_EPOCHS[0] <= stage.num_train_epochs <= _USUAL_EPOCHS[1]:
                few = stage.num_train_epochs < _USUAL_EPOCHS[0]
                why = "few passes may not be enough" if few else "many passes learn the rows by heart"
                advice.append(f"{where}.num_train_epochs is {stage.num_train_epochs:g}; usual is 3 to 10: {why}.")
        return advice

    def with_changes(self, changes: dict[str, Any]) -> "Plan":
        """A checked copy with some dotted paths changed, as prescriptions write them; -1 is the last of a list."""
        values = self.model_dump(mode="json")
        for path, value in changes.items():
            *parents, last = path.split(".")
            here: Any = values
            for key in parents:
                here = here[int(key)] if isinstance(here, list) else here[key]
            here[int(last) if isinstance(here, list) else last] = value
        return Plan.model_validate(values)


def load_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a recipe and apply `--set` overrides.

    Raises:
        ConfigError: every mistake, as `file:line: what. What to do.`
    """
    source = load_source(path)
    source.values.setdefault("name", re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "run")
    for override in overrides:
        set_value(source, override)
    return parse_config(Plan, source)


def differences(old: Any, new: Any, *, where: str = "") -> list[str]:
    """What changed between two plans (as plain values), one line a field."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted({*old, *new})
            for line in differences(old.get(key), new.get(key), where=f"{where}.{key}" if where else key)
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, where=f"{where}.{index}")]
    return [] if old == new else [f"{where}: was {old!r}, is {new!r}"]
