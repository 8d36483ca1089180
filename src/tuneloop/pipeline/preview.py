"""What a recipe would do, without doing it: rows, steps, weights that move, memory."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from tuneloop.core.config import Config
from tuneloop.data.prepare import summarise
from tuneloop.data.records import FileLedger, SplitSummary
from tuneloop.model.load import load_skeleton
from tuneloop.pipeline.planning import Planner, this_device
from tuneloop.pipeline.session import Session
from tuneloop.train.job import steps_of_stage
from tuneloop.train.memory import MemoryEstimate
from tuneloop.tune.build import apply_tune


@dataclass(frozen=True)
class Preview:
    """The answer of `--dry-run`."""

    plan: Config
    files: tuple[FileLedger, ...]
    train: SplitSummary
    eval: SplitSummary
    template: str
    contract_hash: str
    steps: tuple[int, ...]
    """Of each stage."""
    learning_rates: tuple[float, ...]
    tune: str
    trainable_parameters: int
    total_parameters: int
    memory: MemoryEstimate
    device: str
    precision: str
    advice: tuple[str, ...]
    """What is unusual about the recipe, and what the contract adds."""

    def as_json(self) -> dict[str, Any]:
        """Stable names for scripts."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "plan": self.plan.model_dump(mode="json"),
            "files": [file.model_dump(mode="json") for file in self.files],
            "train": self.train.model_dump(mode="json"),
            "eval": self.eval.model_dump(mode="json"),
            "memory": asdict(self.memory) | {"total": self.memory.total},
        }


def preview_run(session: Session) -> Preview:
    """Read and render the rows, and build the model's shapes; no weights are loaded, nothing is trained."""
    plan, data = session.plan, session.data
    model = load_skeleton(session.base)
    tuned = apply_tune(model, plan.tune, seed=plan.seed)
    memory = Planner(session, this_device(session.hardware), plan).estimate(plan).memory
    return Preview(
        plan=plan,
        files=data.files,
        train=summarise(data.train),
        eval=summarise(data.eval),
        template=session.renderer.contract.template_name,
        contract_hash=session.renderer.contract.hash,
        steps=tuple(steps_of_stage(stage, data.epochs) for stage in plan.stages),
        learning_rates=plan.learning_rates(),
        tune=tuned.description,
        trainable_parameters=tuned.num_trainable,
        total_parameters=tuned.total,
        memory=memory,
        device=session.hardware.device.type,
        precision=session.hardware.precision,
        advice=(*plan.advice(), *data.notes),
    )
