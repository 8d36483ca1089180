"""A recipe's data section to token rows: read, split, rendered, with a ledger that adds up."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuneloop.core.errors import ContractError, DataError
from tuneloop.core.seeds import keyed_permutation
from tuneloop.core.stop import Stop
from tuneloop.data.config import DataConfig
from tuneloop.data.ledger import Ledger
from tuneloop.data.prompt import Renderer
from tuneloop.data.tokens import TokenRow
from tuneloop.data.records import FileLedger, LengthSummary, SplitSummary
from tuneloop.data.rows import read_files, row_key
from tuneloop.data.schema import Problem, Row, RowError

_ROWS_TO_VERIFY = 32


@dataclass(frozen=True)
class PreparedData:
    """The rows of a run, ready for batches and for evaluation."""

    train: list[TokenRow]
    eval: list[TokenRow]
    """The same held-out rows as `eval_rows`, in the same order."""
    eval_rows: list[Row]
    files: tuple[FileLedger, ...]
    problems: list[Problem]
    notes: tuple[str, ...]

    @property
    def read(self) -> int:
        """Rows read, over all files."""
        return sum(file.read for file in self.files)

    @property
    def kept(self) -> int:
        """Rows that reach training or evaluation."""
        return sum(file.kept for file in self.files)

    def problem_counts(self) -> dict[str, int]:
        """Reason code -> number of rows, over all files."""
        counts: dict[str, int] = {}
        for file in self.files:
            for code, number in file.problems.items():
                counts[code] = counts.get(code, 0) + number
        return dict(sorted(counts.items()))


def prepare_data(
    config: DataConfig, folder: Path, renderer: Renderer, *, seed: int, stop: Stop | None = None
) -> PreparedData:
    """Read, split and render all rows of a recipe whose files are relative to `folder`.

    Raises:
        DataError: no file, no known format, a bad row under `strict`, a long row under `overlong: error`, or
            no row left to train on.
        ContractError: what would be served differs from what would be trained on.
        StoppedError: an end was asked for.
    """
    ledger = Ledger(strict=config.strict)
    keep_duplicates = config.duplicates == "keep"
    render = _Rendering(config, renderer, ledger, stop or Stop())
    train = read_files(config.train, folder, ledger, keep_duplicates=keep_duplicates)
    if config.eval:
        train_paths = {(folder / spec.path).resolve() for spec in config.train}
        both = [spec.path for spec in config.eval if (folder / spec.path).resolve() in train_paths]
        if both:
            raise DataError(f"data: {', '.join(both)} is named for training and for evaluation. Name it once.")
        candidates = read_files(config.eval, folder, ledger, keep_duplicates=keep_duplicates)
        held_out, unused = render.choose(candidates, config.max_eval_rows, seed=seed, purpose="eval rows")
        render.note_unused(unused, config.max_eval_rows, "eval rows")
    else:
        held_out, train = render.choose(train, _eval_size(config, len(train)), seed=seed, purpose="split")
    train = _without_leaks(train, held_out.rows, ledger)
    learned, unused = render.choose(train, config.max_samples, seed=seed, purpose="samples")
    render.note_unused(unused, config.max_samples, "samples")
    files = ledger.close([*learned.rows, *held_out.rows])
    if not learned.rows:
        raise DataError("data: no row is left to train on. " + _worst(ledger.problems))
    _verify_contract(renderer, held_out)
    _verify_contract(renderer, learned)
    return PreparedData(learned.tokens, held_out.tokens, held_out.rows, files, ledger.problems, _notes(renderer))


def _eval_size(config: DataConfig, num_rows: int) -> int:
    """How many rows are held out where no file names them."""
    number = round(num_rows * config.eval_fraction)
    if config.eval_fraction > 0 and num_rows > 1:
        number = min(max(number, 1), num_rows - 1)
    return number if config.max_eval_rows is None else min(number, config.max_eval_rows)


def _without_leaks(train: list[Row], held_out: list[Row], ledger: Ledger) -> list[Row]:
    """Leave out training rows that are held out too: a test that was trained on measures nothing."""
    places = {row_key(row): row.origin for row in held_out}
    clean = []
    for row in train:
        if (place := places.get(row_key(row))) is None:
            clean.append(row)
        else:
            ledger.leave_out(Problem(row.origin, "leak", f"the same conversation is held out at {place}"))
    return clean


@dataclass(frozen=True)
class _Rendered:
    rows: list[Row]
    tokens: list[TokenRow]
    """The same rows, in the same order."""


@dataclass(frozen=True)
class _Rendering:
    config: DataConfig
    renderer: Renderer
    ledger: Ledger
    stop: Stop

    def choose(self, rows: Sequence[Row], limit: int | None, *, seed: int, purpose: str) -> tuple[_Rendered, list[Row]]:
        """Render rows until `limit` of them are good, drawn by the seed; return them, and those never looked at.

        Both come in the order of the files. A row that is too long does not use up the limit.
        """
        order = range(len(rows)) if limit is None else keyed_permutation(len(rows), seed, purpose).tolist()
        found: dict[int, TokenRow] = {}
        seen = 0
        for index in order:
            if limit is not None and len(found) >= limit:
                break
            seen += 1
            self.stop.check()
            token_row = self._render(rows[index])
            if token_row is not None:
                found[index] = token_row
        unused = [rows[index] for index in sorted(order[seen:])]
        places = sorted(found)
        return _Rendered([rows[index] for index in places], [found[index] for index in places]), unused

    def note_unused(self, rows: Sequence[Row], limit: int | None, purpose: str) -> None:
        """Count rows that are good for all we know, and were not drawn."""
        for row in rows:
            reason = f"not among the {limit} {purpose} of the recipe"
            self.ledger.problems.append(Problem(row.origin, "not_chosen", reason))

    def _render(self, row: Row) -> TokenRow | None:
        try:
            token_row = self.renderer.encode_row(row.messages, origin=str(row.origin), weight=row.weight)
            self._check_length(row, token_row)
        except RowError as error:
            self.ledger.leave_out(Problem(row.origin, error.code, error.reason))
            return None
        return token_row

    def _check_length(self, row: Row, token_row: TokenRow) -> None:
        length, cutoff_len, most = len(token_row.ids), self.config.cutoff_len, self.renderer.max_positions
        if most is not None and most < cutoff_len and length > most:
            text, hint = f"{length} tokens, more than the model's own {most} positions", "Shorten the row"
        elif length > cutoff_len:
            text, hint = f"{length} tokens, more than data.cutoff_len = {cutoff_len}", f"Raise it to {length}"
        else:
            return
        if self.config.overlong == "error":
            raise DataError(f"{row.origin}: {text}. {hint}, or set data.overlong to 'drop'.")
        raise RowError("overlong", text)


def _verify_contract(renderer: Renderer, rendered: _Rendered) -> None:
    """What serving will feed must be, id for id, what training saw before the answer."""
    for row, token_row in list(zip(rendered.rows, rendered.tokens, strict=True))[:_ROWS_TO_VERIFY]:
        prompt = renderer.encode_prompt(row.before_answer())
        # A last answer of weight 0 is left off the row: compare as far as the row goes.
        length = min(len(prompt), len(token_row.ids))
        if not np.array_equal(prompt[:length], token_row.ids[:length]):
            raise ContractError(
                f"{row.origin}: the prompt that serving would feed differs from the one in training. "
                "Choose another data.template."
            )


def _worst(problems: Sequence[Problem]) -> str:
    return f"The first row that was left out: {problems[0]}." if problems else "The files hold no rows."


def _notes(renderer: Renderer) -> tuple[str, ...]:
    contract = renderer.contract
    notes = []
    if contract.hidden_text:
        notes.append(
            f"The chat template adds text of its own where a row has no system turn: {contract.hidden_text!r}. "
            "It is part of what is trained and served. Name another data.template to be without it."
        )
    return tuple(notes)


def summarise(rows: Sequence[TokenRow]) -> SplitSummary:
    """Sizes of one side of the split."""
    lengths = np.array([len(row.ids) for row in rows])
    return SplitSummary(
        rows=len(rows),
        tokens=int(lengths.sum()) if len(rows) else 0,
        target_tokens=sum(row.num_targets for row in rows),
        lengths=LengthSummary(
            mean=round(float(lengths.mean()), 1),
            median=float(np.median(lengths)),
            p95=float(np.percentile(lengths, 95)),
            longest=int(lengths.max()),
        )
        if len(rows)
        else None,
    )


def hash_rows(rows: Sequence[TokenRow]) -> str:
    """SHA-256 over ids, weights and order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(len(row.ids).to_bytes(4, "little"))
        digest.update(row.ids.astype("<i4").tobytes())
        digest.update(row.weights.astype("<f4").tobytes())
    return digest.hexdigest()
