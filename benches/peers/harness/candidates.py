"""The programs that are compared, as data."""

from dataclasses import dataclass, field

from . import install
from .places import PEERS, venv_python

CPU, GPU = "cpu", "gpu"


@dataclass
class Candidate:
    name: str
    # Figures are compared with wgrad's on the same class of device.
    device_class: str
    # The part that must be installed, by its key in `install.PARTS`.
    part: str
    command: list
    jobs: tuple = (1, 2, 3, 4)
    # Whether --threads matters.
    is_threaded: bool = False
    # Jobs for which it can stay running and measure repeatedly: --serve.
    stays: tuple = ()
    # Set while it runs.
    failures: dict = field(default_factory=dict)
    threads: dict = field(default_factory=dict)
    device: str = ""

    @property
    def is_ours(self):
        return self.part == "wgrad"

    @property
    def is_prepared_beside_others(self):
        """GPU peers are prepared at the same time: imports and compilation take most of a minute, and
        leave CPU cores idle."""
        return bool(self.stays) and self.device_class == GPU and not self.is_ours


def python(name, part, program, *options, **more):
    command = [str(venv_python(part)), str(PEERS / "python" / program), *options]
    return Candidate(name, part=part, command=command, stays=(1, 2, 3, 4), **more)


def rust(name, part, program, *options, **more):
    command = [str(install.peer_program(part, program)), *options]
    return Candidate(name, part=part, command=command, **more)


def all_candidates():
    cpu = {"device_class": CPU, "is_threaded": True}
    gpu = {"device_class": GPU}
    cuda = ("--device", "cuda")
    found = [
        Candidate("wgrad-cpu", CPU, "wgrad", ["--device", "cpu"], stays=(1, 2, 4)),
        Candidate("wgrad-gpu", GPU, "wgrad", ["--device", "gpu"], stays=(1, 2, 4)),
        python("numpy", "numpy", "numpy_peer.py", **cpu),
        python("jax", "jax", "jax_peer.py", **cpu),
        python("torch-eager", "torch", "torch_peer.py", "--mode", "eager", **cpu),
        python(
            "torch-compile", "torch", "torch_peer.py", "--mode", "compile", jobs=(1, 2, 4), **cpu
        ),
        rust("burn-flex", "burn-flex", "peer-burn", "--device", "flex", **cpu),
        rust("candle", "candle", "peer-candle", **cpu),
        rust("burn-wgpu", "burn-wgpu", "peer-burn", "--device", "wgpu", **gpu),
        rust("burn-vulkan", "burn-vulkan", "peer-burn", "--device", "vulkan", **gpu),
        rust("burn-cuda", "burn-cuda", "peer-burn", "--device", "cuda", **gpu),
        rust("candle-cuda", "candle-cuda", "peer-candle", *cuda, **gpu),
    ]
    # Products in f32, and in TF32, in which tensor cores round factors to 10-bit mantissas. TF32 affects
    # only large products, so job 1 is left out.
    for suffix, options, jobs in (("", (), {1, 2, 3, 4}), ("-tf32", ("--tf32",), {2, 3, 4})):
        for mode in ("scan", "unrolled", "graphs"):
            # Job 3 has no loop: its modes would be the same.
            more = {"jobs": jobs if mode == "scan" else jobs - {3}, **gpu}
            name = f"jax-cuda{suffix}" if mode == "scan" else f"jax-{mode}-cuda{suffix}"
            found.append(
                python(name, "jax", "jax_peer.py", "--mode", mode, *cuda, *options, **more)
            )
        for mode in ("eager", "compile", "graphs", "compile-graphs"):
            # Compilation does not change job 3 either.
            more = {"jobs": jobs - {3} if "compile" in mode else jobs, **gpu}
            command = ("--mode", mode, *cuda, *options)
            found.append(
                python(f"torch-{mode}-cuda{suffix}", "torch", "torch_peer.py", *command, **more)
            )
    return found


def needs_cuda(candidate):
    return "cuda" in candidate.name


def on_gpu(candidates):
    """Candidates on a GPU, and wgrad on the CPU."""
    return [each for each in candidates if each.is_ours or each.device_class == GPU]


def chosen(candidates, asked):
    """The candidates with these names. A word that is not a name selects all names that begin with it.
    wgrad is always included."""
    if not asked:
        return candidates
    names = [c.name for c in candidates]
    unknown = [word for word in asked if not any(name.startswith(word) for name in names)]
    if unknown:
        raise SystemExit(f"no peer begins with {', '.join(unknown)}; there are {', '.join(names)}")
    beginnings = tuple(word for word in asked if word not in names)
    found = [name for name in names if name in asked or name.startswith(beginnings)]
    return [c for c in candidates if c.is_ours or c.name in found]
