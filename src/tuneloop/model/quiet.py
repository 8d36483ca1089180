"""Keeps transformers' own progress bars and advice out of our output, inside a `with` block only."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Errors still show; bars, advice and announcements of what a later version will drop do not."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # Both transformers and peft import bitsandbytes where it is installed, which then asks for one more package.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_no_advice)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _is_no_advice(record: logging.LogRecord) -> bool:
    return "gemm_4bit_forward" not in record.getMessage()
