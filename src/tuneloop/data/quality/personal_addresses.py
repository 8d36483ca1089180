"""E-mail addresses, and passwords inside web addresses."""

import re
from collections.abc import Iterator

from tuneloop.data.quality.found import Found

_MAX_LOCAL = 64  # RFC 5321, 4.5.3.1.1
_LOCAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")
# Names of files at twice the size (icon@2x.png) and of packages look like domains.
_FILE_SUFFIXES = """
    png jpg jpeg gif svg webp bmp ico css scss js jsx ts tsx json html htm xml txt csv zip gz tar whl jar exe
    yaml yml toml lock java class local localhost internal lan
"""
_NOT_TOP_LEVEL = frozenset(_FILE_SUFFIXES.split())
# The user of a service, not a person: git@github.com:owner/name.
_NOT_PEOPLE = frozenset({"git", "hg", "svn"})
_CREDENTIALS = re.compile(r"://([^\s/@:?#\"'<>(){}\[\]$]{1,128}:[^\s/@?#\"'<>(){}\[\]$]{1,128})@[A-Za-z0-9\[]")
_PLACEHOLDERS = frozenset({"password", "passwd", "pass", "pwd", "secret", "token", "xxx", "your_password", "密码"})


def find_addresses(text: str) -> list[Found]:
    """E-mail addresses and `user:password` of a text that holds an @."""
    credentials = list(_CREDENTIALS.finditer(text))
    # What stands before the @ there is a password, even where it is only an example of one.
    passwords = {match.end(1) for match in credentials}
    found = [Found("url_credentials", *match.span(1)) for match in credentials if _is_real(match[1])]
    return [*found, *(email for at, email in _find_emails(text) if at not in passwords)]


def _is_real(credentials: str) -> bool:
    password = credentials.partition(":")[2]
    return password.lower() not in _PLACEHOLDERS and len(set(password)) > 1 and not password.startswith("%")


def _find_emails(text: str) -> Iterator[tuple[int, Found]]:
    """Each address, and the place of its @."""
    at = text.find("@")
    while at >= 0:
        start = at
        while start > 0 and at - start <= _MAX_LOCAL and text[start - 1] in _LOCAL:
            start -= 1
        while start < at and text[start] in ".%+-":
            start += 1
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None and at - _MAX_LOCAL <= start < at and _is_address(text[start:at], domain[0]):
            yield at, Found("email", start, domain.end())
        at = text.find("@", at + 1)


def _is_address(local: str, domain: str) -> bool:
    return (
        not local.endswith(".")
        and ".." not in local
        and local not in _NOT_PEOPLE
        and domain.rpartition(".")[2].lower() not in _NOT_TOP_LEVEL
    )
