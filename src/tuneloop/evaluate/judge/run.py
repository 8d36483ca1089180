"""From rows to a record: the judge is asked, its verdicts are read, kept and summed up."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tuneloop.core.errors import DataError
from tuneloop.core.hooks import Hooks
from tuneloop.core.store import hash_file, hash_json, write_jsonl
from tuneloop.evaluate.judge.caveats import warn_of_models, warn_of_pairs, warn_of_silence
from tuneloop.evaluate.judge.config import Criterion, JudgeConfig
from tuneloop.evaluate.judge.human import HumanRating, agree
from tuneloop.evaluate.judge.pairwise import pair_requests, read_pair, summarise_pairs
from tuneloop.evaluate.judge.prompts import prompts_sha256
from tuneloop.evaluate.judge.rating import read_ratings_of, rubric_requests, summarise_ratings
from tuneloop.evaluate.judge.records import CallsSpent, JudgeRecord, PairVerdict, RubricVerdict
from tuneloop.evaluate.judge.rows import Answered, Pair
from tuneloop.evaluate.judge.rubric import default_criteria
from tuneloop.evaluate.metrics.segment import Language, resolve_language
from tuneloop.generate.budget import Spending
from tuneloop.generate.chat import CallFailure, ChatRequest, Completion
from tuneloop.generate.endpoint import CallPlan, Endpoint, plan_calls

CALLS, VERDICTS, RECORD = "calls.jsonl", "verdicts.jsonl", "judge.json"
"""What a judgement leaves in its folder: the log of paid calls, every verdict, and the record."""


@dataclass(frozen=True)
class _Judgement:
    """Replies, and what all records have in common."""

    replies: list[Completion | CallFailure]
    common: dict[str, Any]


def plan_pairs(config: JudgeConfig, pairs: Sequence[Pair], folder: Path) -> CallPlan:
    """What `judge_pairs` would ask and cost; nothing is sent and nothing is written.

    Raises:
        DataError: there are no pairs.
    """
    return plan_calls(config.endpoint, pair_requests(pairs, _language(config, pairs)), folder / CALLS)


def judge_pairs(
    config: JudgeConfig,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    key: SecretStr | None,
    hooks: Hooks,
    humans: Sequence[HumanRating] = (),
) -> JudgeRecord:
    """Ask which answer of each pair is better, in both orders, and keep everything in `folder`.

    The same call again goes on where it was cut off; what is answered is not paid again.

    Raises:
        DataError: there are no pairs, or none has a verdict.
        StoppedError, BudgetError, ConfigError, EndpointError: as `Endpoint.complete`.
    """
    language = _language(config, pairs)
    judgement = _ask(config, pairs, pair_requests(pairs, language), folder, key=key, hooks=hooks)
    replies = judgement.replies
    verdicts = [read_pair(pair, (replies[2 * i], replies[2 * i + 1])) for i, pair in enumerate(pairs)]
    silent = Counter(order.reason for verdict in verdicts for order in verdict.orders if order.reason)
    judged = {(verdict.id, ""): verdict.outcome for verdict in verdicts if verdict.outcome is not None}
    kept = _keep(folder, verdicts, silent, len(judged))
    result = summarise_pairs(verdicts, config, _details(config, prompts_sha256()))
    agreement = agree(judged, humans, is_ordinal=False, seed=config.seed)
    return _save(
        folder,
        judgement.common | kept,
        method="pairs",
        language=language,
        prompts_sha256=prompts_sha256(),
        pairs=result,
        agreement=agreement,
        warnings=(
            *warn_of_models(config, judgement.common["judge_answered_as"]),
            *warn_of_pairs(result),
            *warn_of_silence(len(judged), len(pairs)),
            *_warn_of_humans(humans, agreement),
        ),
    )


def plan_rubric(config: JudgeConfig, rows: Sequence[Answered], folder: Path) -> CallPlan:
    """What `judge_rubric` would ask and cost; nothing is sent and nothing is written.

    Raises:
        DataError: there are no rows.
    """
    language = _language(config, rows)
    requests = rubric_requests(rows, _criteria(config, language), language, config.runs)
    return plan_calls(config.endpoint, requests, folder / CALLS)


def judge_rubric(
    config: JudgeConfig,
    rows: Sequence[Answered],
    folder: Path,
    *,
    key: SecretStr | None,
    hooks: Hooks,
    humans: Sequence[HumanRating] = (),
) -> JudgeRecord:
    """Rate each answer by every criterion, `config.runs` times, and keep everything in `folder`.

    The same call again goes on where it was cut off; what is answered is not paid again.

    Raises:
        DataError: there are no rows, or none has a verdict.
        StoppedError, BudgetError, ConfigError, EndpointError: as `Endpoint.complete`.
    """
    language = _language(config, rows)
    criteria, runs = _criteria(config, language), config.runs
    judgement = _ask(config, rows, rubric_requests(rows, criteria, language, runs), folder, key=key, hooks=hooks)
    replies = judgement.replies
    verdicts = [read_ratings_of(row, replies[i * runs : (i + 1) * runs], criteria) for i, row in enumerate(rows)]
    silent = Counter(run.reason for verdict in verdicts for run in verdict.runs if run.reason)
    judged = {(verdict.id, name): f"{score:.12g}" for verdict in verdicts for name, score in verdict.scores.items()}
    num_judged = sum(bool(verdict.scores) for verdict in verdicts)
    kept = _keep(folder, verdicts, silent, num_judged)
    agreement = agree(judged, humans, is_ordinal=True, seed=config.seed)
    told = prompts_sha256(criteria)
    return _save(
        folder,
        judgement.common | kept,
        method="rubric",
        language=language,
        prompts_sha256=told,
        rubric=summarise_ratings(verdicts, criteria, config, _details(config, told)),
        agreement=agreement,
        warnings=(
            *warn_of_models(config, judgement.common["judge_answered_as"]),
            *warn_of_silence(num_judged, len(rows)),
            *_warn_of_humans(humans, agreement),
        ),
    )


def _ask(
    config: JudgeConfig,
    rows: Sequence[Pair] | Sequence[Answered],
    requests: Sequence[ChatRequest],
    folder: Path,
    *,
    key: SecretStr | None,
    hooks: Hooks,
) -> _Judgement:
    start_s = time.monotonic()
    rows_sha256 = hash_json([asdict(row) for row in rows])
    _refuse_another(folder, config, rows_sha256)
    with Endpoint(config.endpoint, folder / CALLS, key=key, seed=config.seed) as endpoint:
        replies = endpoint.complete_all(requests, hooks=hooks)
        spent = endpoint.spent
    names = sorted({reply.model for reply in replies if isinstance(reply, Completion) and reply.model})
    common = {
        "created_at": datetime.now(UTC),
        "plan": config.model_dump(mode="json"),
        "seed": config.seed,
        "judge": config.endpoint.model,
        "base_url": config.endpoint.base_url,
        "judge_answered_as": tuple(names),
        "rows_sha256": rows_sha256,
        "num_rows": len(rows),
        "spent": _spent(spent, config),
        "wall_s": time.monotonic() - start_s,
    }
    return _Judgement(replies, common)


def _refuse_another(folder: Path, config: JudgeConfig, rows_sha256: str) -> None:
    """A folder holds one judgement; another one must not replace its record."""
    path = folder / RECORD
    if not path.exists():
        return
    there = JudgeRecord.load(path)
    if (there.rows_sha256, there.judge) != (rows_sha256, config.endpoint.model):
        raise DataError(
            f"{path}: is a judgement by {there.judge} over {there.num_rows} rows, another judge or other rows than "
            f"these. Choose another folder."
        )


def _keep(
    folder: Path, verdicts: Sequence[PairVerdict] | Sequence[RubricVerdict], silent: Mapping[str, int], judged: int
) -> dict[str, Any]:
    """Write every verdict, also where there is too little to sum up."""
    write_jsonl(folder / VERDICTS, [verdict.model_dump(mode="json") for verdict in verdicts])
    if not judged:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(silent.items()))
        raise DataError(
            f"{folder / VERDICTS}: not one of {len(verdicts)} rows has a verdict ({reasons}). Read there what the "
            f"judge wrote; choose another judge, or raise endpoint.parameters.max_tokens."
        )
    return {
        "judged": judged,
        "without_verdict": dict(sorted(silent.items())),
        "verdicts": VERDICTS,
        "verdicts_sha256": hash_file(folder / VERDICTS),
    }


def _save(folder: Path, common: Mapping[str, Any], **values: Any) -> JudgeRecord:
    record = JudgeRecord(**common, **values)
    record.save(folder / RECORD)
    return record


def _language(config: JudgeConfig, rows: Sequence[Pair] | Sequence[Answered]) -> Language:
    if not rows:
        raise DataError("there is nothing to judge. Give at least one row.")
    return resolve_language(config.language, (row.prompt for row in rows))


def _criteria(config: JudgeConfig, language: Language) -> tuple[Criterion, ...]:
    return config.criteria or default_criteria(language)


def _details(config: JudgeConfig, told: str) -> str:
    return f"judge:{config.endpoint.model}|prompts:{told[:12]}"


def _spent(spending: Spending, config: JudgeConfig) -> CallsSpent:
    has_prices = config.endpoint.price_input is not None
    return CallsSpent(
        calls=spending.calls,
        prompt_tokens=spending.prompt_tokens,
        completion_tokens=spending.completion_tokens,
        estimated_calls=spending.estimated_calls,
        money=spending.money if has_prices else None,
        currency=config.endpoint.currency,
    )


def _warn_of_humans(humans: Sequence[HumanRating], agreement: Sequence[object]) -> list[str]:
    if humans and not agreement:
        return [f"None of the {len(humans)} human ratings is of a row (and criterion) that the judge has rated."]
    return []
