"""Makes the page of `--profile`: where the time of a few training steps went, as one file that opens without a network.

The same facts make a short table for the terminal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment

from tuneloop.core.store import write_text
from tuneloop.report import figures, strips
from tuneloop.report.frame import new_environment, render_page

_MOST_OPERATORS = 15
_MOST_SHAPES = 10
_LITTLE = 0.005
_MUCH_HOST, _MUCH_DATA, _MUCH_SAVING = 0.25, 0.1, 0.05
_SLOW_PRODUCTS = 0.6
_GIGA = 1e9

KINDS = {
    "matmul": "Matrix products",
    "attention": "Attention",
    "head": "Loss and head",
    "elementwise": "Element-wise, norms, sums",
    "copy": "Copies and layout",
    "optimizer": "Optimiser",
    "data": "Data preparation",
    "saving": "Saving",
    "validation": "Validation",
    "host": "Host and idle",
}
"""Kind of work -> its name, in the order of the page."""

PARTS = {
    "attention": "Attention blocks",
    "feed_forward": "Feed-forward blocks",
    "norm": "Norms",
    "adapter": "Bottleneck adapters",
    "embedding": "Embeddings",
    "head": "Head and loss",
    "other": "The rest of the network",
}
"""Part of the model -> its name."""


@dataclass(frozen=True)
class PartTime:
    """One part of the model."""

    part: str
    forward_s: float
    backward_s: float

    @property
    def total_s(self) -> float:
        """Both ways."""
        return self.forward_s + self.backward_s


@dataclass(frozen=True)
class OperatorTime:
    """Operators of one name, or products of one shape; without what they call."""

    name: str
    kind: str
    calls: int
    seconds: float
    flops: float = 0.0

    @property
    def gflops(self) -> float | None:
        """Speed of matrix products, 10^9 operations a second."""
        return self.flops / self.seconds / _GIGA if self.flops and self.seconds else None


@dataclass(frozen=True)
class Profile:
    """What was seen of a few steps in a row."""

    first_step: int
    last_step: int
    num_steps: int
    wall_s: float
    """From the end of the step before to the end of the last one, saving and validation between them included."""
    step_s: float
    """Of the steps alone."""
    tokens: int
    target_tokens: int
    flops: float
    """Useful operations of these steps (`train.flops`)."""
    memory_bytes: int
    """The highest so far."""
    device: str
    threads: int
    limit_gflops: float | None
    limit_is_measured: bool
    kinds: dict[str, float]
    """Kind of work -> seconds; `host` is what is left."""
    parts: tuple[PartTime, ...]
    operators: tuple[OperatorTime, ...]
    """The slowest first."""
    products: tuple[OperatorTime, ...]
    """Matrix products by shape, the slowest first."""

    @property
    def is_cpu(self) -> bool:
        """Else times are those of the device's kernels."""
        return self.device == "cpu"

    @property
    def utilisation(self) -> float | None:
        """Useful operations as a share of what the device can do in the time of the steps."""
        return self.flops / self.step_s / _GIGA / self.limit_gflops if self.limit_gflops else None

    @property
    def products_gflops(self) -> float | None:
        """Speed of all matrix products together, those of the head included."""
        seconds = sum(item.seconds for item in self.products)
        return sum(item.flops for item in self.products) / seconds / _GIGA if seconds else None

    def share(self, kind: str) -> float:
        """Of the wall time."""
        return self.kinds.get(kind, 0.0) / self.wall_s


def write_profile_page(path: Path, profile: Profile) -> None:
    """Write the page.

    Raises:
        DiskError: the disk is full or refuses.
    """
    write_text(path, render_profile_page(profile))


def render_profile_page(profile: Profile) -> str:
    """The page as HTML: the same profile gives the same bytes."""
    shown = [kind for kind in KINDS if profile.share(kind) >= _LITTLE]
    slowest = max((part.total_s for part in profile.parts), default=0.0)
    return render_page(
        _environment(),
        "profile.html.j2",
        ("report.css", "profile.css"),
        profile=profile,
        summary=tell(profile),
        hints=tuple(find_hints(profile)),
        kinds=sorted(shown, key=lambda kind: -profile.kinds[kind]),
        parts=[part for part in profile.parts if part.total_s >= _LITTLE * profile.wall_s],
        slowest_part=slowest,
        operators=profile.operators[:_MOST_OPERATORS],
        products=profile.products[:_MOST_SHAPES],
    )


