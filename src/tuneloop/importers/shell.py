"""The words of a shell script, with their lines; nothing is ever run."""

import re
from dataclasses import dataclass, field

from tuneloop.core.config import Source
from tuneloop.core.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_SUM = re.compile(r"\s*(?:expr\s+)?(\d+)\s*(/|\*|\+|-)\s*(\d+)\s*")
_FLAG = re.compile(r"--?[A-Za-z][A-Za-z0-9_.-]*(=.*)?", re.DOTALL)
_ENDS = "\n;|&"


@dataclass
class Command:
    """One command: the variables set before it, and its words with their lines."""

    environment: dict[str, tuple[str, int]] = field(default_factory=dict)
    words: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class _Lexer:
    text: str
    name: str
    at: int = 0
    line: int = 1
    variables: dict[str, str] = field(default_factory=dict)

    def take(self) -> str:
        char = self.text[self.at]
        self.at += 1
        self.line += char == "\n"
        return char

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]


def read_commands(text: str, name: str) -> list[Command]:
    """Every simple command of a script. Variables set in the script are filled in, sums of whole numbers done.

    Raises:
        ConfigError: a quote or a bracket is not closed.
    """
    lexer = _Lexer(text.replace("\r\n", "\n"), name)
    commands, command = [], Command()
    while lexer.peek():
        char = lexer.peek()
        if char == "\\" and lexer.text[lexer.at + 1 : lexer.at + 2] == "\n":
            lexer.take()
            lexer.take()
        elif char in _ENDS:
            lexer.take()
            commands.append(command)
            _remember(lexer, command)
            command = Command()
        elif char.isspace():
            lexer.take()
        elif char == "#":
            while lexer.peek() and lexer.peek() != "\n":
                lexer.take()
        else:
            line = lexer.line
            word = _word(lexer)
            found = _ASSIGNMENT.fullmatch(word)
            if found and not command.words:
                command.environment[found[1]] = (found[2], line)
            else:
                command.words.append((word, line))
    commands.append(command)
    return [command for command in commands if command.words or command.environment]


def _remember(lexer: _Lexer, command: Command) -> None:
    """A line of assignments alone sets variables; before a command they are its environment."""
    if not command.words:
        lexer.variables.update({key: value for key, (value, _) in command.environment.items()})


def _word(lexer: _Lexer) -> str:
    word = ""
    while char := lexer.peek():
        if char.isspace() or char in ";|&":
            break
        lexer.take()
        match char:
            case "'":
                word += _until(lexer, "'")
            case '"':
                word += _double_quoted(lexer)
            case "\\":
                escaped = lexer.take() if lexer.peek() else ""
                word += "" if escaped == "\n" else escaped
            case "$":
                word += _dollar(lexer)
            case _:
                word += char
    return word


def _until(lexer: _Lexer, end: str) -> str:
    line, found = lexer.line, ""
    while lexer.peek():
        char = lexer.take()
        if char == end:
            return found
        found += char
    raise ConfigError(f"{lexer.name}:{line}: {end} is not closed.")


def _double_quoted(lexer: _Lexer) -> str:
    line, found = lexer.line, ""
    while lexer.peek():
        char = lexer.take()
        if char == '"':
            return found
        if char == "\\" and lexer.peek() in {'"', "\\", "$", "`", "\n"}:
            escaped = lexer.take()
            found += "" if escaped == "\n" else escaped
        else:
            found += _dollar(lexer) if char == "$" else char
    raise ConfigError(f'{lexer.name}:{line}: " is not closed.')


def _dollar(lexer: _Lexer) -> str:
    """`$name`, `${name}`, `$(expr 16 / 2)` and `$((16 / 2))`; anything else stays as it is written."""
    if lexer.peek() == "(":
        lexer.take()
        inner, depth, line = "", 1, lexer.line
        while depth:
            if not lexer.peek():
                raise ConfigError(f"{lexer.name}:{line}: $( is not closed.")
            char = lexer.take()
            depth += {"(": 1, ")": -1}.get(char, 0)
            inner += char if depth else ""
        return _sum(_filled(inner, lexer)) or f"$({inner})"
    if lexer.peek() == "{":
        lexer.take()
        name = _until(lexer, "}")
        return lexer.variables.get(name, f"${{{name}}}")
    found = _NAME.match(lexer.text, lexer.at)
    if not found:
        return "$"
    lexer.at = found.end()
    return lexer.variables.get(found[0], f"${found[0]}")


def _filled(text: str, lexer: _Lexer) -> str:
    """Variables of a sum; within `$((...))` they stand without a dollar."""
    names = r"\b([A-Za-z_]\w*)\b" if text.startswith("(") else r"\$\{?(\w+)\}?"
    return re.sub(names, lambda found: lexer.variables.get(found[1], found[0]), text.strip("()"))


def _sum(text: str) -> str:
    found = _SUM.fullmatch(text)
    if not found:
        return ""
    left, right = int(found[1]), int(found[3])
    match found[2]:
        case "/":
            return str(left // right) if right else ""
        case "*":
            return str(left * right)
        case "+":
            return str(left + right)
        case _:
            return str(left - right)


def flags_to_source(words: list[tuple[str, int]], command: Command, name: str) -> Source:
    """`--key value` pairs to the tree that a YAML file of the same config would give.

    A flag without a value is true, with several values a list; `env` holds the variables before the command.

    Raises:
        ConfigError: a flag is given twice, or a value belongs to none.
    """
    source = Source(name, {})
    if command.environment:
        source.values["env"] = {key: value for key, (value, _) in command.environment.items()}
        for key, (_, line) in command.environment.items():
            source.lines["env", key] = f"{name}:{line}"
    key, values = "", []
    for word, line in [*words, ("--", 0)]:
        if word == "--" or _FLAG.fullmatch(word):
            if key:
                source.values[key] = values[0] if len(values) == 1 else values or True
            key, equals, value = word.lstrip("-").partition("=")
            key, values = key.replace("-", "_"), [value] if equals else []
            if key in source.values:
                raise ConfigError(f"{name}:{line}: --{key} is given twice. Keep one.")
            source.lines[key,] = f"{name}:{line}"
        elif not key:
            raise ConfigError(f"{name}:{line}: '{word}' belongs to no --flag.")
        elif word:
            values.append(word)
        else:
            values.append("")
    return source
