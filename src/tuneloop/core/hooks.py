"""How a stage talks with whoever runs it: it tells what happens, and asks whether to go on."""

from dataclasses import dataclass, field

from tuneloop.core.events import Emit, be_silent
from tuneloop.core.stop import Stop


@dataclass(frozen=True)
class Hooks:
    """Handed into every stage that takes time. The default listens to nothing and never stops."""

    emit: Emit = be_silent
    stop: Stop = field(default_factory=Stop)
