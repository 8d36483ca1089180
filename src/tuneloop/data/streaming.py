"""A recipe's data section as a stream: held-out rows first, training rows while the model already learns."""

from pathlib import Path

import numpy as np

from tuneloop.core.errors import ConfigError
from tuneloop.core.stop import Stop
from tuneloop.core.store import hash_json
from tuneloop.data.candidates import Candidates
from tuneloop.data.config import DataConfig
from tuneloop.data.prepare import PreparedData, Texts, choose_eval, length_policy, notes_of, refuse_common_files
from tuneloop.data.prompt import Renderer
from tuneloop.data.records import FileLedger
from tuneloop.data.rows import open_sources
from tuneloop.data.stream import StreamedFile, StreamedRows, StreamFilter, StreamPlan
from tuneloop.data.tokens.build import BuildOptions, open_store, store_key

_NOT_WITH_A_STREAM = ("max_samples", "near_duplicates", "order", "mixing", "split")


def prepare_stream(
    config: DataConfig, folder: Path, renderer: Renderer, *, seed: int, cache: Path, stop: Stop
) -> PreparedData:
    """Read the held-out rows, and begin to read the training rows, in a thread of its own.

    Raises:
        ConfigError: the recipe asks for what needs all rows at once.
        DataError: as `prepare_data`.
    """
    _refuse_what_needs_all(config)
    policy = length_policy(config, renderer)
    sources = open_sources(config.train, folder, cache=cache, personal=config.personal)
    eval_sources = open_sources(config.eval, folder, cache=cache, personal=config.personal)
    refuse_common_files(sources, eval_sources)
    options = BuildOptions(stop, config.strict)
    eval_stores = [
        open_store(each, renderer.learning(each.spec.train_on), policy, cache=cache, build=options)
        for each in eval_sources
    ]
    candidates = Candidates(eval_sources, eval_stores, strict=config.strict)
    held_out = choose_eval(config, candidates, renderer, seed=seed)
    keys = candidates.column("keys")[held_out] if len(candidates) else np.zeros((0, 2), dtype=np.uint64)
    rows = StreamedRows(
        StreamFilter(policy.longest, keys[np.argsort(keys[:, 0])], drop_duplicates=config.duplicates == "drop"), stop
    )

    def make(growing: StreamedRows) -> None:
        for source in sources:
            file = StreamedFile(source.name, source.spec.weight)
            build = BuildOptions(stop, config.strict, on_shard=lambda shard, file=file: growing.add(file, shard))
            store = open_store(source, renderer.learning(source.spec.train_on), policy, cache=cache, build=build)
            growing.counts.add_file(source.name, store.manifest)

    rows.fill(make)
    identity = [[store_key(source, renderer, policy), source.spec.weight, source.spec.train_on] for source in sources]
    streamed = tuple(
        FileLedger(
            path=source.name, sha256=source.sha256, format=source.format, read=0, kept=0, problems={}, streamed=True
        )
        for source in sources
    )
    return PreparedData(
        train=rows,
        eval=candidates.rows(held_out),
        epochs=StreamPlan(rows, config.shuffle_window, seed),
        files=(*candidates.close(), *streamed),
        problems=candidates.problems(),
        notes=(
            *notes_of(renderer, ()),
            "The training rows are read while the model learns: round-N/data/ledger.json counts them.",
        ),
        train_sha256=hash_json([identity, config.cutoff_len, config.duplicates, config.shuffle_window]),
        texts=Texts(eval_sources, renderer, policy),
        candidates=candidates,
    )


def _refuse_what_needs_all(config: DataConfig) -> None:
    default = DataConfig(train=config.train)
    if config.overlong == "error" or config.strict:
        name = "strict" if config.strict else "overlong: error"
        raise ConfigError(f"data.{name}: a stream cannot stop before it began. Look with `tuneloop data check` first.")
    for name in _NOT_WITH_A_STREAM:
        if getattr(config, name) != getattr(default, name):
            raise ConfigError(f"data.{name}: needs all rows at once. Leave it out, or set data.streaming to false.")
    for index, spec in enumerate(config.train):
        if spec.num_samples is not None or spec.epochs != 1.0:
            raise ConfigError(
                f"data.train.{index}: num_samples and epochs need all rows at once. Leave them out, or set "
                "data.streaming to false."
            )
    if not config.eval and config.eval_fraction > 0:
        raise ConfigError(
            "data.streaming: rows cannot be held out of a stream by their share. Name data.eval files, or set "
            "data.eval_fraction to 0."
        )
