"""What a refusal of the server means: wait and ask again, leave this request out, or change the config."""

from datetime import UTC, datetime

from tuneloop.core.errors import ConfigError
from tuneloop.generate.chat import CallError
from tuneloop.generate.endpoint_config import EndpointConfig
from tuneloop.generate.reply import error_code, error_message
from tuneloop.generate.retry import is_retried, parse_retry_after
from tuneloop.generate.transport import RawReply

_OK = 200
_ABOUT_THE_REQUEST = frozenset({400, 413, 422})
_NO_CREDIT = "insufficient_quota"


def check_status(reply: RawReply, config: EndpointConfig) -> None:
    """Let status 200 through.

    Raises:
        CallError: the same request may succeed later (408, 409, 429, 5xx), or this request alone is refused
            (400, 413, 422).
        ConfigError: no request would succeed.
    """
    status = reply.status
    if status == _OK:
        return
    said = error_message(reply.content)
    if status in _ABOUT_THE_REQUEST:
        raise CallError("rejected", f"status {status}: {said}", status=status, is_final=True)
    if is_retried(status) and error_code(reply.content) != _NO_CREDIT:
        wait_s = parse_retry_after(reply.headers.get("retry-after"), datetime.now(UTC))
        raise CallError("status", f"status {status}: {said}", status=status, retry_after_s=wait_s)
    raise ConfigError(f"{config.url}: status {status}, the server says: {said}. {_what_to_do(reply, config)}")


def _what_to_do(reply: RawReply, config: EndpointConfig) -> str:
    match reply.status:
        case 401 | 403:
            place = config.api_key_env or config.api_key_file
            if place is None:
                return "The config names no key: set api_key_env or api_key_file."
            return f"Check the key in {place}, and that it may use the model {config.model}."
        case 402 | 429:
            return "The account has no credit left. The same command goes on when it has."
        case 404:
            return f"Check base_url (it mostly ends with /v1) and the name of the model, {config.model}."
        case status if 300 <= status < 400:  # noqa: PLR2004 - HTTP's own borders
            place = reply.headers.get("location", "another place").partition("?")[0]
            return f"It points to {place}; redirects are not followed. If that is right, set base_url so."
        case _:
            return "Check base_url: this does not look like an OpenAI-compatible endpoint."
