"""What every conversation must be, whatever file it came from."""

from tuneloop.data.schema import Message, RowError


def check_messages(messages: tuple[Message, ...]) -> None:
    """Demand [system,] (user, assistant)+ with text in each; tool turns stand between two of the assistant.

    Raises:
        RowError: it is not so.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for index, message in enumerate(messages, start=len(turns) - len(messages) + 1):
        place = f"turn {index}" if index else "the system turn"
        if _lone_surrogate(message.content):
            raise RowError("lone_surrogate", f"{place} has half of a surrogate pair: it is not valid text")
    if not turns:
        raise RowError("no_turns", "the conversation has no turns")
    for index, message in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if message.role != expected:
            raise RowError("role_order", f"turn {index + 1} is by the {message.role}; the {expected} comes here")
        if not message.content.strip():
            code = "empty_answer" if message.role == "assistant" else "empty_prompt"
            raise RowError(code, f"turn {index + 1} ({message.role}) is empty")
    if len(turns) % 2:
        raise RowError("no_answer", "the conversation ends with the user: there is no answer to learn")
    if not any(message.weight > 0 for message in turns if message.role == "assistant"):
        raise RowError("no_target", "every answer has weight 0: there is nothing to learn")


def _lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
