"""The facts about a machine that a figure depends on."""

import ctypes
import functools
import os
import platform
import re
import subprocess
import sys
import time

from . import install, places
from .places import PEERS, ROOT, environment, removed, venv_python


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
    """Adapter and driver as wgrad describes them, or None and the reason why there is none."""
    command = [install.our_program("train_gpu"), "--device", "gpu", "--data", str(data)]
    command += ["--steps", "1", "--eval-every", "0", "--hidden", "none"]
    # If an installed driver cannot be loaded, the loader says why.
    env = {**environment(), "VK_LOADER_DEBUG": "error"}
    try:
        done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        return None, "the driver did not run one step of training within 120 s"
    found = re.search(r"^device: (.+)$", done.stdout, re.MULTILINE)
    if found:
        return found[1], None
    if sys.platform == "linux" and not has_vulkan_loader():
        return None, "no Vulkan loader: libvulkan.so.1 is missing (Debian, Ubuntu: libvulkan1)"
    return None, f"no adapter: {install.last_words(done.stderr)}"


def has_vulkan_loader():
    try:
        return bool(ctypes.CDLL("libvulkan.so.1"))
    except OSError:
        return False


def is_software(description):
    return "software driver" in description


def locked(manifest, packages):
    try:
        text = (manifest.parent / "Cargo.lock").read_text()
    except OSError:
        return []
    pattern = r'name = "([^"]+)"\nversion = "([^"]+)"'
    return [f"{name} {version}" for name, version in re.findall(pattern, text) if name in packages]


# A program that prints the versions of an interpreter's packages.
VERSIONS = """
from importlib.metadata import distributions
wanted = {"numpy", "torch", "triton", "jax", "jaxlib"}
found = {(d.metadata["Name"] or "").lower(): d.version for d in distributions()}
print(*(f"{name} {found[name]}" for name in sorted(wanted & set(found))), sep=", ")
"""


@functools.lru_cache(maxsize=None)
def installed(python):
    return output(python, "-c", VERSIONS)


def describe_build():
    """Commit and compiler of our programs."""
    commit = output("git", "rev-parse", "--short", "HEAD", cwd=ROOT)
    changed = output("git", "status", "--porcelain", "--untracked-files=no", cwd=ROOT)
    return {
        "commit": f"{commit or '?'}{', with uncommitted changes' if changed else ''}",
        "rust": output("rustc", "--version"),
    }


def facts(options, started_load):
    rust = {"burn", "burn-flex", "burn-wgpu", "candle-core", "gemm", "cubecl-wgpu"}
    if places.python:
        versions = {"python": installed(places.python)}
    else:
        there = [part for part in install.PACKAGES if venv_python(part).exists()]
        versions = {part: installed(venv_python(part)) for part in there}
    for package in ("burn", "candle"):
        manifest = PEERS / "rust" / package / "Cargo.toml"
        versions[package] = ", ".join(locked(manifest, rust))
    ours = locked(ROOT / "Cargo.toml", {"wgrad", "wgpu", "ndarray", "gemm"})
    versions["wgrad"] = ", ".join(ours)
    build = install.packed_build() or describe_build()
    query = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("command", options.command),
        ("commit", build["commit"]),
        ("cpu", f"{cpu_model()} ({vector_units()})"),
        ("cores", f"{cores}"),
        ("load average", f"{started_load} before, {load()} after (1, 5, 15 minutes)"),
        ("system", system()),
        ("adapter", options.adapter or options.no_adapter),
        ("nvidia", output("nvidia-smi", *query) or "none"),
        ("rust", build["rust"]),
        ("python", platform.python_version()),
    ]
    lines += [(f"versions, {part}", found) for part, found in versions.items() if found]
    if removed():
        lines.append(("not passed on", ", ".join(removed())))
    return lines
