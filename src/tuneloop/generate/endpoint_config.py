"""Which endpoint is asked, how hard, and how much may be spent. The key itself is never in here."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from tuneloop.core.config import Config
from tuneloop.core.errors import ConfigError
from tuneloop.generate.chat import ChatParameters, Usage
from tuneloop.generate.retry import RetryConfig

_PATH = "/chat/completions"
_LONGEST_KEY = 10_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EndpointConfig(Config):
    """A server that speaks OpenAI's chat completions: OpenAI, DeepSeek, vLLM, llama.cpp, Ollama ..."""

    model_config = ConfigDict(hide_input_in_errors=True)

    base_url: str
    """The part before /chat/completions, as in https://api.openai.com/v1 or http://127.0.0.1:8000/v1."""
    model: str = Field(min_length=1)
    api_key_env: str | None = None
    """The environment variable that holds the key."""
    api_key_file: Path | None = None
    """Or the file that holds it, alone."""
    parameters: ChatParameters = ChatParameters()
    concurrency: int = Field(default=8, ge=1, le=512)
    """Calls at the same time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Retries count too."""
    timeout_s: float = Field(default=120.0, gt=0)
    """For one attempt, from the connection to the last byte."""
    retry: RetryConfig = RetryConfig()
    give_up_after: int = Field(default=10, ge=1)
    """Calls in a row without an answer, after which the endpoint counts as down and the run stops."""
    proxy: str | None = None
    """An HTTP proxy. Those of the environment (HTTPS_PROXY ...) are not used."""
    price_input: float | None = Field(default=None, ge=0)
    """Of a million tokens of input."""
    price_output: float | None = Field(default=None, ge=0)
    """Of a million tokens of output, in the same currency."""
    currency: str = "USD"
    """Only printed."""
    budget_money: float | None = Field(default=None, gt=0)
    """Spend no more than this, all runs over one log together; needs both prices."""
    budget_tokens: int | None = Field(default=None, gt=0)
    """The same in tokens, input and output together."""

    @field_validator("base_url")
    @classmethod
    def _is_base_url(cls, url: str) -> str:
        _check_url(url)
        if urlsplit(url).path.rstrip("/").endswith(_PATH):
            raise ValueError(f"give the part before {_PATH}")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_variable(cls, name: str | None) -> str | None:
        # An error of pydantic shows the value that it refuses, and this one may well be the key.
        if name is not None and not _VARIABLE.fullmatch(name):
            raise ConfigError("api_key_env is not the name of an environment variable. Give the name, not the key.")
        return name

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, url: str | None) -> str | None:
        if url is not None:
            _check_url(url)
        return url

    @model_validator(mode="after")
    def _fits(self) -> "EndpointConfig":
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("give api_key_env or api_key_file, not both")
        if (self.price_input is None) != (self.price_output is None):
            raise ValueError("give price_input and price_output, or neither")
        if self.budget_money is not None and self.price_input is None:
            raise ValueError("budget_money needs price_input and price_output")
        return self

    @property
    def url(self) -> str:
        """Where requests are posted."""
        return self.base_url + _PATH

    def cost(self, usage: Usage) -> float | None:
        """What so many tokens cost; None without prices.

        By hand: 2,000 tokens in and 500 out at 0.5 and 1.5 a million cost 0.001 + 0.00075.
        """
        if self.price_input is None or self.price_output is None:
            return None
        return (usage.prompt_tokens * self.price_input + usage.completion_tokens * self.price_output) / 1e6

    def read_key(self, environ: Mapping[str, str]) -> SecretStr | None:
        """The key from where the config says; None where it names no place.

        Raises:
            ConfigError: the variable or the file is missing or empty, or holds what cannot be a key.
        """
        if self.api_key_env is not None:
            where = f"api_key_env: the environment variable {self.api_key_env}"
            if self.api_key_env not in environ:
                raise ConfigError(f"{where} is not set. Export it, or name another.")
            key = environ[self.api_key_env]
        elif self.api_key_file is not None:
            where = f"api_key_file: {self.api_key_file}"
            try:
                with self.api_key_file.open(encoding="utf-8") as file:
                    key = file.read(_LONGEST_KEY)
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise ConfigError(f"{where} cannot be read: {reason}. Name a file that holds the key alone.") from None
        else:
            return None
        key = key.strip()
        if not key or not all("!" <= character <= "~" for character in key):
            raise ConfigError(f"{where} holds no key: a key is one word of ASCII characters.")
        return SecretStr(key)


def _check_url(url: str) -> None:
    # Asked by hand and first: an error of pydantic shows the value that it refuses, and these may be secrets.
    if "@" in url:
        raise ConfigError("a URL of the endpoint holds a user name or a password. Use api_key_env or api_key_file.")
    if "?" in url or "#" in url:
        raise ConfigError("a URL of the endpoint has a part that begins with '?' or '#'. Leave it out.")
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not all("!" <= character <= "~" for character in url):
        raise ValueError("write a URL of ASCII characters that begins with http:// or https:// and names a host")
