"""Perplexity of texts under a model: how surprised it is by each of their tokens."""

import math
from pathlib import Path

import numpy as np

from tuneloop.core.errors import DataError, NonFiniteError
from tuneloop.core.stop import Stop
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, RowError
from tuneloop.data.tokens.block import TokenRow
from tuneloop.evaluate.metrics.perplexity import Perplexity
from tuneloop.evaluate.run import row_losses
from tuneloop.evaluate.score import ScoreReport
from tuneloop.evaluate.stats import score_set
from tuneloop.evaluate.texts import read_texts
from tuneloop.pipeline.opening import find_model


def measure_perplexity(source: str, texts: Path, *, seed: int = 0) -> ScoreReport:
    """The perplexity of each line of a file, without a chat template, under a model by path or name.

    Raises:
        ModelError, ConfigError: there is no such model.
        DataError: the file cannot be read, or a line of it has fewer than two tokens.
    """
    named = find_model(source)
    rows = []
    for line, text in enumerate(read_texts(texts), start=1):
        if not isinstance(text, str):
            raise DataError(f"{texts}:{line}: a list of texts. Perplexity takes one text a line.")
        rows.append(_encode(named.renderer, text, f"{texts}:{line}"))
    losses = row_losses(named.load(), rows, stop=Stop())
    counts = [row.num_targets for row in rows]
    for row, loss in zip(rows, losses, strict=True):
        if not math.isfinite(loss):
            raise NonFiniteError(f"{row.origin}: the model's loss on this text is {loss}: its weights are not sound.")
    statistics_NK = np.array([[loss * count, count] for loss, count in zip(losses, counts, strict=True)])
    metric = Perplexity(named.renderer.contract.tokenizer_sha256)
    items = tuple(metric.sample_value(statistics_K) for statistics_K in statistics_NK)
    return ScoreReport(score_set(metric, statistics_NK, seed=seed), items)


def _encode(renderer: Renderer, text: str, where: str) -> TokenRow:
    """A text behind the token that begins one, where the model has it; the token that ends a text is left out."""
    try:
        row = renderer.encode_row((Message("assistant", text),), origin=where, is_text=True)
    except RowError as error:
        raise DataError(f"{where}: {error.reason}") from error
    if renderer.contract.eos_token:
        row = TokenRow(row.ids[:-1], row.weights[:-1], where)
    if row.num_targets == 0:
        raise DataError(f"{where}: a text of fewer than two tokens has no perplexity.")
    return row
