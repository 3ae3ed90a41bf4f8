"""Where things are, and the environment that every measured process gets."""

import os
import pathlib
import sys

PEERS = pathlib.Path(__file__).resolve().parents[1]
ROOT = PEERS.parents[1]
BUILT = ROOT / "target" / "peers"
RECORDS = ROOT / "benches" / "record"
WINDOWS = os.name == "nt"

# Work around bugs of old OpenBLAS builds on new processors, and make current ones slow.
OPENBLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "RAYON")


def environment():
    """The caller's, without what would hold a peer back."""
    kept = dict(os.environ)
    for name in [*OPENBLAS, *(prefix + "_NUM_THREADS" for prefix in THREADS)]:
        kept.pop(name, None)
    # The compiler of PyTorch keeps its results here instead of in /tmp.
    kept["TORCHINDUCTOR_CACHE_DIR"] = str(BUILT / "inductor")
    return kept


def removed():
    """Names that `environment` leaves out here."""
    return sorted(set(os.environ) - set(environment()))


def executable(name):
    return name + ".exe" if WINDOWS else name


def venv_python(venv):
    return BUILT / venv / ("Scripts" if WINDOWS else "bin") / executable("python")


def mnist(named):
    """The directory of the data set, whether it exists or not."""
    if named or os.environ.get("MNIST_DIR"):
        return pathlib.Path(named or os.environ["MNIST_DIR"]).expanduser().resolve()
    home = pathlib.Path.home()
    if WINDOWS:
        cache = pathlib.Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        cache = home / "Library" / "Caches"
    else:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return cache / "wgrad" / "mnist"


def has_mnist(directory):
    parts = [
        f"{part}-{kind}-ubyte"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return all(
        (directory / part).exists() or (directory / (part + ".gz")).exists() for part in parts
    )
