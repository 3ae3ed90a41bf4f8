"""Installs what is missing under target/peers, from package registries."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import venv

from .places import BUILT, PEERS, ROOT, environment, executable, venv_python


class Missing(Exception):
    """Why something cannot be had."""


def nvidia_driver():
    """The CUDA version that the driver offers, such as (13, 0); None without an NVIDIA GPU."""
    try:
        found = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", found.stdout)
    return (int(version[1]), int(version[2])) if found.returncode == 0 and version else None


def install(part, update=False):
    """Raises `Missing`."""
    BUILT.mkdir(parents=True, exist_ok=True)
    if part in PACKAGES:
        return make_venv(part, PACKAGES[part](), update)
    if part == "wgrad":
        return build_ours()
    return build_peer(part, update)


def jax_packages():
    driver = nvidia_driver()
    if driver is None or sys.platform != "linux":
        return ["jax"]
    return ["jax[cuda13]" if driver >= (13, 0) else "jax[cuda12]"]


PACKAGES = {
    "numpy": lambda: [],
    "torch": lambda: ["torch"],
    "jax": jax_packages,
}


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


def cargo():
    found = shutil.which("cargo")
    if found is None:
        raise Missing("no cargo: install Rust from https://rustup.rs")
    return found


def build_ours():
    print("building wgrad ...", flush=True)
    build = [cargo(), "build", "--release", "--example", "train_gpu", "--example", "matmul"]
    checked(build, "cargo build of wgrad", cwd=ROOT)
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "examples"
    for example in ("train_gpu", "matmul"):
        # A copy, so that a build during the run changes nothing.
        pathlib.Path(our_program(example)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(target / executable(example), our_program(example))


def our_program(example):
    return str(BUILT / "wgrad" / executable(example))


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
    # Kernels that are not chosen at run time may use what this processor has, too.
    flags = {"RUSTFLAGS": "-C target-cpu=native"} if feature in ("", "flex") else {}
    checked(build, f"cargo build of {part}", cwd=ROOT, flags=flags)


def checked(command, what, cwd=None, flags=None):
    env = {**environment(), **(flags or {})}
    done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True)
    if done.returncode != 0:
        raise Missing(f"{what} failed: {last_words(done.stderr or done.stdout)}")


def last_words(text):
    """The lines that say what went wrong, in one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\b(error|Error|panicked)\b", line)]
    return " / ".join((errors or lines)[-3:])[:500] or "without a word"
