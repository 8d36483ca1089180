"""A recipe's data section to token rows: read, encoded, chosen, split, with a ledger that adds up."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tuneloop.core.errors import ConfigError, ContractError, DataError
from tuneloop.core.stop import Stop
from tuneloop.data.candidates import Candidates, Problems
from tuneloop.data.config import DataConfig
from tuneloop.data.prompt import Renderer
from tuneloop.data.quality.near import near_duplicates
from tuneloop.data.quality.texts import duplicate_groups
from tuneloop.data.records import FileLedger, LengthSummary, SplitSummary
from tuneloop.data.rows import Source, iter_rows, open_sources, read_lines
from tuneloop.data.schema import Row
from tuneloop.data.select.draw import sample_rows
from tuneloop.data.select.mixture import Mixture, temperature_epochs
from tuneloop.data.select.order import EpochPlan
from tuneloop.data.select.split import SplitBy, split_rows
from tuneloop.data.stream import StreamedRows, StreamPlan
from tuneloop.data.tokens.build import BuildOptions, open_store
from tuneloop.data.tokens.overlong import LengthPolicy, count_tokens, make_fit
from tuneloop.data.tokens.selected import TokenRows

_ROWS_TO_VERIFY = 32


@dataclass(frozen=True)
class PreparedData:
    """The rows of a run, ready for batches and for evaluation."""

    train: TokenRows | StreamedRows
    eval: TokenRows
    epochs: EpochPlan | StreamPlan
    """Which training rows come in which step."""
    files: tuple[FileLedger, ...]
    problems: Problems
    notes: tuple[str, ...]
    train_sha256: str
    """Names the training rows, their order and weights."""
    texts: "Texts" = field(repr=False)
    candidates: Candidates = field(repr=False)
    """All rows that could be encoded, the ones that are not used too; of a stream the held-out ones only."""

    @cached_property
    def eval_rows(self) -> list[Row]:
        """The conversations of the held-out rows, in their order; read again from the files when asked for."""
        return self.texts.read(self.eval)

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
    config: DataConfig,
    folder: Path,
    renderer: Renderer,
    *,
    seed: int,
    cache: Path,
    stop: Stop | None = None,
) -> PreparedData:
    """Read, encode, choose and split all rows of a recipe whose files are relative to `folder`.

    Encoded rows are kept in `cache` and found there again by their content.

    Raises:
        DataError: no file, no known format, a bad row under `strict`, a long row under `overlong: error`, or
            no row left to train on.
        ContractError: what would be served differs from what would be trained on.
        StoppedError: an end was asked for.
    """
    policy = length_policy(config, renderer)
    train_sources = open_sources(config.train, folder, cache=cache, personal=config.personal)
    eval_sources = open_sources(config.eval, folder, cache=cache, personal=config.personal)
    refuse_common_files(train_sources, eval_sources)
    sources = [*train_sources, *eval_sources]
    stores = [
        open_store(
            source,
            renderer.learning(source.spec.train_on),
            policy,
            cache=cache,
            build=BuildOptions(stop or Stop(), config.strict),
        )
        for source in sources
    ]
    candidates = Candidates(sources, stores, strict=config.strict)
    is_eval_file = np.isin(candidates.file_of, np.arange(len(train_sources), len(sources)))
    choice = _Choice(config, candidates, renderer, seed, is_eval_file)
    train, held_out = choice.make(has_eval_files=bool(config.eval))
    files = candidates.close()
    if not len(train):
        raise DataError("data: no row is left to train on. " + _worst(candidates.problems()))
    learned, evaluated = candidates.rows(train), candidates.rows(held_out)
    texts = Texts(sources, renderer, policy)
    _verify_contract(renderer, learned, texts)
    _verify_contract(renderer, evaluated, texts)
    epochs = _plan_epochs(config, candidates, train, learned, seed)
    notes = notes_of(renderer, files)
    return PreparedData(
        learned, evaluated, epochs, files, candidates.problems(), notes, learned.sha256, texts, candidates
    )


def length_policy(config: DataConfig, renderer: Renderer) -> LengthPolicy:
    """The longest row of a run: as the recipe says, and never above what the model was built for."""
    most = renderer.max_positions
    return LengthPolicy(config.overlong, config.cutoff_len if most is None else min(config.cutoff_len, most))


def refuse_common_files(train: Sequence[Source], held_out: Sequence[Source]) -> None:
    """A file is for training or for evaluation.

    Raises:
        DataError: one is for both.
    """
    train_paths = {source.file.path.resolve() for source in train}
    both = [source.name for source in held_out if source.file.path.resolve() in train_paths]
    if both:
        raise DataError(f"data: {', '.join(both)} is named for training and for evaluation. Name it once.")


def choose_eval(config: DataConfig, candidates: Candidates, renderer: Renderer, *, seed: int) -> np.ndarray:
    """The held-out rows where all candidates are for evaluation."""
    everything = np.ones(len(candidates), dtype=bool)
    return _Choice(config, candidates, renderer, seed, everything).make(has_eval_files=True)[1]


@dataclass
class _Choice:
    """Decides which candidates are trained on, and which are held out."""

    config: DataConfig
    candidates: Candidates
    renderer: Renderer
    seed: int
    is_eval_file: np.ndarray

    def make(self, *, has_eval_files: bool) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the training rows and of the held-out rows, each in the order of the files."""
        candidates, config = self.candidates, self.config
        self._leave_out_long()
        if config.duplicates == "drop":
            self._leave_out_doubles(~self.is_eval_file)
            self._leave_out_doubles(self.is_eval_file)
        clusters = self._near_clusters()
        if has_eval_files:
            held_out = self._limit(candidates.alive(self.is_eval_file), config.max_eval_rows, "eval rows")
        else:
            held_out = self._split(clusters)
        is_held_out = np.zeros(len(candidates), dtype=bool)
        is_held_out[held_out] = True
        self._leave_out_leaks(is_held_out)
        if config.near_duplicates == "drop" and clusters is not None:
            self._leave_out_near(clusters, is_held_out)
        train = candidates.alive(~is_held_out & ~self.is_eval_file)
        train = self._limit_files(train)
        return self._limit(train, config.max_samples, "samples"), held_out

    def _leave_out_long(self) -> None:
        candidates, cutoff_len, most = self.candidates, self.config.cutoff_len, self.renderer.max_positions
        limit = length_policy(self.config, self.renderer).longest
        long = np.flatnonzero(candidates.lengths > limit)

        def explain(row: int) -> str:
            length = int(candidates.lengths[row])
            if most is not None and most < cutoff_len:
                return f"{length} tokens, more than the model's own {most} positions"
            return f"{length} tokens, more than data.cutoff_len = {cutoff_len}"

        if len(long) and self.config.overlong == "error":
            row = int(long[0])
            hint = "Shorten the row" if most == limit else f"Raise it to {candidates.lengths[row]}"
            raise DataError(f"{candidates.origin(row)}: {explain(row)}. {hint}, or set data.overlong to 'drop'.")
        candidates.leave_out(long, "overlong", explain)

    def _leave_out_doubles(self, among: np.ndarray) -> None:
        alive = self.candidates.alive(among)
        first = alive[duplicate_groups(self._keys[alive])]
        self._leave_out_for(alive, first, first != alive, "duplicate", "the same conversation as {}")

    def _leave_out_leaks(self, is_held_out: np.ndarray) -> None:
        """Training rows that are held out too: a test that was trained on measures nothing."""
        held_out = np.flatnonzero(is_held_out)
        if not len(held_out):
            return
        train = self.candidates.alive(~is_held_out & ~self.is_eval_file)
        both = np.concatenate([held_out, train])
        first = both[duplicate_groups(self._keys[both])][len(held_out) :]
        self._leave_out_for(train, first, is_held_out[first], "leak", "the same conversation is held out at {}")

    def _leave_out_near(self, clusters: np.ndarray, is_held_out: np.ndarray) -> None:
        """Of near-duplicates the held-out ones stay, else the first."""
        train = self.candidates.alive(~is_held_out & ~self.is_eval_file)
        held_out = np.flatnonzero(is_held_out)
        stays: dict[int, int] = {}
        for row in [*held_out.tolist(), *train.tolist()]:
            stays.setdefault(int(clusters[row]), row)
        other = np.array([stays[int(clusters[row])] for row in train.tolist()], dtype=np.int64)
        leaks = is_held_out[other] if len(other) else np.zeros(0, dtype=bool)
        self._leave_out_for(train, other, leaks, "near_leak", "nearly the same as {}, which is held out")
        self._leave_out_for(train, other, ~leaks & (other != train), "near_duplicate", "nearly the same as {}")

    def _leave_out_for(self, rows: np.ndarray, others: np.ndarray, where: np.ndarray, code: str, text: str) -> None:
        because = dict(zip(rows[where].tolist(), others[where].tolist(), strict=True))
        origin = self.candidates.origin
        self.candidates.leave_out(rows[where], code, lambda row: text.format(origin(because[row])))

    @cached_property
    def _keys(self) -> np.ndarray:
        return self.candidates.column("keys")

    def _near_clusters(self) -> np.ndarray | None:
        """For each candidate its cluster; None where nothing asks for it."""
        config = self.config
        if config.near_duplicates == "keep" and config.split.keep_together is None:
            return None
        alive = self.candidates.alive()
        clusters = np.arange(len(self.candidates))
        texts = _texts_of(self.candidates, alive)
        clusters[alive] = alive[near_duplicates(texts, threshold=config.near_threshold, seed=self.seed).clusters()]
        return clusters

    def _split(self, clusters: np.ndarray | None) -> np.ndarray:
        config = self.config
        alive = self.candidates.alive()
        if config.near_duplicates == "drop" and clusters is not None:
            # What will be left out anyway is not held out.
            alive = alive[clusters[alive] == alive]
        is_eval = split_rows(
            len(alive),
            config.eval_fraction,
            self.seed,
            by=SplitBy(
                keys=self._keys[alive, 0],
                strata=self.candidates.file_of[alive] if config.split.stratify == "file" else None,
                groups=clusters[alive] if clusters is not None and config.split.keep_together else None,
            ),
            limit=config.max_eval_rows,
        )
        return alive[is_eval]

    def _limit_files(self, rows: np.ndarray) -> np.ndarray:
        """`num_samples` of each file."""
        kept = []
        for number, source in enumerate(self.candidates.sources):
            mine = rows[self.candidates.file_of[rows] == number]
            kept.append(self._limit(mine, source.spec.num_samples, f"num_samples of {source.name}"))
        return np.concatenate(kept) if kept else rows

    def _limit(self, rows: np.ndarray, limit: int | None, purpose: str) -> np.ndarray:
        """At most so many rows, drawn by the seed; the others are counted."""
        if limit is None or len(rows) <= limit:
            return rows
        chosen = rows[sample_rows(len(rows), limit, self.seed, purpose)]
        reason = f"not among the {limit} {purpose} of the recipe"
        self.candidates.leave_out(np.setdiff1d(rows, chosen), "not_chosen", lambda _: reason, is_fault=False)
        return chosen


