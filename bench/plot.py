"""Draw the kept results and put them on one page. plot.py FOLDER (run by the environment of bench/rivals).

For each NAME.json in the folder a picture NAME.png, and index.html with all tables and pictures in it.
"""

import base64
import html
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

OURS, OTHERS = "#1f6f5c", "#8a8f98"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; color: #1c2024 }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #d9dce0; text-align: right }
th:first-child, td:first-child { text-align: left }
img { max-width: 100% } small { color: #60646c } code { background: #f2f3f5; padding: 0 .25rem }
"""


def draw(result: dict[str, Any], path: Path) -> None:
    """A bar for each line: the median, and the least and the most as a whisker."""
    column = result["plot"]
    rows = [row for row in result["rows"] if row["values"][column]]
    middles = [statistics.median(row["values"][column]) for row in rows]
    least = [middle - min(row["values"][column]) for row, middle in zip(rows, middles, strict=True)]
    most = [max(row["values"][column]) - middle for row, middle in zip(rows, middles, strict=True)]
    colours = [OURS if row["name"].startswith("Snacks") or not _rivals(result) else OTHERS for row in rows]
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes.barh(
        [row["name"] for row in rows], middles, xerr=[least, most], color=colours, ecolor="#333", capsize=3
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"{column}, {result['units'][column]}")
    axes.set_title(result["title"], loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _rivals(result: dict[str, Any]) -> bool:
    return any(row["name"].startswith("Snacks") for row in result["rows"])


def _spread(values: list[float]) -> str:
    def shown(value: float) -> str:
        return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"

    if not values:
        return ""
    middle = shown(statistics.median(values))
    return (
        middle
        if len(values) == 1
        else f"{middle} <small>({shown(min(values))} to {shown(max(values))})</small>"
    )


def section(result: dict[str, Any], picture: Path) -> str:
    """A result as HTML, its picture within it."""
    heads = "".join(
        f"<th>{html.escape(name)}<br><small>{unit}</small>" for name, unit in result["units"].items()
    )
    lines = "".join(
        f"<tr><td>{html.escape(row['name'])}"
        + "".join(f"<td>{_spread(row['values'][name])}" for name in result["units"])
        for row in result["rows"]
    )
    notes = "".join(f"<li>{html.escape(note)}" for note in result["notes"])
    machine = "; ".join(f"{name}: {value}" for name, value in result["machine"].items())
    data = base64.b64encode(picture.read_bytes()).decode()
    return (
        f"<h2 id={result['suite']}>{html.escape(result['title'])}</h2>"
        f"<p><code>{html.escape(result['command'])}</code>, {result['at']}</p>"
        f"<img alt='{html.escape(result['title'])}' src='data:image/png;base64,{data}'>"
        f"<table><tr><th>median (least to most){heads}{lines}</table><ul>{notes}</ul>"
        f"<p><small>{html.escape(machine)}</small></p>"
    )


def main() -> None:
    folder = Path(sys.argv[1])
    sections = []
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_bytes())
        draw(result, path.with_suffix(".png"))
        sections.append(section(result, path.with_suffix(".png")))
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Snacks Unlimited: benchmarks</title>"
        f"<style>{STYLE}</style><h1>Benchmarks</h1>{''.join(sections)}"
    )
    (folder / "index.html").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
