"""Money and tokens: what was spent, what may be spent, and the stop before more would be."""

import threading
from dataclasses import dataclass

from tuneloop.core.errors import BudgetError
from tuneloop.generate.chat import Usage
from tuneloop.generate.endpoint_config import EndpointConfig

_POLL_S = 0.1
_ROUNDING = 1e-9
"""Of the budget: what sums of floats may be off by."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What calls have cost so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_calls: int = 0
    """Calls whose tokens the server did not tell; they are estimated from characters."""
    money: float = 0.0
    unpriced_calls: int = 0
    """Calls that were made without prices, and are not in `money`."""

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, usage: Usage, cost: float | None) -> "Spending":
        """With one more call."""
        return Spending(
            calls=self.calls + 1,
            prompt_tokens=self.prompt_tokens + usage.prompt_tokens,
            completion_tokens=self.completion_tokens + usage.completion_tokens,
            estimated_calls=self.estimated_calls + usage.is_estimated,
            money=self.money + (cost or 0.0),
            unpriced_calls=self.unpriced_calls + (cost is None),
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What is set aside for a call that is under way: the most that it is expected to cost."""

    tokens: int
    money: float


class Purse:
    """Sets money aside before a call, so that calls at the same time cannot pass the budget together.

        a call starts if   spent + set aside for others + its own most <= budget

    Its most is its input, estimated from characters, and `max_tokens` of output. A call that does not fit waits for
    those under way, which mostly cost less than their most; where none is under way, the budget is used up.
    """

    def __init__(self, config: EndpointConfig, spent: Spending) -> None:
        self._config = config
        self._spent_tokens, self._spent_money = spent.tokens, spent.money
        self._aside_tokens, self._aside_money = 0, 0.0
        self._under_way = 0
        self._changed = threading.Condition()

    def take(self, usage: Usage, ending: threading.Event) -> Share | None:
        """Set aside what a call may use; None where `ending` was set while it waited.

        Raises:
            BudgetError: it does not fit, and nothing is under way that could make room.
        """
        share = Share(usage.tokens, self._config.cost(usage) or 0.0)
        with self._changed:
            while not self._fits(share):
                if self._under_way == 0:
                    raise BudgetError(self._says(share))
                if ending.is_set():
                    return None
                self._changed.wait(_POLL_S)
            self._under_way += 1
            self._aside_tokens += share.tokens
            self._aside_money += share.money
        return share

    def give_back(self, share: Share) -> None:
        """The call has ended."""
        with self._changed:
            self._under_way -= 1
            self._aside_tokens -= share.tokens
            self._aside_money = self._aside_money - share.money if self._under_way else 0.0
            self._changed.notify_all()

    def spend(self, usage: Usage, cost: float | None) -> None:
        """Count what a reply has really cost, whether it was of use or not."""
        with self._changed:
            self._spent_tokens += usage.tokens
            self._spent_money += cost or 0.0

    def _fits(self, share: Share) -> bool:
        tokens, money = self._config.budget_tokens, self._config.budget_money
        if tokens is not None and self._spent_tokens + self._aside_tokens + share.tokens > tokens:
            return False
        needed = self._spent_money + self._aside_money + share.money
        return money is None or needed <= money * (1 + _ROUNDING)

    def _says(self, share: Share) -> str:
        budgets, most = [], []
        if self._config.budget_money is not None:
            budgets.append(f"{self._spent_money:.4f} of {self._config.budget_money:g} {self._config.currency}")
            most.append(f"{share.money:.4f} {self._config.currency}")
        if self._config.budget_tokens is not None:
            budgets.append(f"{self._spent_tokens:,} of {self._config.budget_tokens:,} tokens")
            most.append(f"{share.tokens:,} tokens")
        return (
            f"the budget of {self._config.model} at {self._config.base_url} is used up: spent {' and '.join(budgets)}; "
            f"the next call may take {' and '.join(most)}. Raise budget_money or budget_tokens, and the same command "
            f"goes on: what is answered is not paid again."
        )
