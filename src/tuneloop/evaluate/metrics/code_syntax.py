"""What a program's text holds beyond its words: the subtrees of its syntax, and which value flows into which."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tuneloop.core.errors import MissingError
from tuneloop.core.optional import load_optional

CodeLanguage = Literal["python", "java", "javascript", "c", "cpp", "go", "rust", "c_sharp", "php", "ruby"]
CODE_LANGUAGES: tuple[CodeLanguage, ...] = get_args(CodeLanguage)

MAX_CHARACTERS = 20_000
"""A longer text is not parsed: tree-sitter repairs broken code in time that grows with its square."""
MAX_DEPTH = 400
"""A deeper tree is not read: codebleu recurses in Python, tree-sitter's printing overflows the stack of C."""
MAX_FLOW_STEPS = 50_000
"""Data flow that takes more look-ups of tokens counts as none: codebleu walks nested loops 2 ** n times."""

Edge = tuple[str, str, tuple[str, ...]]
"""One flow: the variable, `comesFrom` or `computedFrom`, and the variables it comes from. Names: var_0, var_1, ..."""


@dataclass(frozen=True)
class Program:
    """What is compared of two programs; nothing where a text is too long or nested too deep."""

    subtrees: Counter[str] = field(default_factory=Counter)
    """How often each subtree stands in the syntax tree, as an S-expression of node types without leaves' texts."""
    flow: Counter[Edge] = field(default_factory=Counter)
    """How often each flow happens. Variables are numbered by first use, so that renaming them changes nothing."""


class CodeReader:
    """Reads programs of one language by tree-sitter's grammars and codebleu's rules of data flow. Runs nothing.

    Any text has a tree: what the grammar does not know becomes ERROR nodes.

    `as_published` takes data flow from the package's own function. Otherwise its rules are applied with two
    corrections: tokens are cut at the byte positions that tree-sitter reports (the package counts them as
    characters and misreads a line after its first letter outside ASCII), and sources are numbered in the order of
    the text (the package takes the order of a set of strings, which differs from one process to the next).
    """

    def __init__(self, language: CodeLanguage, *, as_published: bool) -> None:
        purpose = f"the metric codebleu ({language})"
        self._language = language
        self._as_published = as_published
        self._rules = load_optional("codebleu.parser", purpose=purpose, extra="code")
        self._dataflow = load_optional("codebleu.dataflow_match", purpose=purpose, extra="code")
        tree_sitter = load_optional("tree_sitter", purpose=purpose, extra="code")
        self._find_flow = self._dataflow.dfg_function[language]
        try:
            grammar = load_optional("codebleu.utils", purpose=purpose, extra="code").get_tree_sitter_language(language)
            self._parser = tree_sitter.Parser()
            self._parser.language = grammar
        except (ImportError, TypeError, ValueError) as error:
            # A grammar of another generation hands over a capsule where a number is expected.
            raise MissingError(
                f"{purpose} needs tree-sitter and its {language} grammar in versions that fit codebleu ({error}): "
                f"pip install 'tuneloop[code]'"
            ) from error

    def strip_comments(self, text: str) -> str:
        """The text without comments, in Python also without docstrings; as it is where it is not valid code."""
        if len(text) > MAX_CHARACTERS:
            return text
        try:
            return self._rules.remove_comments_and_docstrings(text, self._language)
        except Exception:  # noqa: BLE001 - any text comes here, and Python's tokenizer raises what it likes
            return text

    def read(self, text: str) -> Program:
        """Subtrees and data flow of a text from which comments were stripped."""
        if len(text) > MAX_CHARACTERS:
            return Program()
        source = text.encode("utf-8", errors="replace")
        root = self._parser.parse(source).root_node
        nodes = _inner_nodes(root)
        if nodes is None:
            return Program()
        read_flow = self._read_published_flow if self._as_published else self._read_flow
        try:
            flow = read_flow(root, source)
        except Exception:  # noqa: BLE001 - the rules meet code that their authors never saw; such code has no flow
            flow = []
        return Program(Counter(map(str, nodes)), Counter(flow))

    def _read_published_flow(self, _root: Any, source: bytes) -> list[Edge]:
        def find_flow(root: Any, tokens: dict, states: dict) -> tuple[list, dict]:
            return self._find_flow(root, _MeteredTokens(tokens), states)

        found = self._dataflow.get_data_flow(source.decode(), (self._parser, find_flow))
        return _as_edges(self._dataflow.normalize_dataflow(found))

    def _read_flow(self, root: Any, source: bytes) -> list[Edge]:
        spans = self._rules.tree_to_token_index(root)
        # One character a byte: tree-sitter counts columns in bytes.
        lines = source.decode("latin-1").split("\n")
        tokens = [self._rules.index_to_code_token(span, lines) for span in spans]
        by_span = _MeteredTokens({span: (place, tokens[place]) for place, span in enumerate(spans)})
        found, _ = self._find_flow(root, by_span, {})
        return _as_edges(self._dataflow.normalize_dataflow(_merge(found, tokens)))


class _MeteredTokens(dict):
    """Tokens by their span; every rule of data flow looks them up, so that counting look-ups bounds its work."""

    steps_left = MAX_FLOW_STEPS

    def __getitem__(self, span: Any) -> tuple[int, str]:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise OverflowError(f"data flow takes more than {MAX_FLOW_STEPS} look-ups")
        return super().__getitem__(span)


def _inner_nodes(root: Any) -> list[Any] | None:
    """The root and every node below it that has children; None where one lies deeper than `MAX_DEPTH`."""
    nodes, stack = [], [(root, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            return None
        nodes.append(node)
        stack.extend((child, depth + 1) for child in node.children if child.children)
    return nodes


def _merge(found: Sequence[tuple], tokens: Sequence[str]) -> list[tuple]:
    """One flow a token, in the order of the text, without tokens that neither have a source nor are one.

    `found` and the result hold (variable, place of its token, relation, names of sources, places of sources). Where
    several flows end in one token, the last gives the relation and each source counts once.
    """
    by_place: dict[int, list[tuple]] = {}
    for flow in found:
        by_place.setdefault(flow[1], []).append(flow)
    used = {place for flow in found for place in (*flow[4], *flow[1:2] * bool(flow[4]))}
    merged = []
    for place in sorted(used & by_place.keys()):
        flows = by_place[place]
        name, _, relation, names, _ = flows[-1]
        if len(flows) > 1:
            names = {source for flow in flows for source in flow[3]}
        sources = sorted({source for flow in flows for source in flow[4]})
        first_place = {tokens[source]: source for source in reversed(sources)}
        merged.append((name, place, relation, sorted(names, key=first_place.__getitem__), sources))
    return merged


def _as_edges(flows: Sequence[tuple[str, str, list[str]]]) -> list[Edge]:
    return [(name, relation, tuple(sources)) for name, relation, sources in flows]
