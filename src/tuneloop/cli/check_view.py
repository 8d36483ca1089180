"""The answer of `data check` in a terminal: the verdict, then every number behind it, within 80 columns."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuneloop.data.records import FileLedger
from tuneloop.data.schema import Problem
from tuneloop.data.survey.records import DataReport, FindingGroup, Histogram, TokenProfile
from tuneloop.report import figures
from tuneloop.report.data_story import DataStory, MarkTotal, language_bars, tell_data, turn_bars
from tuneloop.report.words import Words

_SHOWN_PROBLEMS = 20
_SHOWN_FILES = 40
_SHOWN_FINDINGS = 5
_MOST_BARS = 4
_MOST_NAME = 34
_WORDS = Words("en")
_STATE_STYLES = {"fine": "bold green", "look": "bold yellow", "mend": "bold red", "empty": "bold"}


def print_report(report: DataReport, problems: Sequence[Problem], console: Console) -> None:
    """Print what was found; `problems` are the rows that are left out, of which the first are named."""
    story = tell_data(report, _WORDS)
    _print_verdict(story, console)
    _print_rows(story, problems, console)
    if report.tokens:
        _print_tokens(report.tokens, console)
    if story.rows:
        _print_shape(story, console)
    _print_marks("Personal data and secrets", story.personal, console)
    _print_marks("Texts that look wrong", story.health, console)
    if story.groups:
        _heading("Rows that should not stand together", console)
        for group in story.groups:
            _print_findings(group, story, console)
    notes = (*(f"not looked for: {text}" for text in report.skipped), *report.notes)
    if notes:
        _heading("Notes", console)
        for note in notes:
            _print(f"note: {note}", console)


def _print_verdict(story: DataStory, console: Console) -> None:
    state = Text(f"{_WORDS(f'check.{story.state}')}: ", style=_STATE_STYLES[story.state])
    console.print(state.append(story.account, style="not bold default"), soft_wrap=True)
    if story.state == "fine":
        _print(_WORDS("check.nothing_found"), console)
    concerns = Table.grid(padding=(0, 1))
    for concern in story.concerns:
        style = _STATE_STYLES[concern.level]
        concerns.add_row(Text("!" if concern.level == "mend" else "-", style=style), _text(concern.text))
    if story.concerns:
        console.print(concerns)


def _print_rows(story: DataStory, problems: Sequence[Problem], console: Console) -> None:
    files = story.report.files
    _heading("Rows", console)
    for file in files[:_SHOWN_FILES]:
        _print_account(f"{file.path} ({file.format})", file, console)
    if len(files) > _SHOWN_FILES:
        _print(f"... and {len(files) - _SHOWN_FILES} more files: --json and --html show them too.", console)
    if len(files) > 1:
        _print_account("all files", story.total, console)
    if story.total.problems:
        _print_reasons(story, problems, console)


def _print_account(name: str, file: FileLedger, console: Console) -> None:
    reasons = "".join(f" + {code} {number}" for code, number in file.problems.items())
    made = f" + {file.added} made by dividing" if file.added else ""
    account = f"read {file.read}{made} = kept {file.kept}{reasons}"
    if file.truncated:
        account += f"; {file.truncated} questions shortened"
    if file.streamed:
        account = "read while training: not counted"
    # One line each where it fits, so that a search finds it; a long name has a line to itself.
    if cell_len(f"{name}: {account}") <= console.width:
        _print(f"{name}: {account}", console)
    else:
        _print(name, console)
        _print(f"  {account}", console)


def _print_reasons(story: DataStory, problems: Sequence[Problem], console: Console) -> None:
    _heading("Left out", console)
    table = _table("rows>", "reason", "")
    for code, rows in story.total.problems.items():
        table.add_row(figures.count(rows), _text(code), _text(_WORDS.reason(code), "dim"))
    console.print(table)
    for problem in problems[:_SHOWN_PROBLEMS]:
        _print(f"{problem}", console)
    if len(problems) > _SHOWN_PROBLEMS:
        _print(f"... and {len(problems) - _SHOWN_PROBLEMS} more: --json lists them all.", console)


def _print_tokens(tokens: TokenProfile, console: Console) -> None:
    _heading(f"Tokens ({tokens.template}, cutoff {figures.count(tokens.cutoff_len)})", console)
    table = _table("", "rows>", "tokens>", "trained on>", "share>", "mean>", "median>", "p95>", "longest>")
    for name, split in (("train", tokens.train), ("held out", tokens.eval)):
        if split:
            share = figures.percent(split.target_tokens / split.tokens) if split.tokens else "-"
            counts = (split.rows, split.tokens, split.target_tokens)
            lengths = split.lengths
            shown = (lengths.mean, lengths.median, lengths.p95, lengths.longest) if lengths else ()
            table.add_row(name, *map(figures.count, counts), share, *map(figures.significant, shown))
    console.print(table)
    limit = figures.count(tokens.cutoff_len)
    if not tokens.overlong_rows:
        _print(_WORDS("check.long.none", n=limit), console)
        return
    _print(f"longer than {limit} tokens: {_WORDS.many('rows', tokens.overlong_rows)}", console)
    if tokens.overlong == "drop":
        share = tokens.lost_target_tokens / tokens.target_tokens if tokens.target_tokens else 0.0
        _print(
            f"  left out with them: {figures.count(tokens.lost_target_tokens)} of "
            f"{figures.count(tokens.target_tokens)} target tokens ({figures.percent(share)})",
            console,
        )
    else:
        _print(f"  {_WORDS(f'check.long.{tokens.overlong}')}", console)
    if tokens.cut_target_tokens:
        cut = figures.count(tokens.cut_target_tokens)
        _print(f"  if they were cut there instead: {cut} target tokens lost without a word", console)


def _print_shape(story: DataStory, console: Console) -> None:
    _heading("What the rows look like", console)
    profiles = [profile for profile in story.report.profiles if profile.rows]
    for profile in profiles[:_SHOWN_FILES]:
        _print(f"{story.names.file(profile.path)}: {_WORDS.many('rows', profile.rows)}", console)
        _print(f"  characters  {_range(profile.characters)}", console)
        _print(f"  turns       {_shares(turn_bars(profile.turns, _WORDS, _MOST_BARS))}", console)
        _print(f"  languages   {_shares(language_bars(profile.languages, _WORDS, _MOST_BARS))}", console)
    if len(profiles) > _SHOWN_FILES:
        _print(f"... and {len(profiles) - _SHOWN_FILES} more files: --html shows them too.", console)


def _range(histogram: Histogram) -> str:
    """From the shortest to the longest, with the bar that holds the middle row between them."""
    if not histogram.counts:
        return "-"
    half, seen, middle = sum(histogram.counts) / 2, 0, 0
    for middle, count in enumerate(histogram.counts):  # noqa: B007 - the last one looked at is the one
        seen += count
        if seen >= half:
            break
    low, high = histogram.edges[middle : middle + 2]
    ends = (histogram.edges[0], histogram.edges[-1])
    shortest, longest, start, end = map(figures.count, (*ends, low, high))
    return f"{shortest} to {longest}, the median between {start} and {end}"


def _shares(bars: Sequence[tuple[str, int]]) -> str:
    total = sum(rows for _, rows in bars)
    return ", ".join(f"{name} ({figures.percent(rows / total)})" for name, rows in bars) if total else "-"


def _print_marks(title: str, marks: Sequence[MarkTotal], console: Console) -> None:
    if not marks:
        return
    _heading(title, console)
    # Long file names would leave the meaning no room beside them.
    is_wide = max(cell_len(word) for mark in marks for word in ("", *mark.places.split())) > _MOST_NAME
    table = _table("rows>", "what", *(() if is_wide else ("first places (file:line)",)))
    for mark in marks:
        what, places = _text(f"{mark.code}: ").append(figures.clean(mark.meaning), style="dim"), _text(mark.places)
        if is_wide:
            table.add_row(figures.count(mark.rows), what)
            table.add_row("", places)
        else:
            table.add_row(figures.count(mark.rows), what, places)
    console.print(table)


def _print_findings(group: FindingGroup, story: DataStory, console: Console) -> None:
    key = "check.group.1" if group.count == 1 else "check.group"
    counts = _WORDS(key, count=figures.count(group.count), rows=figures.count(group.rows))
    title = Text(_WORDS(f"check.kind.{group.kind}"), style="red" if group.kind.startswith("leak_") else "yellow")
    console.print(title.append(f": {counts}", style="default"), soft_wrap=True)
    for finding in group.examples[:_SHOWN_FINDINGS]:
        close = "" if finding.similarity is None else f"  {figures.score(finding.similarity)}"
        _print(f"  {'  ~  '.join(map(story.names.row, finding.rows))}{close}", console)
    if group.count > _SHOWN_FINDINGS:
        _print(f"  ... and {figures.count(group.count - _SHOWN_FINDINGS)} more: --html shows them.", console)


def _table(*names: str) -> Table:
    """Columns without lines; a name that ends with `>` stands at the right of its column."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for name in names:
        right = name.endswith(">")
        table.add_column(name.rstrip(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def _heading(title: str, console: Console) -> None:
    console.print()
    console.print(Text(title, style="bold"))


def _print(line: str, console: Console) -> None:
    """A line as it is, however long: the terminal wraps it, a file keeps it whole."""
    console.print(_text(line), soft_wrap=True)


def _text(foreign: str, style: str = "") -> Text:
    """Text of files: never markup, and without characters that would steer the terminal."""
    return Text(figures.clean(foreign).replace("\n", " "), style=style)
