"""Agreement of categories without gaps: Cohen's kappa of two raters, Fleiss' kappa of several."""

import numpy as np

# Shapes: N items, V categories.


def cohen_kappa(first_N: np.ndarray, second_N: np.ndarray, weights_VV: np.ndarray) -> float | None:
    """Agreement of two raters beyond what their own habits would give by chance.

        kappa = 1 - sum(w * observed) / sum(w * expected),   expected = (share of first) x (share of second)

    `weights_VV` says how bad each confusion is: 1 for any gives Cohen's kappa, squared distances the quadratically
    weighted one. None where both raters gave one and the same category to all items: 0/0.

    Source: Cohen 1960; weighted: Cohen 1968. By hand: 20 times both yes, 15 both no, 5 and 10 apart: 0.4.
    """
    size = len(weights_VV)
    observed_VV = np.bincount(first_N * size + second_N, minlength=size**2).reshape(size, size) / len(first_N)
    expected_VV = np.outer(observed_VV.sum(axis=1), observed_VV.sum(axis=0))
    expected = (weights_VV * expected_VV).sum()
    return float(1 - (weights_VV * observed_VV).sum() / expected) if expected > 0 else None


def quadratic_weights(numbers_V: np.ndarray) -> np.ndarray:
    """Squared distances of the categories' numbers, [V, V]; 1, 2, 5 are 1 and 3 apart whether or not 3 was used."""
    return (numbers_V[:, None] - numbers_V) ** 2


def fleiss_kappa(counts_NV: np.ndarray) -> float | None:
    """Agreement of m raters an item, not always the same ones, beyond chance; m is the same for every item.

        kappa = (P - Pe) / (1 - Pe)
        P = mean share of equal pairs of an item's ratings,   Pe = sum over categories of (its share of all)²

    None where all ratings are of one category: 0/0.

    Source: Fleiss 1971. By hand: two raters, one item "a a", one "a b": P = 1/2, Pe = 10/16, kappa = -1/3.
    """
    shares_V = counts_NV.sum(axis=0) / counts_NV.sum()
    if shares_V.max() == 1:
        return None
    size = counts_NV[0].sum()
    equal = (counts_NV * (counts_NV - 1)).sum(axis=1).mean() / (size * (size - 1))
    by_chance = (shares_V**2).sum()
    return float((equal - by_chance) / (1 - by_chance))
