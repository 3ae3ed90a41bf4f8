"""Steps per second of job 1 as an SVG of horizontal bars."""

import statistics
from html import escape

from .report import read_repeats

# The colors are readable both on white and on GitHub's dark page. The image cannot choose its colors by
# the page: it knows the system's preference, but not the theme that the reader chose on GitHub.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #6e7781 }
rect { fill: #8c959f }
text.ours { font-weight: 600; fill: #2f81f7 }
rect.ours { fill: #2f81f7 }
.title { font-weight: 600 }
"""
LEFT, RIGHT, BAR, GAP, TOP = 170, 90, 20, 8, 52
WIDTH = 720


def draw(record, path):
    bars = []
    for row in read_repeats(record):
        values = [float(value) for value in row["values"].split(",") if value]
        if row["what"] == "job1" and values:
            bars.append((statistics.median(values), row["peer"], row["class"]))
    if not bars:
        raise SystemExit(f"{record} has no figures of job 1")
    bars.sort(reverse=True)
    facts = dict(
        line.split(": ", 1) for line in record.read_text().splitlines() if ": " in line
    )
    # Leave out text in parentheses: instruction sets, drivers.
    cpu, adapter = (facts.get(name, "?").split(" (")[0] for name in ("cpu", "adapter"))
    machine = f"{cpu}, {facts.get('cores', '?')} cores"
    if any(kind == "gpu" for _, _, kind in bars):
        machine += f"; GPU programs on {adapter}"
    longest = bars[0][0]
    height = TOP + len(bars) * (BAR + GAP) + 4
    title = "Training steps per second, MNIST 784-50-10, batch 100: more is better"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text x="0" y="16" class="title">{escape(title)}</text>',
        f'<text x="0" y="36">{escape(machine)}</text>',
    ]
    for at, (rate, peer, _) in enumerate(bars):
        y = TOP + at * (BAR + GAP)
        kind = ' class="ours"' if peer.startswith("wgrad") else ""
        length = max((WIDTH - LEFT - RIGHT) * rate / longest, 1)
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end"{kind}>{escape(peer)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"{kind}/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{y + 15}"{kind}>{rate:,.0f}</text>',
        ]
    path.write_text("\n".join([*parts, "</svg>", ""]))
