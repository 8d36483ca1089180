"""Passwords, access keys and private keys: known prefixes first, then values that are assigned to a telling name."""

import math
import re
from collections import Counter
from collections.abc import Iterator

from tuneloop.data.quality.found import Found

# Prefixes as their services document them; each is looked for as it stands before any pattern is tried.
_BY_PREFIX: tuple[tuple[str, str], ...] = (
    ("AKIA", r"AKIA[0-9A-Z]{16}"),  # Amazon
    ("ASIA", r"ASIA[0-9A-Z]{16}"),
    ("LTAI", r"LTAI[0-9A-Za-z]{12,26}"),  # Alibaba Cloud
    ("AKID", r"AKID[0-9A-Za-z]{32}"),  # Tencent Cloud
    ("ghp_", r"ghp_[0-9A-Za-z]{36,255}"),  # GitHub
    ("gho_", r"gho_[0-9A-Za-z]{36,255}"),
    ("ghu_", r"ghu_[0-9A-Za-z]{36,255}"),
    ("ghs_", r"ghs_[0-9A-Za-z]{36,255}"),
    ("ghr_", r"ghr_[0-9A-Za-z]{36,255}"),
    ("github_pat_", r"github_pat_[0-9A-Za-z_]{22,255}"),
    ("glpat-", r"glpat-[0-9A-Za-z_-]{20,64}"),  # GitLab
    (
        "sk-",
        r"sk-(?=[0-9A-Za-z_-]{0,40}[0-9A-Za-z]{12})[0-9A-Za-z_-]{20,255}",
    ),  # OpenAI, Anthropic (sk-ant-), DeepSeek and others
    ("k_live_", r"[rs]k_live_[0-9A-Za-z]{16,255}"),  # Stripe
    ("AIza", r"AIza[0-9A-Za-z_-]{35}"),  # Google
    ("xox", r"xox[abeoprs]-[0-9A-Za-z-]{10,255}"),  # Slack
    ("eyJ", r"eyJ[0-9A-Za-z_-]{8,4096}\.eyJ[0-9A-Za-z_-]{8,8192}\.[0-9A-Za-z_-]{8,1024}"),  # RFC 7519
    ("hf_", r"hf_[0-9A-Za-z]{30,64}"),  # Hugging Face
)
_COMPILED = tuple(
    (prefix, re.compile(rf"(?<![0-9A-Za-z_-]){pattern}(?![0-9A-Za-z])")) for prefix, pattern in _BY_PREFIX
)

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{1,48}-----")
_LINES = re.compile(r"(?:(?:\s|\\[nr])*[0-9A-Za-z+/=]{32,})*")
_MAX_BLOCK = 16_384

# Parts of the names below: a search for these in lower case is cheaper than the pattern.
_TELLING = (
    *("passw", "pwd", "secret", "token", "bearer ", "api_key", "api-key", "api key", "apikey"),
    *("access_key", "access-key", "accesskey", "密码", "口令", "密钥", "令牌"),
)
_ASSIGNED = re.compile(
    r"(?:password|passwd|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|api[_ -]?key|access[_-]?key|token|密码|口令|密钥|令牌)"
    r"[\"'`]?[ \t]{0,4}(?:[:=]|=>|是|为){1,2}[ \t]{0,4}"
    r"(?:(?P<quote>[\"'`])(?P<quoted>[^\s\"'`<>{}()]{8,128})(?P=quote)|(?P<bare>[0-9A-Za-z_+/=!@#$%^&*~.-]{8,256}))",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b[Bb]earer (?P<bare>[0-9A-Za-z_+/=~.-]{20,2048})")
_EXAMPLE = re.compile(
    r"example|your|xxxx|\*\*\*|changeme|placeholder|dummy|sample|test|demo|pass|secret|abc|123456|qwerty|"
    r"user|admin|hello|my_|random|string|token|\.\.\.",
    re.IGNORECASE,
)


# As people replace letters: pa$$w0rd.
_LETTERS = str.maketrans("$@0134578", "saoleastb")


def find_keys(text: str) -> list[Found]:
    """Keys and passwords of a text; every one of them has a digit."""
    found = [
        Found("key", match.start(), match.end())
        for prefix, pattern in _COMPILED
        if prefix in text
        for match in pattern.finditer(text)
        if _is_random(match[0], bits=2.5)
    ]
    if "-----BEGIN" in text:
        found += _find_blocks(text)
    lowered = text.lower()
    if any(part in lowered for part in _TELLING):
        found += _find_assigned(text)
    return found


def _find_blocks(text: str) -> Iterator[Found]:
    """Private keys, from the line that begins them to the one that ends them, or to where the key was cut off."""
    closing = _END.search(text)
    for begin in _BEGIN.finditer(text):
        while closing is not None and closing.start() < begin.end():
            closing = _END.search(text, closing.end())
        if closing is not None and "-----BEGIN" not in text[begin.end() : closing.start()][:_MAX_BLOCK]:
            end, body = closing.end(), text[begin.end() : closing.start()]
        else:
            lines = _LINES.match(text, begin.end())
            end, body = (lines.end(), lines[0]) if lines else (begin.end(), "")
        if len(body) <= _MAX_BLOCK and re.search("[0-9A-Za-z+/]{32}", body):
            yield Found("key", begin.start(), end)


def _find_assigned(text: str) -> Iterator[Found]:
    for pattern in (_ASSIGNED, _BEARER):
        for match in pattern.finditer(text):
            group = "bare" if match["bare"] else "quoted"
            value = match[group].rstrip(".!=") if group == "bare" else match[group]
            is_said = match[0][:2] in {"密码", "口令", "密钥", "令牌"}
            if _is_secret(value, is_bare=group == "bare" and not is_said):
                yield Found("key", match.start(group), match.start(group) + len(value))


_MIN_SECRET = 8
_MIN_BARE_SECRET = 16
_NO_WORD_IS_SO_LONG = 32


def _is_secret(value: str, *, is_bare: bool) -> bool:
    """Whether a value is drawn at random rather than a word, a variable or an example.

    Without quotes it may be an expression of a program, so that it has to be long and mixed.
    """
    if len(value) < _MIN_SECRET or not (re.search("[0-9]", value) and re.search("[A-Za-z]", value)):
        return False
    if len(value) < _NO_WORD_IS_SO_LONG and (_EXAMPLE.search(value) or _EXAMPLE.search(value.translate(_LETTERS))):
        return False
    if not is_bare:
        return _is_random(value, bits=2.75)
    is_mixed = re.search("[a-z]", value) and re.search("[A-Z]", value)
    return bool(len(value) >= _MIN_BARE_SECRET and is_mixed and re.fullmatch(r"[^.]+|eyJ.*", value)) and _is_random(
        value, bits=3.5
    )


def _is_random(value: str, *, bits: float) -> bool:
    """Whether the characters of a value carry at least so many bits each (Shannon entropy of their counts).

    "aaaaaaaa" carries 0 bits, eight different characters carry 3.
    """
    counts = Counter(value).values()
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
    return entropy >= bits and any(map(str.isdigit, value))
