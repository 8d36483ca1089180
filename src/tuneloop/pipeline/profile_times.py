"""Says of every moment that torch's profiler saw what kind of work it was, and for which part of the model."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tuneloop.report.profile_page import PARTS, OperatorTime, PartTime
from tuneloop.train.meter import DATA_LABEL, SAVING_LABEL, VALIDATION_LABEL

PART_LABEL = "tuneloop part: "
"""Begins the label of a part of the model in a trace."""

_BACKWARD = "autograd::engine::evaluate_function"
_SUBTREES = (
    (DATA_LABEL, "data"),
    (SAVING_LABEL, "saving"),
    (VALIDATION_LABEL, "validation"),
    ("Optimizer.", "optimizer"),
    ("aten::_foreach_norm", "optimizer"),
    ("_TokenNLL", "head"),
    ("aten::scaled_dot_product_attention", "attention"),
    ("aten::_scaled_dot_product", "attention"),
    ("aten::_flash_attention", "attention"),
    ("aten::_efficient_attention", "attention"),
    ("ScaledDotProduct", "attention"),
    ("torch_attn::", "attention"),
)
"""How a name begins -> kind of all that happens inside."""
_PRODUCTS = frozenset(f"aten::{name}" for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_"))
_TOKENS_SEEN_BY = frozenset({"aten::embedding", "_RmsNorm"})
_COPIES = (
    "_local_scalar_dense _reshape_alias _to_copy _unsafe_view alias as_strided as_strided_ cat clone contiguous copy_ "
    "detach detach_ embedding empty empty_like empty_strided expand expand_as fill_ flatten full gather index "
    "index_put_ index_select item lift_fresh narrow new_empty new_zeros ones ones_like permute reshape resize_ "
    "resolve_conj resolve_neg scalar_tensor select slice slice_backward split split_with_sizes squeeze stack t to "
    "transpose unbind unflatten unsqueeze unsqueeze_ view view_as zero_ zeros zeros_like"
)
_COPY_NAMES = frozenset(f"aten::{name}" for name in _COPIES.split())


@dataclass(slots=True)
class Call:
    """One call of an operator, a node of the backward pass, or a labelled piece of code."""

    name: str
    begin_ns: int
    end_ns: int
    thread: int = 0
    sequence_number: int = -1
    """Of the backward node that it made, or that it is; negative where there is none."""
    shapes: list[list[int]] = field(default_factory=list)
    kernel_ns: int = 0
    """Of the device's kernels that it started itself."""
    inside: list["Call"] = field(default_factory=list)


@dataclass(frozen=True)
class Times:
    """Sums over all calls, in seconds."""

    kinds: dict[str, float]
    parts: tuple[PartTime, ...]
    operators: tuple[OperatorTime, ...]
    products: tuple[OperatorTime, ...]


@dataclass(frozen=True)
class _Place:
    """Where in the tree of calls an event lies."""

    kind: str | None = None
    part: str | None = None
    is_backward: bool = False


@dataclass
class _Count:
    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0

    def add(self, seconds: float, flops: float) -> None:
        self.calls += 1
        self.seconds += seconds
        self.flops += flops


class _Walk:
    """One pass over all calls in the order of time: what a backward node belongs to was seen on the way forward."""

    def __init__(self, *, is_cpu: bool) -> None:
        self._is_cpu = is_cpu
        self._token_counts: set[int] = set()
        self._part_of_node: dict[int, str | None] = {}
        self.kinds: dict[str, float] = defaultdict(float)
        self.parts: dict[tuple[str, bool], float] = defaultdict(float)
        self.operators: dict[tuple[str, str], _Count] = defaultdict(_Count)
        self.products: dict[str, _Count] = defaultdict(_Count)

    def visit(self, call: Call, place: _Place) -> None:
        place = self._enter(call, place)
        seconds = self._own_seconds(call)
        kind = place.kind or _kind_of(call.name)
        product = _product_of(call) if call.name in _PRODUCTS else None
        flops = product.flops if product else 0.0
        self.kinds[kind] += seconds
        if kind in {"matmul", "attention", "elementwise", "copy", "head"}:
            part = "head" if kind == "head" else place.part or "other"
            self.parts[part, place.is_backward] += seconds
        if call.name.startswith("aten::"):
            self.operators[call.name, kind].add(seconds, flops)
        if product is not None:
            self.products[product.name(self._token_counts, is_head=kind == "head")].add(seconds, flops)
        for child in call.inside:
            self.visit(child, place)

    def _enter(self, call: Call, place: _Place) -> _Place:
        if call.name in _TOKENS_SEEN_BY:
            self._token_counts.update(shape[1] for shape in call.shapes[:2] if len(shape) in {2, 3} and shape[0] == 1)
        name, kind, part, is_backward = call.name, place.kind, place.part, place.is_backward
        if kind is None:
            kind = next((kind for start, kind in _SUBTREES if name.startswith(start)), None)
        if part is None and name.startswith(PART_LABEL):
            part = name.removeprefix(PART_LABEL)
        if name.startswith(_BACKWARD):
            is_backward, part = True, self._part_of_node.get(call.sequence_number)
            if "_TokenNLL" in name:
                kind = "head"
        elif not is_backward and call.sequence_number >= 0:
            # Several calls may carry the number of the same node; the innermost, last one made it.
            self._part_of_node[call.sequence_number] = part
        return _Place(kind, part, is_backward)

    def _own_seconds(self, call: Call) -> float:
        if self._is_cpu:
            return (call.end_ns - call.begin_ns - sum(inner.end_ns - inner.begin_ns for inner in call.inside)) / 1e9
        return call.kernel_ns / 1e9


