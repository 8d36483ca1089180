"""What every conversation must be, whatever file it came from."""

from tuneloop.data.schema import Message, RowError


def check_messages(messages: tuple[Message, ...], tools: str = "") -> None:
    """Demand [system,] user, assistant, user ...; a call is followed by tool turns and then the assistant, or ends it.

    Each question and each answer has text, but beside a call the text may be empty, and so may a tool's result.

    Raises:
        RowError: it is not so.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if _lone_surrogate(tools):
        raise RowError("lone_surrogate", "the list of tools has half of a surrogate pair: it is not valid text")
    for index, message in enumerate(messages, start=len(turns) - len(messages) + 1):
        place = f"turn {index}" if index else "the system turn"
        if any(_lone_surrogate(text) for text in _texts(message)):
            raise RowError("lone_surrogate", f"{place} has half of a surrogate pair: it is not valid text")
    if not turns:
        raise RowError("no_turns", "the conversation has no turns")
    before = None
    for index, message in enumerate(turns, start=1):
        _check_place(message, before, index)
        if message.role != "tool" and not (message.content.strip() or message.tool_calls):
            code = "empty_answer" if message.role == "assistant" else "empty_prompt"
            raise RowError(code, f"turn {index} ({message.role}) is empty")
        before = message
    if turns[-1].role != "assistant":
        raise RowError("no_answer", f"the conversation ends with the {turns[-1].role}: there is no answer to learn")
    if not any(message.weight > 0 for message in turns if message.role == "assistant"):
        raise RowError("no_target", "every answer has weight 0: there is nothing to learn")


def _check_place(message: Message, before: Message | None, index: int) -> None:
    """Whether a turn may stand after the one before it."""
    match before:
        case Message(role="assistant", tool_calls=calls) if calls:
            expected = ("tool",)
        case Message(role="tool"):
            expected = ("assistant", "tool")
        case Message(role="user"):
            expected = ("assistant",)
        case _:
            expected = ("user",)
    if message.role in expected:
        return
    if message.role == "tool":
        raise RowError("tool_order", f"turn {index} is by a tool; no call stands before it")
    raise RowError("role_order", f"turn {index} is by the {message.role}; the {expected[0]} comes here")


def _texts(message: Message) -> tuple[str, ...]:
    calls = (text for call in message.tool_calls for text in (call.name, call.arguments, call.id))
    return (message.content, message.name, message.tool_call_id, *calls)


def _lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
