"""A legal case or question as data: facts, issues, cited statutes, syllogisms, judgment."""

from tuneloop.core.config import Config


class LegalRecord(Config):
    """One record."""

    id: str = ""
    output: str = ""