def tell(profile: Profile) -> str:
    """One sentence: what takes most, and how well the device is used."""
    kind = max(profile.kinds, key=lambda name: profile.kinds[name])
    sentence = f"{KINDS[kind]}: {figures.percent(profile.share(kind))} of the time."
    if profile.utilisation is not None:
        limit = (
            "the speed of this CPU's matrix products" if profile.limit_is_measured else f"the peak of {profile.device}"
        )
        sentence += f" Useful work reaches {figures.percent(profile.utilisation)} of {limit}."
    return sentence


def find_hints(profile: Profile) -> Iterator[str]:
    """What looks worth a change, with what to change."""
    if profile.share("host") >= _MUCH_HOST:
        yield (
            f"{figures.percent(profile.share('host'))} is spent outside of operators: Python, dispatch, waiting. "
            "Larger micro-batches (stages.0.micro_batch_tokens) make fewer and longer operators, if memory allows."
        )
    if profile.share("data") >= _MUCH_DATA:
        yield (
            f"Data preparation takes {figures.percent(profile.share('data'))}. In a first epoch with frozen lower "
            "blocks this is what they compute for the later epochs; else look at the disk that the rows lie on."
        )
    if profile.share("saving") >= _MUCH_SAVING:
        yield (
            f"Saving takes {figures.percent(profile.share('saving'))} of these steps. Save less often "
            "(stages.0.save_minutes, save_steps, eval_steps), or to a faster disk."
        )
    speed, limit = profile.products_gflops, profile.limit_gflops
    if speed is not None and limit is not None and speed < _SLOW_PRODUCTS * limit:
        yield (
            f"Matrix products run at {figures.percent(speed / limit)} of the limit. The table of shapes says which: "
            "thin ones cannot be fast, and other programs on the machine slow all of them."
        )


def profile_table(profile: Profile) -> str:
    """The short form for a terminal."""
    lines = [f"Where the time of steps {profile.first_step} to {profile.last_step} went ({profile.wall_s:.2f} s):"]
    for kind in sorted(KINDS, key=lambda kind: -profile.kinds.get(kind, 0.0)):
        seconds = profile.kinds.get(kind, 0.0)
        if seconds >= _LITTLE * profile.wall_s:
            lines.append(f"  {KINDS[kind]:<26}{100 * profile.share(kind):5.1f} %{seconds:10.2f} s")
    if profile.products_gflops is not None:
        limit = "" if profile.limit_gflops is None else f" (limit {profile.limit_gflops:,.0f})"
        lines.append(f"  matrix products run at {profile.products_gflops:,.0f} GFLOP/s{limit}")
    if profile.utilisation is not None:
        lines.append(f"  useful work: {100 * profile.utilisation:.0f} % of the limit, the profiler's own cost included")
    return "\n".join(lines)


def _environment() -> Environment:
    names = {"kind_names": KINDS, "part_names": PARTS, "kind_bar": _kind_bar, "split_bar": _split_bar}
    return new_environment(names, {"size": figures.size, "seconds": _seconds, "rate": _rate})


def _kind_bar(profile: Profile, kinds: Sequence[str]) -> str:
    """All of the time in one bar; what is not named is its last part."""
    parts = [(KINDS[kind], profile.kinds[kind]) for kind in kinds]
    rest = profile.wall_s - sum(seconds for _, seconds in parts)
    return strips.share_bar([*parts, ("less than 0.5 % each", max(0.0, rest))], height=26)


def _split_bar(part: PartTime, slowest: float) -> str:
    """Forward and backward of one part, on the scale of the slowest."""
    if slowest <= 0:
        return ""
    forward, backward = 1000 * part.forward_s / slowest, 1000 * part.backward_s / slowest
    return (
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="part part-0" width="{forward:.1f}" height="10"/>'
        f'<rect class="part part-1" x="{forward:.1f}" width="{backward:.1f}" height="10"/></svg>'
    )


def _seconds(value: float) -> str:
    """1.23 s, 45.6 ms, 789 µs."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{figures.significant(value * factor)}{figures.NO_BREAK}{unit}"
    return f"{figures.significant(value * 1e6)}{figures.NO_BREAK}µs"


def _rate(gflops: float | None) -> str:
    """Operations a second."""
    if gflops is None:
        return "—"
    if gflops >= 10_000:  # noqa: PLR2004 - from here on the larger unit is shorter
        return f"{figures.significant(gflops / 1e3)} TFLOP/s"
    return f"{figures.significant(gflops)} GFLOP/s"