def _texts_of(candidates: Candidates, rows: np.ndarray) -> list[str]:
    """What the rows say, in the given order; all parts of a divided row say the whole."""
    texts: dict[tuple[int, int], str] = {}
    wanted = set(zip(candidates.file_of[rows].tolist(), candidates.column("lines")[rows].tolist(), strict=True))
    for number, source in enumerate(candidates.sources):
        for row in iter_rows(source):
            if isinstance(row, Row) and (number, row.origin.line) in wanted:
                texts[number, row.origin.line] = "\n".join(message.content for message in row.messages)
    lines = candidates.column("lines")
    return [texts[int(candidates.file_of[row]), int(lines[row])] for row in rows.tolist()]


@dataclass(frozen=True)
class Texts:
    """Finds the conversations of encoded rows again, in the files that they came from."""

    sources: Sequence[Source]
    renderer: Renderer
    policy: LengthPolicy

    def read(self, rows: TokenRows, limit: int | None = None) -> list[Row]:
        """The first rows (all without a limit), in order."""
        origins = [rows.origin(index) for index in range(len(rows) if limit is None else min(limit, len(rows)))]
        found: dict[tuple[str, int], Row] = {}
        for source in self.sources:
            lines = {origin.line for origin in origins if origin.file == source.name}
            if lines:
                found |= {(source.name, line): row for line, row in read_lines(source, lines).items()}
        return [
            replace(self._as_encoded(found[origin.file, origin.line], origin.part), origin=origin) for origin in origins
        ]

    def _as_encoded(self, row: Row, part: int) -> Row:
        if self.policy.rewrites and (part or count_tokens(row, self.renderer) > self.policy.longest):
            return make_fit(row, self.renderer, self.policy)[max(part - 1, 0)]
        return row