def read_calls(events: Iterable[Any]) -> list[Call]:
    """The outermost calls of a profile, in the order of time, with all that they call inside.

    Args:
        events: as `torch.profiler.profile(...).profiler.kineto_results.events()` gives them. torch's own `events()`
            says the same, ten times slower.
    """
    from torch.autograd import DeviceType

    calls: list[Call] = []
    by_id: dict[int, Call] = {}
    kernels: list[Any] = []
    for event in events:
        if event.device_type() != DeviceType.CPU:
            if not event.is_user_annotation():
                kernels.append(event)
            continue
        thread = event.start_thread_id()
        # What the driver was asked to do is linked to the operator that asked.
        if event.is_async() or thread != event.end_thread_id() or event.linked_correlation_id() > 0:
            continue
        name = event.name()
        has_shapes = name in _PRODUCTS or name in _TOKENS_SEEN_BY
        call = Call(name, event.start_ns(), event.end_ns(), thread, event.sequence_nr())
        call.shapes = event.shapes() if has_shapes else []
        calls.append(call)
        by_id[event.correlation_id()] = call
    for kernel in kernels:
        if (call := by_id.get(kernel.linked_correlation_id())) is not None:
            call.kernel_ns += kernel.duration_ns()
    return _nest(calls)


def _nest(calls: list[Call]) -> list[Call]:
    roots: list[Call] = []
    for _, group in groupby(sorted(calls, key=lambda call: (call.thread, call.begin_ns, -call.end_ns)), _thread_of):
        opened: list[Call] = []
        for call in group:
            while opened and call.begin_ns >= opened[-1].end_ns:
                opened.pop()
            (opened[-1].inside if opened else roots).append(call)
            opened.append(call)
    return sorted(roots, key=lambda call: call.begin_ns)


def _thread_of(call: Call) -> int:
    return call.thread


def sum_times(roots: Sequence[Call], *, wall_s: float, is_cpu: bool) -> Times:
    """Sort the calls of a profile by kind of work and part of the model.

    On a CPU a call counts with its own time, without that of the calls inside it; with a card, with the time of the
    kernels that it started. What is left of `wall_s` is the host's, or idle.
    """
    if is_cpu:
        # Work of another thread passes beside the training; the training's own thread is the busiest.
        busy: Counter[int] = Counter()
        for call in roots:
            busy[call.thread] += call.end_ns - call.begin_ns
        main = max(busy, key=lambda thread: busy[thread], default=0)
        roots = [call for call in roots if call.thread == main]
    walk = _Walk(is_cpu=is_cpu)
    for call in roots:
        walk.visit(call, _Place())
    kinds = {kind: seconds for kind, seconds in walk.kinds.items() if kind != "host"}
    parts = (PartTime(part, walk.parts[part, False], walk.parts[part, True]) for part in PARTS)
    return Times(
        kinds=kinds | {"host": max(0.0, wall_s - sum(kinds.values()))},
        parts=tuple(sorted(parts, key=lambda part: -part.total_s)),
        operators=_ranked((name, kind, count) for (name, kind), count in walk.operators.items()),
        products=_ranked((name, "matmul", count) for name, count in walk.products.items()),
    )


def _ranked(items: Iterable[tuple[str, str, _Count]]) -> tuple[OperatorTime, ...]:
    found = (OperatorTime(name, kind, count.calls, count.seconds, count.flops) for name, kind, count in items)
    return tuple(sorted(found, key=lambda item: -item.seconds))


def _kind_of(name: str) -> str:
    if name in _PRODUCTS:
        return "matmul"
    if name in _COPY_NAMES:
        return "copy"
    return "elementwise" if name.startswith(("aten::", "triton", "fused")) else "host"


@dataclass(frozen=True)
class _Product:
    """A matrix product; several at once where `batch` is more than 1."""

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> float:
        """A multiplication and an addition are two."""
        return 2.0 * self.batch * self.rows * self.inner * self.columns

    def name(self, token_counts: set[int], *, is_head: bool) -> str:
        """`tokens x 576 x 1536`: rows, summed over, columns; micro-batches of different lengths have one name."""
        sizes = ["tokens" if size in token_counts else str(size) for size in (self.rows, self.inner, self.columns)]
        if is_head:
            sizes[0] = "targets"
        batch = f"{self.batch} of " if self.batch > 1 else ""
        return batch + " × ".join(sizes)  # noqa: RUF001 - the sign of multiplication


def _product_of(call: Call) -> _Product | None:
    """Read from the shapes of the two factors, which come last where there is something to add to."""
    shapes = [shape for shape in call.shapes if len(shape) > 1]
    first = 1 if "add" in call.name and len(shapes) > 2 else 0  # noqa: PLR2004 - what is added to, and the factors
    if len(shapes) < first + 2 or len(shapes[first]) != len(shapes[first + 1]):
        return None
    left, right = shapes[first : first + 2]
    return _Product(left[0] if len(left) > 2 else 1, left[-2], left[-1], right[-1])  # noqa: PLR2004
