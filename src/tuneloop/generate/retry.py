"""When a call is made again, and how long it waits before that."""

import email.utils
from datetime import UTC, datetime

from pydantic import Field

from tuneloop.core.config import Config
from tuneloop.core.seeds import derive_seed

RETRIED_STATUSES = frozenset({408, 409, 429})
"""And everything from 500 on: the same request may succeed later."""

_SEEDS = 1 << 63


class RetryConfig(Config):
    """Exponential back-off with full jitter."""

    max_retries: int = Field(default=6, ge=0, le=100)
    """Attempts after the first."""
    base_s: float = Field(default=1.0, gt=0)
    cap_s: float = Field(default=60.0, gt=0)
    """Longest wait, also where the server asks for a longer one."""


def is_retried(status: int) -> bool:
    """Whether a status says that the same request may succeed later."""
    return status in RETRIED_STATUSES or status >= 500  # noqa: PLR2004 - HTTP's own border


def backoff_s(config: RetryConfig, attempt: int, retry_after_s: float | None, *, seed: int, key: str) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 0), the same for the same seed and request.

        no word of the server:  uniform(0, min(cap, base * 2^attempt))
        Retry-After:            min(cap, Retry-After) + uniform(0, base)

    Full jitter spreads clients that failed together; after Retry-After it keeps them from coming back together.
    Source: Brooker 2015, "Exponential Backoff And Jitter" (AWS Architecture Blog); RFC 9110, 10.2.3.
    By hand: with base 1 and cap 60, attempt 3 waits between 0 and 8 seconds, attempt 9 between 0 and 60.
    """
    chance = derive_seed(seed, "backoff", key, attempt) / _SEEDS
    if retry_after_s is not None:
        return min(config.cap_s, retry_after_s) + config.base_s * chance
    return min(config.cap_s, config.base_s * 2.0 ** min(attempt, 64)) * chance


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; None where it holds neither.

    By hand: "3" is 3.0; a date of the past is 0.0; "soon" is None.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
