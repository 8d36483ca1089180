"""One place in a text that holds personal data or a secret."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "key", "url_credentials", "email", "cn_id", "iban", "bank_card", "cn_phone", "phone", "passport_cn", "ip"
]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, and the characters that it takes."""

    kind: Kind
    start: int
    end: int
