"""The programs that are compared, as data."""

from dataclasses import dataclass, field

from .places import BUILT, PEERS, executable, venv_python

CPU, GPU = "cpu", "gpu"


@dataclass
class Candidate:
    name: str
    # Figures are compared with ours of the same class.
    device_class: str
    # What must be installed: a key of `install.PARTS`.
    part: str
    command: list
    jobs: tuple = (1, 2, 3)
    # Whether --threads matters.
    is_threaded: bool = False
    # Filled in by the run.
    failures: dict = field(default_factory=dict)
    threads: dict = field(default_factory=dict)
    device: str = ""

    @property
    def is_ours(self):
        return self.part == "wgrad"


def python(name, part, program, *options, **more):
    command = [str(venv_python(part)), str(PEERS / "python" / program), *options]
    return Candidate(name, part=part, command=command, **more)


def rust(name, part, program, *options, **more):
    command = [str(BUILT / part / "release" / executable(program)), *options]
    return Candidate(name, part=part, command=command, **more)


def all_candidates():
    cpu = {"device_class": CPU, "is_threaded": True}
    gpu = {"device_class": GPU}
    cuda = ("--device", "cuda")
    found = [
        Candidate("wgrad-cpu", CPU, "wgrad", ["--device", "cpu"]),
        Candidate("wgrad-gpu", GPU, "wgrad", ["--device", "gpu"]),
        python("numpy", "numpy", "numpy_peer.py", **cpu),
        python("jax", "jax", "jax_peer.py", **cpu),
        python("torch-eager", "torch", "torch_peer.py", "--mode", "eager", **cpu),
        python(
            "torch-compile", "torch", "torch_peer.py", "--mode", "compile", jobs=(1, 2), **cpu
        ),
        rust("burn-flex", "burn-flex", "peer-burn", "--device", "flex", **cpu),
        rust("candle", "candle", "peer-candle", **cpu),
        rust("burn-wgpu", "burn-wgpu", "peer-burn", "--device", "wgpu", **gpu),
        rust("burn-vulkan", "burn-vulkan", "peer-burn", "--device", "vulkan", **gpu),
        rust("burn-cuda", "burn-cuda", "peer-burn", "--device", "cuda", **gpu),
        rust("candle-cuda", "candle-cuda", "peer-candle", *cuda, **gpu),
    ]
    # True f32, and the 10-bit mantissas of tensor cores, which only large products notice.
    for suffix, options in (("", ()), ("-tf32", ("--tf32",))):
        found.append(
            python(f"jax-cuda{suffix}", "jax", "jax_peer.py", *cuda, *options, **gpu)
        )
        for mode in ("eager", "compile", "graphs", "compile-graphs"):
            # A matrix product alone is the same in all of them.
            jobs = (1, 2, 3) if mode == "eager" else (1, 2)
            command = ("--mode", mode, *cuda, *options)
            name = f"torch-{mode}-cuda{suffix}"
            found.append(python(name, "torch", "torch_peer.py", *command, jobs=jobs, **gpu))
    return found


def needs_cuda(candidate):
    return "cuda" in candidate.name


def chosen(candidates, prefixes):
    """Those whose name begins with one of the prefixes; ours always."""
    if not prefixes:
        return candidates
    unknown = [p for p in prefixes if not any(c.name.startswith(p) for c in candidates)]
    if unknown:
        names = ", ".join(c.name for c in candidates)
        raise SystemExit(f"no peer begins with {', '.join(unknown)}; there are {names}")
    return [c for c in candidates if c.is_ours or c.name.startswith(tuple(prefixes))]
