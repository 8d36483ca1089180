"""Signatures that agree as often as their texts are similar, and the bands that bring similar texts together."""

from dataclasses import dataclass

import numpy as np

from tuneloop.data.quality.shingles import mix, shingle_hashes

NUM_HASHES = 128
"""Numbers in a signature: its estimate of a similarity of 0.8 has a standard error of 0.035."""
_MIN_RECALL = 0.995
_MAX_ROWS = 8


@dataclass(frozen=True, slots=True)
class Banding:
    """Two rows are compared if all numbers of one band agree: with chance 1 - (1 - similarity^rows)^bands.

    Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4.
    """

    rows: int
    bands: int

    def recall(self, similarity: float) -> float:
        """The chance that two rows of this similarity are compared."""
        return 1 - (1 - similarity**self.rows) ** self.bands


def banding_for(threshold: float) -> Banding:
    """The longest bands, thus the fewest comparisons, that lose at most 1 pair in 200 at the threshold.

    At 0.8: 21 bands of 6, which compare 99.8 % of pairs at 0.8 and 28 % at 0.5.
    """
    plans = [Banding(rows, NUM_HASHES // rows) for rows in range(_MAX_ROWS, 0, -1)]
    return next((plan for plan in plans if plan.recall(threshold) >= _MIN_RECALL), plans[-1])


def signatures(normal: list[str], seed: int) -> np.ndarray:
    """MinHash signatures of normalised texts, uint16 [N, 128]: the share of equal numbers estimates the Jaccard.

    Rensa computes them by fast similarity sketching (Dahlgaard, Knudsen, Thorup 2017, arXiv:1704.04370). Half of
    each number is enough: two that differ look equal once in 65,536.
    """
    from rensa import RMinHash  # pyrefly: ignore[missing-module-attribute]  compiled, without stubs

    hashes, starts = shingle_hashes(normal)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, starts.astype(np.uint64), NUM_HASHES, seed)
    values = np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(normal), NUM_HASHES)
    return (values ^ (values >> np.uint32(16))).astype(np.uint16)


def band_keys(signatures_NH: np.ndarray, plan: Banding, band: int) -> np.ndarray:
    """One hash a row of the numbers in a band, uint64 [N]; bands are counted round, so band `bands` is band 0."""
    first = band % plan.bands * plan.rows
    keys = np.full(len(signatures_NH), band % plan.bands, dtype=np.uint64)
    for column in range(first, first + plan.rows):
        keys = mix((keys << np.uint64(16)) ^ (keys >> np.uint64(48)) ^ signatures_NH[:, column].astype(np.uint64))
    return keys


def estimates(left_PH: np.ndarray, right_PH: np.ndarray) -> np.ndarray:
    """The similarity of pairs of texts as their signatures tell it, float64 [P]."""
    return (left_PH == right_PH).mean(axis=1)


def least_estimate(threshold: float) -> float:
    """The estimate below which a pair is not worth an exact comparison: 3.5 standard errors below the threshold."""
    return threshold - 3.5 * (threshold * (1 - threshold) / NUM_HASHES) ** 0.5
