"""What was wrong with a round, and what the next one does about it. More rules come as more files."""

from dataclasses import dataclass

from tuneloop.iterate.curves import Curves
from tuneloop.iterate.records import Finding, Prescription
from tuneloop.iterate.rules.overfitting import find_overfitting, prescribe_fewer_epochs
from tuneloop.iterate.rules.undertraining import find_undertraining, prescribe_more_epochs


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found, and the first change that may help."""

    findings: tuple[Finding, ...]
    prescription: Prescription | None


def diagnose(curves: Curves) -> Diagnosis:
    """Ask every rule; the first finding with a remedy decides what the next round changes."""
    findings: list[Finding] = []
    remedies: list[Prescription] = []
    for find, prescribe in (
        (find_overfitting, prescribe_fewer_epochs),
        (find_undertraining, prescribe_more_epochs),
    ):
        finding = find(curves)
        if finding is not None:
            findings.append(finding)
            remedy = prescribe(finding, curves)
            remedies += [remedy] if remedy is not None else []
    return Diagnosis(tuple(findings), remedies[0] if remedies else None)
