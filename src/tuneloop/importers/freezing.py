"""Which weights of the network itself move, by blocks or by name, under each tool's names."""

import glob

from tuneloop.importers.ledger import Reading, shorten

_BLOCKS, _PATTERNS = "tune.trainable_blocks", "tune.trainable_patterns"
_MOST_BLOCKS = 1000
_SPECIAL = set("\\[]{}()|+*?^$")


def read_blocks(reading: Reading) -> None:
    """Carry LLaMA-Factory's freeze section over.

    Raises:
        ConfigError: a number of blocks that is none.
    """
    reading.recipe["tune.kind"] = "freeze"
    key, modules_key, extra_key = "freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules"
    blocks, modules, extra = reading.whole(key), reading.words(modules_key), reading.words(extra_key)
    everything = not modules or "all" in modules
    patterns = []
    if blocks is not None and blocks < 0:
        patterns = _first_blocks(reading, key, -blocks, [] if everything else modules)
        text = "moves whole blocks, as here." if everything else f"is a part of {_PATTERNS}."
        reading.note(modules_key, "carried", text, _PATTERNS)
    else:
        reading.settle(key, _BLOCKS, blocks, 2)
        text = f"moves only {shorten(', '.join(modules))} of those blocks; tuneloop moves whole blocks. "
        text += f"Use trainable_blocks: 0 and {_PATTERNS}: one for each block, as *.31.mlp.*."
        if everything:
            text = "moves whole blocks, as here."
        reading.note(modules_key, "carried" if everything else "differs", text, _BLOCKS)
    if extra:
        more = [f"*{glob.escape(name)}*" for name in extra]
        reading.note(extra_key, "carried", f"is a part of {_PATTERNS}: {shorten(', '.join(more))}.", _PATTERNS)
        patterns += more
    if patterns:
        reading.recipe[_PATTERNS] = patterns


def _first_blocks(reading: Reading, key: str, count: int, modules: list[str]) -> list[str]:
    """LLaMA-Factory looks for `.0.mlp` anywhere in a parameter's name."""
    if count > _MOST_BLOCKS:
        raise reading.wrong(key, f"is {-count}; no model has so many blocks.")
    reading.recipe[_BLOCKS] = 0
    reading.note(key, "carried", f"moves the first {count} blocks: {_PATTERNS}, with {_BLOCKS}: 0.", _PATTERNS)
    names = [glob.escape(name) for name in modules] or [""]
    return [f"*.{block}.{name}*" for block in range(count) for name in names]


def read_unfrozen(reading: Reading, key: str) -> bool:
    """Carry Axolotl's list of what moves over, where every item can be said; whether it could.

    There a dot is a dot, `.+` is anything, a name must begin as the item says and may go on.
    """
    patterns = [_as_shell_pattern(item) for item in reading.words(key)]
    return _choose(reading, key, patterns)


def read_trainable(reading: Reading, freeze_key: str, key: str) -> bool:
    """Carry ms-swift's names of what moves over, where all else is frozen; whether that is so."""
    if reading.number(freeze_key) != 1 or not reading.words(key):
        return False
    reading.note(freeze_key, "carried", f"freezes all but trainable_parameters: {_PATTERNS}.", _PATTERNS)
    return _choose(reading, key, [f"{glob.escape(name)}*" for name in reading.words(key)])


def _choose(reading: Reading, key: str, patterns: list[str | None]) -> bool:
    if not patterns or None in patterns:
        return False
    reading.recipe |= {"tune.kind": "freeze", _BLOCKS: 0}
    text = f"is {_PATTERNS}: {shorten(patterns)}; a pattern that matches nothing is an error here."
    reading.carry(key, _PATTERNS, patterns, text)
    return True


def _as_shell_pattern(text: str) -> str | None:
    """A regular expression of Axolotl's kind as a shell pattern; None where it says more than one can.

    By hand: `^lm_head.weight$` is `lm_head.weight`, `^model.layers.3.+mlp` is `model.layers.3?*mlp*`.
    """
    body = text.removeprefix("^")
    ends = body.endswith("$")
    # What is left of `.*` at the end is a row of dots, and none of them is needed.
    body = body.removesuffix("$") if ends else body.removesuffix(".*")
    parts = body.split(".+")
    if not body or any(set(part) & _SPECIAL for part in parts):
        return None
    return "?*".join(parts) + ("" if ends else "*")