def _verify_contract(renderer: Renderer, rows: TokenRows, texts: Texts) -> None:
    """What serving will feed must be, id for id, what training saw before the answer."""
    for row, token_row in zip(texts.read(rows, _ROWS_TO_VERIFY), rows[:_ROWS_TO_VERIFY], strict=True):
        if row.is_text:
            continue
        prompt = renderer.encode_prompt(row.before_answer(), tools=row.tools)
        # A last answer of weight 0 is left off the row: compare as far as the row goes.
        length = min(len(prompt), len(token_row.ids))
        if not np.array_equal(prompt[:length], token_row.ids[:length]):
            raise ContractError(
                f"{row.origin}: the prompt that serving would feed differs from the one in training. "
                "Choose another data.template."
            )


def _plan_epochs(
    config: DataConfig, candidates: Candidates, train: np.ndarray, rows: TokenRows, seed: int
) -> EpochPlan:
    """How often each file's rows come in an epoch, and in which order."""
    file_of = candidates.file_of[train]
    numbers = np.unique(file_of)
    sizes = tuple(int((file_of == number).sum()) for number in numbers)
    epochs = tuple(candidates.sources[number].spec.epochs for number in numbers)
    if config.mixing.temperature is not None:
        if set(epochs) != {1.0}:
            raise ConfigError("data.mixing.temperature and epochs of a file both say how often rows come. Name one.")
        epochs = temperature_epochs(sizes, config.mixing.temperature)
    keys = {"length": lambda: rows.lengths, "score": lambda: rows.column("scores")}.get(config.order)
    return EpochPlan(Mixture(sizes, epochs), config.order, keys() if keys else None, seed)


