"""Paths, and the environment of every measured process."""

import os
import pathlib
import shutil
import sys

PEERS = pathlib.Path(__file__).resolve().parents[1]
ROOT = PEERS.parents[1]
BUILT = ROOT / "target" / "peers"
RECORDS = ROOT / "benches" / "record"
WINDOWS = os.name == "nt"

# Whether the programs in BUILT were packed elsewhere, and the interpreter to use instead of installing one.
is_packed = False
python = None

# These work around bugs of old OpenBLAS builds on new processors, and make current builds slow.
OPENBLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "RAYON")


def use(packed, interpreter):
    """Uses packed programs and an installed interpreter, either of which may be None, instead of
    building or installing."""
    global is_packed, python
    if packed:
        BUILT.mkdir(parents=True, exist_ok=True)
        shutil.unpack_archive(packed, BUILT)
        is_packed = True
    # No `resolve`: Python recognizes a virtual environment by the path of the link.
    python = interpreter and pathlib.Path(shutil.which(interpreter) or interpreter).absolute()


def environment():
    """The caller's environment, without variables that would slow a peer down."""
    kept = dict(os.environ)
    for name in ["WGRAD_THREADS", *OPENBLAS, *(prefix + "_NUM_THREADS" for prefix in THREADS)]:
        kept.pop(name, None)
    # PyTorch's compiler caches its results here instead of in /tmp.
    kept["TORCHINDUCTOR_CACHE_DIR"] = str(BUILT / "inductor")
    return kept


def removed():
    """Names of the variables that `environment` removes on this machine."""
    return sorted(set(os.environ) - set(environment()))


def executable(name):
    return name + ".exe" if WINDOWS else name


def venv_python(venv):
    return python or BUILT / venv / ("Scripts" if WINDOWS else "bin") / executable("python")


def mnist(named):
    """The directory of the data set, whether it exists or not."""
    if named or os.environ.get("MNIST_DIR"):
        return pathlib.Path(named or os.environ["MNIST_DIR"]).expanduser().resolve()
    if has_mnist(BUILT / "mnist"):
        return BUILT / "mnist"
    home = pathlib.Path.home()
    if WINDOWS:
        cache = pathlib.Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        cache = home / "Library" / "Caches"
    else:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return cache / "wgrad" / "mnist"


def mnist_files(directory):
    """The existing files of MNIST's four, plain or compressed."""
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            for ending in ("", ".gz"):
                path = directory / f"{part}-{kind}-ubyte{ending}"
                if path.exists():
                    yield path
                    break


def has_mnist(directory):
    return len(list(mnist_files(directory))) == 4
