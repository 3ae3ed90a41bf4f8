"""Table and record. A record has all data of the table and the chart."""

import re
import sys
import time

from . import places
from .places import RECORDS, ROOT

HEADER = ("what", "peer", "device", "threads", "median", "min .. max")
HEADER += ("of ours", "backward", "accuracy")


# Options with a person's private paths, which do not belong in a record.
PATHS = ("--data", "--out", "--packed", "--python", "--results")


def command(program):
    words = sys.argv[1:]
    shown = ["PATH" if i and words[i - 1] in PATHS else word for i, word in enumerate(words)]
    return " ".join([f"python3 benches/peers/{program}", *shown])


def without_paths(text, data):
    for path, name in ((data, "DIR"), (places.python, "PYTHON")):
        text = text.replace(str(path), name) if path else text
    return text.replace(str(ROOT) + "/", "")


def baseline(all_figures, figures):
    """wgrad's figure in the same job on the same class of device."""
    for other in all_figures:
        same = other.what == figures.what and other.values
        if same and other.candidate.is_ours:
            if other.candidate.device_class == figures.candidate.device_class:
                return other.median
    return None


def rows(all_figures):
    measured = [figures for figures in all_figures if figures.values]
    order = {name: at for at, name in enumerate(dict.fromkeys(f.what for f in measured))}
    measured.sort(key=lambda f: (order[f.what], f.candidate.device_class, -f.median))
    for figures in measured:
        ours = baseline(measured, figures)
        accuracy = "-" if figures.accuracy is None else f"{figures.accuracy:.4f}"
        if not figures.is_good:
            accuracy += " NOT CHECKED" if figures.accuracy is None else " TOO LOW"
        yield (
            figures.what,
            figures.candidate.name,
            figures.candidate.device or figures.candidate.device_class,
            str(figures.threads),
            f"{figures.median:.1f}",
            f"{min(figures.values):.1f} .. {max(figures.values):.1f}",
            "-" if ours is None else f"{figures.median / ours:.2f}",
            "-" if figures.behind_forward is None else f"{figures.behind_forward:.2f}",
            accuracy,
        )


def table(all_figures):
    lines = [HEADER, *rows(all_figures)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    numbers = {4, 5, 6, 7}
    text = []
    for line in lines:
        cells = (
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        )
        text.append("  ".join(cells).rstrip())
    units = "median: steps/s of jobs, GFLOP/s of the shapes of job 3; of ours: as a"
    text.append(f"({units} multiple of wgrad's median on the same class of device;")
    text.append("backward: time of backward pass and update, as a multiple of the forward pass's)")
    return "\n".join(text)


def repeats(all_figures):
    """One line per candidate and job, which `read_repeats` can parse."""
    lines = []
    for f in all_figures:
        what, values = f.what.replace(" ", ""), ",".join(f"{value:.1f}" for value in f.values)
        accuracy = "-" if f.accuracy is None else f"{f.accuracy:.4f}"
        forward = ",".join(f"{share:.3f}" for share in f.forward) or "-"
        lines.append(
            f"repeats what={what} peer={f.candidate.name} class={f.candidate.device_class} "
            f"steps={f.steps} threads={f.threads} test_accuracy={accuracy} forward={forward} "
            f"values={values}"
        )
    return "\n".join(lines)


def read_repeats(path):
    for line in path.read_text().splitlines():
        if line.startswith("repeats "):
            yield dict(pair.split("=", 1) for pair in line.split()[1:])


def slug(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(name, text):
    directory = RECORDS / slug(name)
    directory.mkdir(parents=True, exist_ok=True)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    path, number = directory / f"{date}.txt", 2
    while path.exists():
        path, number = directory / f"{date}-{number}.txt", number + 1
    path.write_text(text)
    return path
