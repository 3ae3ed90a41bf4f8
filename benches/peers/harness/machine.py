"""What a figure depends on besides the program."""

import os
import platform
import re
import subprocess
import time

from . import install
from .places import BUILT, PEERS, ROOT, environment, removed, venv_python


def output(*command, cwd=None):
    try:
        done = subprocess.run(
            [str(word) for word in command],
            text=True,
            capture_output=True,
            env=environment(),
            cwd=cwd,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def load():
    return " ".join(f"{each:.2f}" for each in os.getloadavg()) if hasattr(os, "getloadavg") else "?"


def cpu_model():
    try:
        with open("/proc/cpuinfo") as file:
            found = re.search(r"model name\s*:\s*(.+)", file.read())
    except OSError:
        found = None
    if found:
        return found[1].strip()
    return output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or "unknown"


def vector_units():
    try:
        with open("/proc/cpuinfo") as file:
            flags = set(re.search(r"flags\s*:\s*(.+)", file.read())[1].split())
    except (OSError, TypeError):
        return ""
    return " ".join(sorted(flags & {"avx", "avx2", "fma", "avx512f", "amx_tile"}))


def system():
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, AttributeError, KeyError):
        name = platform.platform()
    release = re.match(r"\d+(\.\d+)*", platform.release())
    return f"{name}, {platform.system()} {release[0] if release else ''}, {platform.machine()}"


def adapter(data):
    """Adapter and driver as wgrad describes them; None where it finds none."""
    command = [install.our_program("train_gpu"), "--device", "gpu", "--data", data]
    text = output(*command, "--steps", "1", "--eval-every", "0", "--hidden", "none")
    found = re.search(r"^device: (.+)$", text, re.MULTILINE)
    return found[1] if found else None


def is_software(description):
    return "software driver" in description


def locked(manifest, packages):
    try:
        text = (manifest.parent / "Cargo.lock").read_text()
    except OSError:
        return []
    pattern = r'name = "([^"]+)"\nversion = "([^"]+)"'
    return [f"{name} {version}" for name, version in re.findall(pattern, text) if name in packages]


def installed(part):
    wanted = {"numpy", "torch", "jax", "jaxlib"}
    listed = output(venv_python(part), "-m", "pip", "list", "--format=freeze")
    pairs = (line.split("==") for line in listed.splitlines() if "==" in line)
    return [f"{name} {version}" for name, version in pairs if name in wanted]


def facts(options, started_load):
    rust = {"burn", "burn-flex", "burn-wgpu", "candle-core", "gemm", "cubecl-wgpu"}
    versions = {part: installed(part) for part in install.PACKAGES if (BUILT / part).exists()}
    for package in ("burn", "candle"):
        manifest = PEERS / "rust" / package / "Cargo.toml"
        versions[package] = locked(manifest, rust)
    versions["wgrad"] = locked(ROOT / "Cargo.toml", {"wgrad", "wgpu", "ndarray", "gemm"})
    commit = output("git", "rev-parse", "--short", "HEAD", cwd=ROOT)
    changed = output("git", "status", "--porcelain", "--untracked-files=no", cwd=ROOT)
    query = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("command", options.command),
        ("commit", f"{commit or '?'}{', with uncommitted changes' if changed else ''}"),
        ("cpu", f"{cpu_model()} ({vector_units()})"),
        ("cores", f"{cores}"),
        ("load average", f"{started_load} before, {load()} after (1, 5, 15 minutes)"),
        ("system", system()),
        ("adapter", options.adapter or "none"),
        ("nvidia", output("nvidia-smi", *query) or "none"),
        ("rust", output("rustc", "--version")),
        ("python", platform.python_version()),
    ]
    lines += [(f"versions, {part}", ", ".join(found)) for part, found in versions.items() if found]
    if removed():
        lines.append(("not passed on", ", ".join(removed())))
    return lines
