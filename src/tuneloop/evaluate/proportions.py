"""Intervals of answers that are right or wrong: of one share, and of the difference between two over the same rows."""

import math
from statistics import NormalDist

from tuneloop.evaluate.records import Interval

_BISECTIONS = 60
"""Halvings of a range of length 2 at most: an end is then as exact as a float can be."""


def wilson_interval(successes: float, trials: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; useful even at 0 of N, where a bootstrap says [0, 0].

        (p + z²/2N ± z * sqrt(p (1 - p) / N + z²/4N²)) / (1 + z²/N),   p = successes / N

    Source: Wilson 1927. By hand: 10 of 50 is [0.112, 0.330]; 0 of 10 is [0, 0.278].
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / trials
    width = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / width
    reach = z / width * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(low=max(0.0, centre - reach), high=min(1.0, centre + reach), level=level)


def tango_interval(gained: int, lost: int, trials: int, *, level: float = 0.95) -> Interval:
    """Tango's score interval of the difference between two proportions over the same samples.

    The ends are the differences d at which the observed one lies z standard errors away, the errors being those
    that hold if d is true:

        gained - lost - N d = ± z * sqrt(N (2 q + d (1 - d)))
        q = (sqrt(B² + 8 N lost d (1 - d)) - B) / 4N,   B = (2N - gained + lost) d - gained - lost

    `gained` samples became right, `lost` became wrong; q is the most likely share of lost ones under d. What is
    Wilson's interval to one share this is to a difference: it says something even where nothing differs.

    Source: Tango 1998, Statistics in Medicine 17, 891-908. By hand: 1 gained and 7 lost of 21 is [-0.517, -0.026];
    with nothing gained or lost the ends are ± z² / (N + z²).
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    # The lower end is the upper one of the other way round, so that swapping the sides mirrors every digit.
    return Interval(low=-_tango_end(lost, gained, trials, z), high=_tango_end(gained, lost, trials, z), level=level)


def _tango_end(gained: int, lost: int, trials: int, z: float) -> float:
    """The largest difference that the observed one lies at most z standard errors below."""
    inside, outside = (gained - lost) / trials, 1.0
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        if _tango_score(gained, lost, trials, middle) >= -z:
            inside = middle
        else:
            outside = middle
    return inside


def _tango_score(gained: int, lost: int, trials: int, difference: float) -> float:
    """How many standard errors the observed difference lies above `difference`."""
    b = (2 * trials - gained + lost) * difference - gained - lost
    root = math.sqrt(max(0.0, b**2 + 8 * trials * lost * difference * (1 - difference)))
    q = (root - b) / (4 * trials)
    distance = gained - lost - trials * difference
    variance = trials * (2 * q + difference * (1 - difference))
    if variance > 0:
        return distance / math.sqrt(variance)
    return 0.0 if distance == 0 else math.copysign(math.inf, distance)
