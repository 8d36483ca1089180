"""What export leaves behind: the files, and the checks that they passed."""

from typing import Literal

from tuneloop.core.records import Record


class ExportRecord(Record):
    """One exported folder."""

    kind: Literal["export"] = "export"
    format: Literal["adapter", "merged"]
    folder: str
    files: dict[str, str]
    """File name -> SHA-256."""
    max_logit_difference: float
    """Largest absolute difference from the trained model's logits on the probes."""
    logit_tolerance: float
    probes: int
    """Number of conversations on which tokens and logits were compared."""
