"""The judge of claims behind an endpoint: every question is kept in a log, and paid once."""

from collections.abc import Mapping
from pathlib import Path

from tuneloop.core.config import load_source, parse_config
from tuneloop.core.hooks import Hooks
from tuneloop.data.schema import Message
from tuneloop.evaluate.claims.judge import JudgeChecker
from tuneloop.generate.chat import ChatRequest, Completion
from tuneloop.generate.endpoint import Endpoint
from tuneloop.generate.endpoint_config import EndpointConfig


def load_judge(path: Path, calls: Path, environ: Mapping[str, str], hooks: Hooks) -> JudgeChecker:
    """A checker that asks the endpoint that a YAML file describes.

    Args:
        path: the fields of an `EndpointConfig`.
        calls: the log of calls; what it holds is not asked again, by whichever run.
        environ: where the key is looked for, if the file names a variable.
        hooks: "called" tells how far it is and what it costs.

    Raises:
        ConfigError: the file is not there, or not as described; or there is no key.
    """
    config = parse_config(EndpointConfig, load_source(path))
    key = config.read_key(environ)

    def ask(prompts: list[str]) -> list[str]:
        requests = [ChatRequest((Message("user", prompt),)) for prompt in prompts]
        with Endpoint(config, calls, key=key) as endpoint:
            answers = endpoint.complete_all(requests, hooks=hooks)
        return [answer.text if isinstance(answer, Completion) else "" for answer in answers]

    return JudgeChecker(ask, config.model)
