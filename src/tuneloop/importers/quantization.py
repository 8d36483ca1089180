"""A base in 4 or 8 bits, under each tool's names."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from tuneloop.importers.ledger import Path_, Reading, shorten
from tuneloop.tune.config import LoraConfig, TuneConfig, quantised_refusal

_TARGET, _DOUBLE = "model.quantization", "model.double_quantization"
_FOUR, _EIGHT = 4, 8
_INT8 = (
    "is model.quantization: int8. bitsandbytes' LLM.int8() rounds the inputs of a layer as well and keeps its largest "
    "ones apart; tuneloop rounds the weights alone."
)


@dataclass(frozen=True)
class Asked:
    """What a config asks for."""

    keys: tuple[Path_, ...]
    """Those that ask."""
    bits: float
    method: str = "bnb"
    """Whose codes: bitsandbytes', or another library's."""


@dataclass(frozen=True)
class Details:
    """A tool's keys and default for the 4-bit codes."""

    format: Path_
    double: Path_
    is_double: bool
    """The tool's default."""
    others: tuple[Path_, ...] = ()
    """Keys about types of computing and storing."""

    @property
    def keys(self) -> tuple[Path_, ...]:
        """All of them."""
        return (self.format, self.double, *self.others)


def read_quantization(reading: Reading, asked: Asked | None, details: Details) -> None:
    """Carry the codes of the base over; the way of tuning must be in the recipe already.

    Raises:
        ConfigError: a number of bits or a format that the tool does not have.
    """
    if asked is None:
        for key in details.keys:
            reading.note(key, "ignored", f"has no effect in {reading.title} on a base that is not quantised.")
        return
    refusal = _refusal(reading)
    if refusal is not None:
        for key in asked.keys:
            text = f"is not carried: {refusal} The base is loaded in its own precision."
            reading.note(key, "not_carried", text)
        for key in details.keys:
            reading.note(key, "ignored", "has no effect: the base is not quantised.")
        return
    if asked.method == "bnb":
        _read_bitsandbytes(reading, asked, details)
    else:
        ours = "nf4" if asked.bits <= _FOUR else "int8"
        reading.recipe[_TARGET] = ours
        text = f"is {asked.method} in {asked.bits:g} bits, which is not there; {_TARGET}: {ours} stands in for it."
        for key in asked.keys:
            reading.note(key, "differs", text, _TARGET)
        for key in details.keys:
            reading.note(key, "ignored", f"has no effect in {reading.title} with {asked.method}.")


def _read_bitsandbytes(reading: Reading, asked: Asked, details: Details) -> None:
    if asked.bits == _EIGHT:
        reading.recipe[_TARGET] = "int8"
        for key in asked.keys:
            reading.note(key, "differs", _INT8, _TARGET)
        for key in details.keys:
            reading.note(key, "ignored", f"has no effect in {reading.title} with 8 bits.")
        return
    if asked.bits != _FOUR:
        raise reading.wrong(asked.keys[0], f"{asked.bits:g} bits are not there; bitsandbytes has 4 and 8.")
    code = reading.text(details.format) or "nf4"
    if code not in {"nf4", "fp4"}:
        raise reading.wrong(details.format, f"no '{shorten(code)}'; bitsandbytes has nf4 and fp4.")
    reading.recipe[_TARGET] = code
    for key in (*asked.keys, details.format):
        reading.note(key, "carried", f"is {_TARGET}: {code}.", _TARGET)
    double = reading.flag(details.double)
    if double is not None:
        reading.carry(details.double, _DOUBLE, double)
    elif not details.is_double:
        reading.fill(_name(details.double), _DOUBLE, value=False)
    for key in details.others:
        text = "is about types; tuneloop computes in hardware.precision, and packs codes as bitsandbytes does."
        reading.note(key, "ignored", text)


def _refusal(reading: Reading) -> str | None:
    """Why the way of tuning in the recipe cannot stand on codes."""
    fields = {key.removeprefix("tune."): value for key, value in reading.recipe.items() if key.startswith("tune.")}
    tune = TypeAdapter(TuneConfig).validate_python(fields) if "kind" in fields else LoraConfig()
    return quantised_refusal(tune)


def _name(key: Path_) -> str:
    return key if isinstance(key, str) else ".".join(map(str, key))
