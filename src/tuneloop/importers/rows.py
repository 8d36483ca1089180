"""What all tools say of rows: how many are held out, what is too long, whether they are streamed."""

from tuneloop.importers.ledger import Reading

_SHORTEST = 8


def read_share(reading: Reading, key: str, *, held: bool) -> None:
    """A share of the rows that is held out, or, from 1 on, their number.

    Raises:
        ConfigError: it is below 0.
    """
    share = reading.number(key)
    if share is not None and share < 0:
        raise reading.wrong(key, f"is {share:g}; give a share or a number of rows.")
    if held:
        reading.note(key, "ignored", "has no effect beside held-out files.")
    elif not share:
        text = (
            f"{reading.title} trains on every row; tuneloop measures on held-out rows and holds out data.eval_fraction:"
            " 0.1. "
        )
        text += "Set it to 0 to train on all: then nothing can be accepted."
        if reading.has(key):
            reading.note(key, "differs", f"is 0: {text}", "data.eval_fraction")
        else:
            reading.default(key, "differs", text, "data.eval_fraction")
    elif share < 1:
        fraction = min(share, 0.9)
        reading.recipe["data.eval_fraction"] = fraction
        text = (
            f"is data.eval_fraction: {fraction:g}; other rows are held out than {reading.title}'s, and training rows"
            " that stand "
        )
        reading.note(key, "differs", text + "among them are left out.", "data.eval_fraction")
    else:
        reading.recipe["data.max_eval_rows"] = int(share)
        text = f"counts rows: data.max_eval_rows is {int(share)} of the data.eval_fraction 0.1 that is held out. "
        reading.note(key, "differs", text + f"Set eval_fraction to {int(share)} / all rows.", "data.max_eval_rows")


def read_streaming(reading: Reading, key: str, *, held: bool) -> None:
    """Rows that are read while training goes on; tuneloop wants to know the end and the held-out rows."""
    if not reading.flag(key):
        return
    steps = reading.whole("max_steps")
    if held and steps and steps > 0:
        reading.carry(key, "data.streaming", value=True)
    else:
        text = "is not carried: data.streaming needs max_steps and held-out files; rows are read before training."
        reading.note(key, "not_carried", text)


def say_overlong(reading: Reading, does: str) -> None:
    """What the tool does with rows above the limit by itself."""
    text = (
        f"{reading.title} {does}; tuneloop leaves such rows out, counts them, and never cuts an answer. To keep them: "
    )
    text += "data.overlong: truncate_prompt or split_turns, or a larger data.cutoff_len."
    reading.default("(over-long rows)", "differs", text, "data.overlong")


def say_duplicates(reading: Reading) -> None:
    """No other tool leaves rows out for being doubled, or for being held out too."""
    text = f"{reading.title} keeps copies of a row, and training rows that are held out too; tuneloop leaves both out. "
    reading.default("(doubled rows)", "differs", text + "data.duplicates: keep keeps copies.", "data.duplicates")


def read_length(reading: Reading, key: str, default: int) -> None:
    """The longest row, in tokens."""
    length = reading.whole(key)
    if length is None:
        reading.fill(key, "data.cutoff_len", default)
    elif length < _SHORTEST:
        raise reading.wrong(key, f"is {length}; give at least {_SHORTEST} tokens.")
    else:
        reading.carry(key, "data.cutoff_len", length)
