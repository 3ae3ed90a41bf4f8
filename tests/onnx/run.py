"""Checks and runs the ONNX files of a directory: python run.py DIRECTORY

For each NAME.onnx there are rows in NAME.ROWS.x, float32, row after row. The outputs of ONNX Runtime for these rows are
written to NAME.ROWS.plain, computed without any optimization of the graph, and to NAME.ROWS.fused, computed with all
optimizations.
"""

import pathlib
import sys

import numpy
import onnx
import onnxruntime

LEVELS = {
    "plain": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "fused": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def session(path, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path):
    # The full check also compares the shapes that the file states with those that follow from its operators.
    onnx.checker.check_model(path, full_check=True)
    for level, optimizations in LEVELS.items():
        network = session(path, optimizations)
        [x], [y] = network.get_inputs(), network.get_outputs()
        assert (x.name, x.type, x.shape[0]) == ("x", "tensor(float)", "rows"), x
        assert (y.name, y.type, y.shape[0]) == ("y", "tensor(float)", "rows"), y
        for rows in path.parent.glob(f"{path.stem}.*.x"):
            features = numpy.fromfile(rows, numpy.float32).reshape(-1, x.shape[1])
            [outputs] = network.run(["y"], {"x": features})
            assert outputs.dtype == numpy.float32, outputs.dtype
            assert outputs.shape == (len(features), y.shape[1]), outputs.shape
            outputs.tofile(rows.with_suffix(f".{level}"))


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    try:
        run(path)
    except Exception as error:
        sys.exit(f"{path.name}: {type(error).__name__}: {error}")
