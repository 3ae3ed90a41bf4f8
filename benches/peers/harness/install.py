"""Installs missing parts under target/peers, from package registries, and packs built programs."""

import json
import lzma
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv

from . import places
from .places import BUILT, PEERS, ROOT, environment, executable, venv_python


# Commit and compiler of the packed programs.
BUILD = BUILT / "build.json"
ARCHIVE = ".tar.xz"


class Missing(Exception):
    """The reason why a part cannot be installed."""


def nvidia_driver():
    """The CUDA version that the driver supports, such as (13, 0); None without an NVIDIA GPU."""
    try:
        found = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"CUDA\b[^\d\n]*(\d+)\.(\d+)", found.stdout)
    return (int(version[1]), int(version[2])) if found.returncode == 0 and version else None


def install(part, update=False):
    """Installs, builds or finds a part. Raises `Missing` if that fails."""
    BUILT.mkdir(parents=True, exist_ok=True)
    if part in PACKAGES and places.python:
        return check_package(part)
    if part in PACKAGES:
        return make_venv(part, PACKAGES[part](), update)
    if places.is_packed:
        return check_packed(part)
    if part in OURS:
        return build_ours(part)
    return build_peer(part, update)


def jax_packages():
    driver = nvidia_driver()
    if driver is None or sys.platform != "linux":
        return ["jax"]
    # JAX's packages for CUDA 13 need Python 3.11. The packages for CUDA 12 also run on newer drivers.
    is_new = driver >= (13, 0) and sys.version_info >= (3, 11)
    return ["jax[cuda13]" if is_new else "jax[cuda12]"]


PACKAGES = {
    "numpy": lambda: [],
    "torch": lambda: ["torch"],
    "jax": jax_packages,
}


# Our test programs, the most important first, without those that use no GPU (`cli`, `data`, `synthetic`).
TESTS = [
    *(("test", name) for name in ("parity", "golden", "training")),
    ("lib", "wgrad"),
    *(("test", name) for name in ("gradients", "custom_layer", "custom_loss", "device", "network")),
    *(("test", name) for name in ("checkpoint", "contract", "sanitize")),
]
# Cargo targets: the programs that are compared, and the other programs that gpu.py runs.
OURS = {
    "wgrad": [("bench", "jobs"), ("example", "train_gpu"), ("example", "matmul")],
    "wgrad-more": [*TESTS, *(("bench", name) for name in ("dispatches", "kernels", "training"))],
}


def our_program(name, kind="example"):
    return str(BUILT / "wgrad" / kind / executable(name))


def peer_program(part, name):
    return BUILT / part / "release" / executable(name)


def packed_build():
    """How the packed programs were built, as given to `pack`; None if nothing was packed."""
    return json.loads(BUILD.read_text()) if places.is_packed else None


def check_package(name):
    find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    try:
        done = subprocess.run([places.python, "-c", find], env=environment())
    except OSError as error:
        raise Missing(f"{places.python} cannot be run: {error}") from error
    if done.returncode != 0:
        raise Missing(f"{places.python} has no {name}")


def check_packed(part):
    found = BUILT / ("wgrad" if part in OURS else part)
    if not found.exists():
        raise Missing(f"{part} was not packed: pack it with --peers {part}")


def make_venv(part, packages, update):
    packages = ["numpy", *packages]
    done = BUILT / part / "installed.json"
    if done.exists() and json.loads(done.read_text()) == packages and not update:
        return
    print(f"installing {', '.join(packages)} ...", flush=True)
    if not venv_python(part).exists():
        try:
            venv.create(BUILT / part, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Missing(
                f"no virtual environment: {error} (on Debian and Ubuntu: apt-get install "
                f"python3-venv)"
            ) from error
    pip = [str(venv_python(part)), "-m", "pip", "install", "--quiet", "--upgrade", *packages]
    checked(pip, f"pip install {' '.join(packages)}")
    done.write_text(json.dumps(packages))


def pack(archive, peers, data, build):
    """Packs our programs, these peers as far as they are in Rust, and MNIST if it is there, into a .tar.xz.

    Paths in the archive are those under target/peers. Python packages are left out: they take gigabytes.
    """
    programs = {our_program(name, kind) for part in OURS for kind, name in OURS[part]}
    parts = set(OURS)
    for peer in peers:
        if peer.part not in (*OURS, *PACKAGES):
            programs.add(peer.command[0])
            parts.add(peer.part)
    for part in sorted(parts):
        install(part)
    with tempfile.TemporaryDirectory() as directory:
        there = pathlib.Path(directory)
        for program in programs:
            copy = there / pathlib.Path(program).relative_to(BUILT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(program, copy)
            if shutil.which("strip"):
                checked(["strip", str(copy)], f"strip {copy.name}")
        (there / "mnist").mkdir()
        for path in places.mnist_files(data):
            shutil.copy(path, there / "mnist")
        (there / BUILD.name).write_text(json.dumps(build))
        # The programs share most of their code. The dictionary spans all programs, so the code is stored once.
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 28}]
        with lzma.open(archive, "wb", filters=filters) as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                tar.add(there, arcname=".")


def cargo():
    found = shutil.which("cargo")
    if found is None:
        raise Missing("no cargo: install Rust from https://rustup.rs")
    return found


def build_ours(part):
    print(f"building {part} ...", flush=True)
    # `cargo build` builds examples and benches. The unit tests of a library become a program by `cargo test`.
    build = [cargo(), *(["build"] if part == "wgrad" else ["test", "--no-run"]), "--release"]
    build += ["--package", "wgrad", "--package", "wgrad-golden"]
    build += ["--message-format", "json-render-diagnostics"]
    for kind, name in OURS[part]:
        build += ["--lib"] if kind == "lib" else [f"--{kind}", name]
    messages = checked(build, "cargo build of wgrad", cwd=ROOT).splitlines()
    for message in map(json.loads, messages):
        if message.get("executable"):
            # A copy, so that a build during the run does not replace it.
            target = message["target"]
            copy = pathlib.Path(our_program(target["name"], target["kind"][0]))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(message["executable"], copy)


def build_peer(part, update):
    package, _, feature = part.partition("-")
    manifest = PEERS / "rust" / package / "Cargo.toml"
    if feature == "cuda" and shutil.which("nvcc") is None:
        raise Missing("no nvcc: its CUDA kernels are compiled by the CUDA toolkit")
    if update:
        checked([cargo(), "update", "--manifest-path", str(manifest)], "cargo update")
    if not (BUILT / part).exists():
        print(f"building {part}, which takes minutes ...", flush=True)
    build = [cargo(), "build", "--release", "--manifest-path", str(manifest)]
    build += ["--target-dir", str(BUILT / part)]
    if feature:
        build += ["--features", feature]
    # These peers do not choose their kernels at run time, so they are compiled for this processor.
    flags = {"RUSTFLAGS": "-C target-cpu=native"} if feature in ("", "flex") else {}
    checked(build, f"cargo build of {part}", cwd=ROOT, flags=flags)


def checked(command, what, cwd=None, flags=None):
    env = {**environment(), **(flags or {})}
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True)
    if done.returncode != 0:
        raise Missing(f"{what} failed: {last_words(done.stderr or done.stdout)}")
    return done.stdout


def last_words(text):
    """The last lines with an error message, joined into one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b(error|Error|ERROR|panicked)\b", line)]
    return " / ".join((errors or lines)[-3:])[:500] or "without a word"