def _worst(problems: Problems) -> str:
    return f"The first row that was left out: {problems[0]}." if len(problems) else "The files hold no rows."


def notes_of(renderer: Renderer, files: Sequence[FileLedger]) -> tuple[str, ...]:
    """What a person should know of the rows and of their template."""
    contract = renderer.contract
    notes = []
    if contract.hidden_text:
        notes.append(
            f"The chat template adds text of its own where a row has no system turn: {contract.hidden_text!r}. "
            "It is part of what is trained and served. Name another data.template to be without it."
        )
    for file in files:
        if file.truncated:
            notes.append(f"{file.path}: {file.truncated} rows lost the middle of their longest question to fit.")
        if file.added:
            notes.append(f"{file.path}: long rows were divided; that made {file.added} more.")
    return tuple(notes)


def summarise(rows: TokenRows | StreamedRows) -> SplitSummary:
    """Sizes of one side of the split; nothing is known of a stream."""
    if isinstance(rows, StreamedRows):
        return SplitSummary(rows=0, tokens=0, target_tokens=0)
    lengths = rows.lengths
    return SplitSummary(
        rows=len(rows),
        tokens=int(lengths.sum(dtype=np.int64)),
        target_tokens=int(rows.targets.sum(dtype=np.int64)),
        lengths=LengthSummary(
            mean=round(float(lengths.mean()), 1),
            median=float(np.median(lengths)),
            p95=float(np.percentile(lengths, 95)),
            longest=int(lengths.max()),
        )
        if len(rows)
        else None,
    )
