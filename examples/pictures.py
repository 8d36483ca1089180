"""Makes the pictures of the README (docs/images): real output of the commands, photographed with Chromium.

python examples/pictures.py --model MODEL [--chromium chromium]
"""

import argparse
import contextlib
import io
import json
import re
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tuneloop.cli.data import print_rows
from tuneloop.core.store import write_text
from tuneloop.pipeline.inspection import check_files, show_files
from tuneloop.report.data_page import write_data_page

HARBOUR = Path(__file__).resolve().parent / "harbour"
IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH = 92
# The colours of the report's dark page; what is trained on stands out, the rest steps back.
THEME = TerminalTheme(
    (20, 22, 24),
    (233, 230, 225),
    [(20, 22, 24), (200, 80, 70), (70, 168, 130), (200, 160, 80)] + [(120, 150, 180)] * 3 + [(200, 200, 195)],
    [(90, 96, 102), (230, 110, 100), (116, 204, 168), (230, 190, 110)] + [(150, 180, 210)] * 3 + [(255, 255, 255)],
)


def picture_show(model: str, work: Path) -> tuple[Path, tuple[int, int]]:
    """What `tuneloop data show` prints for two rows, as an SVG, with its size."""
    shown = show_files({"train": [{"path": "train.jsonl"}]}, model, 2)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(Text("$ tuneloop data show train.jsonl --rows 2", style="bold"))
    print_rows(shown.rows, console)
    svg = console.export_svg(title="tuneloop data show", theme=THEME, font_aspect_ratio=0.6)
    # The font of the SVG would come from a network; the machine's own has the same measure.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    width, height = (round(float(size)) for size in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    page = work / "show.html"
    write_text(
        page, f'<meta charset="utf-8"><style>body{{margin:0;background:#141618}}svg{{display:block}}</style>{svg}'
    )
    return page, (width, height)


def picture_check(model: str, work: Path) -> tuple[Path, tuple[int, int]]:
    """The top of the page of `tuneloop data check` for rows with faults."""
    write_text(Path("train.jsonl"), "\n".join(with_faults()) + "\n")
    section = {"train": [{"path": "train.jsonl"}], "eval": [{"path": "heldout.jsonl"}], "cutoff_len": 512}
    result = check_files(section, model)
    page = work / "check.html"
    write_data_page(page, result.report, problems=result.problems)
    return page, (1100, 1160)


def with_faults() -> list[str]:
    """Our training rows with one fault of each common kind."""
    rows, held_out = (read_rows(HARBOUR / name) for name in ("train.jsonl", "heldout.jsonl"))
    rows[40:40] = [held_out[3], *(row | {"output": rows[0]["output"]} for row in held_out[4:6])]
    rows[60:60] = [held_out[20] | {"input": held_out[20]["input"] + " The band played on."}]
    rows[90] |= {"output": ""}
    rows[120:120] = rows[11:13]
    rows[150:150] = [rows[20] | {"output": rows[21]["output"]}]
    rows[160] |= {"input": f"{rows[160]['input']} Write to harbour.master@saltmere.example.org."}
    rows[170] |= {"output": "I'm sorry, but as an AI language model I cannot rule on this."}
    rows[200] |= {"input": " ".join(row["input"] for row in rows[:40])}
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    lines[210] = lines[210][:60]
    return lines


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def photograph(chromium: str, page: Path, size: tuple[int, int], image: Path) -> None:
    """Write the top of a page as a PNG."""
    subprocess.run(  # noqa: S603 - the browser that the caller names
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size={size[0]},{size[1]}",
            f"--screenshot={image}",
            page.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Whose tokenizer to show: a folder, or a name.")
    parser.add_argument("--chromium", default="chromium")
    options = parser.parse_args()
    model = str(Path(options.model).resolve()) if Path(options.model).exists() else options.model
    images = IMAGES
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name in ("train.jsonl", "heldout.jsonl"):
            write_text(Path(name), (HARBOUR / name).read_text(encoding="utf-8"))
        for name, make in (("data-show.png", picture_show), ("data-check.png", picture_check)):
            page, size = make(model, Path(folder))
            photograph(options.chromium, page, size, images / name)
            print(f"{images / name}: {(images / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
