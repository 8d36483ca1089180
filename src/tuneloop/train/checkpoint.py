"""Checkpoints: files named by their own hash, and a manifest that is published last. Killing is always safe."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from torch import Tensor

from tuneloop.core.config import Config
from tuneloop.core.errors import ConfigError, IntegrityError
from tuneloop.core.store import check_blob, delete_files, hash_json, read_json, remove_files, write_json
from tuneloop.train.tensors import SavedTensors, blobs_of, read_tensors, whole, write_shards

_KEPT = 2
_FORMAT = 2


class Progress(Config):
    """Where training stands after a step. With the seed this decides everything that follows."""

    stage: int
    """Counted from 1."""
    step: int
    """Optimiser steps done in this stage."""
    best_loss: float | None = None
    """Lowest validation loss so far."""
    best_step: int | None = None
    since_best: int = 0
    """Validations since then."""
    validated_step: int = 0
    """The last step after which validation was done."""
    last_train_loss: float | None = None
    last_validation_loss: float | None = None
    finished: bool = False
    """Whether the last stage is through."""
    skipped: int = 0
    skipped_in_a_row: int = 0
    total_steps: int = 0
    """Optimiser steps over all stages."""
    tokens: int = 0
    target_tokens: int = 0
    step_s: float = 0.0
    """Seconds inside steps, over all starts."""
    wall_s: float = 0.0
    """Seconds of training, validation and saving included, over all starts."""


class Manifest(Config):
    """One checkpoint."""

    format: Literal[2] = _FORMAT
    progress: Progress
    fingerprint: dict[str, Any]
    """What must be equal for a bit-exact continuation: plan, rows, base, versions, threads."""
    saved_at: datetime
    """For people; the order of checkpoints goes by stage and step."""
    weights: SavedTensors
    """The trainable tensors."""
    optimizer: SavedTensors | None
    """The optimiser's tensors; None where only the weights are kept, as of the best checkpoint."""

    @property
    def weights_sha256(self) -> str:
        """Hash over names, shapes, types and the hashes of the bytes: equal for equal weights in equal pieces."""
        return hash_json({name: saved.model_dump(mode="json") for name, saved in self.weights.items()})

    @property
    def blobs(self) -> set[str]:
        """The files that it needs."""
        return blobs_of(self.weights) | blobs_of(self.optimizer or {})


def _place(path: Path) -> tuple[int, int]:
    """(stage, step) of a manifest's name."""
    _, stage, _, step = path.stem.split("-")
    return int(stage), int(step)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one round, in one folder."""

    folder: Path
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def save(
        self,
        progress: Progress,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        *,
        fingerprint: dict[str, Any],
        is_best: bool,
    ) -> Manifest:
        """Write blobs, then the manifest, then let go of what is no longer needed."""
        manifest = Manifest(
            progress=progress,
            fingerprint=fingerprint,
            saved_at=self.clock(),
            weights=self._put(weights),
            optimizer=self._put(optimizer),
        )
        if is_best:
            # First, for the step's own manifest says that this step is the best.
            weights_only = manifest.replace(optimizer=None)
            self._publish(self.path_of(weights_only), weights_only)
        self._publish(self.path_of(manifest), manifest)
        self._clean()
        return manifest

    def path_of(self, manifest: Manifest) -> Path:
        """Where a manifest lies: one that keeps weights alone is the best of its stage."""
        progress = manifest.progress
        if manifest.optimizer is None:
            return self.folder / f"best-{progress.stage}.json"
        return self.folder / f"stage-{progress.stage}-step-{progress.step:08d}.json"

    def _put(self, tensors: Mapping[str, Tensor]) -> SavedTensors:
        return write_shards(self.folder / "blobs", whole(tensors))

    @staticmethod
    def _publish(path: Path, manifest: Manifest) -> None:
        values = manifest.model_dump(mode="json")
        write_json(path, values | {"hash": hash_json(values)})

    def _steps(self) -> list[Path]:
        return sorted(self.folder.glob("stage-*.json"), key=_place, reverse=True)

    def _clean(self) -> None:
        kept = self._steps()[:_KEPT]
        delete_files(self._steps()[_KEPT:])
        used: set[str] = set()
        for path in [*kept, *self.folder.glob("best-*.json")]:
            with contextlib.suppress(IntegrityError):
                used |= self.read(path).blobs
        remove_files(self.folder / "blobs", keep=used)

    @staticmethod
    def read(path: Path) -> Manifest:
        """Read a manifest and check it against its hash.

        Raises:
            ConfigError: another version of this program wrote it.
            IntegrityError: it is damaged.
        """
        values = read_json(path)
        saved_hash = values.pop("hash", None) if isinstance(values, dict) else None
        if saved_hash != hash_json(values):
            raise IntegrityError(f"{path}: the manifest differs from its hash.")
        if values.get("format") != _FORMAT:
            raise ConfigError(
                f"{path}: this checkpoint has format {values.get('format', 1)}, and this version reads format "
                f"{_FORMAT}. Go on with the version that wrote it, or begin anew in another --out."
            )
        try:
            return Manifest.model_validate(values)
        except ValidationError as error:
            raise IntegrityError(f"{path}: not a manifest: {error.errors()[0]['msg']}.") from error

    def load_weights(self, manifest: Manifest) -> dict[str, Tensor]:
        """The trainable tensors, after their bytes were checked.

        Raises:
            IntegrityError: a file is missing or damaged.
        """
        return read_tensors(self.folder / "blobs", manifest.weights)

    def load_optimizer(self, manifest: Manifest) -> dict[str, Tensor]:
        """The optimiser's tensors, after their bytes were checked.

        Raises:
            IntegrityError: a file is missing or damaged.
        """
        return read_tensors(self.folder / "blobs", manifest.optimizer or {})

    def newest(self) -> tuple[Manifest | None, list[str]]:
        """The newest checkpoint that is whole, and what was wrong with newer ones.

        Raises:
            ConfigError: another version of this program wrote it.
            IntegrityError: there are checkpoints, and none of them is whole.
        """
        complaints = []
        for path in self._steps():
            try:
                manifest = self.read(path)
                for blob in sorted(manifest.blobs):
                    check_blob(self.folder / "blobs", blob)
            except IntegrityError as error:
                complaints.append(str(error))
            else:
                return manifest, complaints
        if complaints:
            raise IntegrityError("No checkpoint is whole:\n" + "\n".join(complaints))
        return None, []

    def set_aside_newer(self, manifest: Manifest) -> None:
        """Rename what is newer, and damaged, to `*.damaged`: neither taken, nor counted among those that are kept."""
        for path in self._steps():
            if _place(path) > _place(self.path_of(manifest)):
                path.replace(path.with_suffix(".damaged"))

    def best(self, stage: int) -> Manifest | None:
        """The checkpoint with the lowest validation loss of a stage, if one was saved."""
        path = self.folder / f"best-{stage}.json"
        return self.read(path) if path.exists() else None
