#!/usr/bin/env python3
"""Does a quantized ONNX model hold what it should, and does ONNX Runtime compute from it what its codes and scales say?

    python3 tests/onnx_runtime.py SOURCE.onnx QUANTIZED.onnx [SOURCE.onnx QUANTIZED.onnx ...] [--tolerance X] [--vocab N]

SOURCE is the float model that QUANTIZED was made from. QUANTIZED is put to onnx.checker and to the rules below, then run
next to its float twin: the same graph with every quantized weight replaced by the numbers that it stands for. The outputs
must agree within rounding. How close they are to SOURCE's is told, not judged.

Prints one line of JSON a pair. Exit code: 0 all well, 1 a rule is broken, 2 a model does not load or run; of several pairs
the largest.
Needs numpy, onnx and onnxruntime.
"""

import argparse
import collections
import json
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import _get_all_tensors as all_tensors
from onnx.external_data_helper import load_external_data_for_model
from onnx.reference import ReferenceEvaluator

FOLDED = ("Constant", "Reshape", "Transpose", "Identity", "Cast", "DequantizeLinear")
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


class Scope:
    """A graph, and the constants that its nodes can name: its own and those of the graphs around it."""

    def __init__(self, graph, outer=None):
        self.graph, self.outer = graph, outer
        self.tensors = {t.name: t for t in graph.initializer}
        self.producers = {o: n for n in graph.node for o in n.output}

    def constant(self, name):
        """The array of that name, through what a runtime folds; None if it is no constant."""
        node = self.producers.get(name)
        if name in self.tensors:
            return numpy_helper.to_array(self.tensors[name])
        if node is None:
            return self.outer.constant(name) if self.outer and name else None
        if node.op_type in FOLDED:
            feed = {i: self.constant(i) for i in node.input if i}
            if all(a is not None for a in feed.values()):
                return ReferenceEvaluator(node).run(None, feed)[0]
        return None

    def inputs(self, node, count):
        """The constants among the first `count` inputs; None for the others and for those left out."""
        return [self.constant(i) for i in [*node.input, *[""] * count][:count]]


def attributes(node):
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def scopes(graph, outer=None):
    """That graph and all those inside its nodes."""
    scope = Scope(graph, outer)
    yield scope
    for attribute in (a for n in graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH):
        yield from scopes(attribute.g, scope)


# What quantized weights stand for.


def unpack(array, bits):
    """Codes of `bits` bits from bytes, the lowest bits first; the last axis grows."""
    parts = [(array >> shift) & (2**bits - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, -1).reshape(*array.shape[:-1], -1)


def values(codes, scales, zero_points, bits, block):
    """(code - zero point) * scale in f32, blocks along the last axis; zero points are the middle if there are none."""
    codes = unpack(codes, bits)
    zero_points = np.full(scales.shape, 2 ** (bits - 1)) if zero_points is None else unpack(zero_points, bits)
    spread = lambda a: np.repeat(a[..., : scales.shape[-1]].astype(np.float32), block, -1)[..., : codes.shape[-1]]
    return (codes.astype(np.float32) - spread(zero_points)) * spread(scales)


def matrix(scope, node):
    """The weight [K, N] of a MatMulNBits, as f32."""
    a = attributes(node)
    rows = [s if s is None else s.reshape(a["N"], -1) for s in scope.inputs(node, 4)[1:]]
    return values(*rows, a.get("bits", 4), a["block_size"])[:, : a["K"]].T


def table(scope, node):
    """The table of a GatherBlockQuantized, in the type of its scales."""
    a = attributes(node)
    codes, _, scales, zero_points = scope.inputs(node, 4)
    return values(codes, scales, zero_points, a.get("bits", 4), a.get("block_size", 128)).astype(scales.dtype)


def make_twin(model):
    """Replaces every quantized weight by its float numbers, in place."""
    for scope in list(scopes(model.graph)):
        graph, nodes = scope.graph, []

        def add(op, inputs, output, **attributes):
            nodes.append(helper.make_node(op, inputs, [output], **attributes))
            return output

        def initializer(array):
            name = f"twin_{graph.name}_{len(nodes)}"
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
            return name

        for node in graph.node:
            out = node.output[0]
            if node.op_type == "GatherBlockQuantized":
                add("Gather", [initializer(table(scope, node)), node.input[1]], out)
            elif node.op_type == "MatMulNBits":  # which goes from any type through f32 and back
                wide = lambda name: add("Cast", [name], f"{out}_wide_{name}", to=TensorProto.FLOAT)
                y = add("MatMul", [wide(node.input[0]), initializer(matrix(scope, node))], f"{out}_product")
                if len(node.input) > 5:
                    y = add("Add", [y, wide(node.input[5])], f"{out}_sum")
                kind = helper.np_dtype_to_tensor_dtype(scope.constant(node.input[2]).dtype)
                add("Cast", [y], out, to=kind)
            elif node.op_type == "DequantizeLinear" and (array := scope.constant(out)) is not None:
                add("Identity", [initializer(array)], out)
            else:
                nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
        del graph.node[:]
        graph.node.extend(nodes)


# Rules: each yields what is wrong, as text.


def model_errors(source, model):
    opsets, kept = [{o.domain: o.version for o in m.opset_import} for m in (source, model)]
    if any(kept.get(domain, 0) < version for domain, version in opsets.items()):
        yield "an opset is lost"
    if not {(f.domain, f.name) for f in source.functions} <= {(f.domain, f.name) for f in model.functions}:
        yield "a function is lost"
    if not {(p.key, p.value) for p in source.metadata_props} <= {(p.key, p.value) for p in model.metadata_props}:
        yield "metadata_props are lost"
    for part in ("input", "output"):
        before, now = [[(v.name, v.type) for v in getattr(m.graph, part)] for m in (source, model)]
        if before != now:
            yield f"the graph's {part}s are others"
    for name in unused(model) - unused(source):
        yield f"initializer {name} is not used"
    for scope in scopes(model.graph):
        here = {i.name for i in scope.graph.input} | set(scope.tensors) | set(scope.producers)
        for info in scope.graph.value_info:
            if info.name not in here:
                yield f"value_info of {info.name}, which is not there"
        for node in scope.graph.node:
            rules = {"MatMulNBits": matmul_errors, "GatherBlockQuantized": gather_errors}.get(node.op_type)
            if rules and (node.domain != "com.microsoft" or "com.microsoft" not in kept):
                yield f"{node.name}: not of com.microsoft, or that is not imported"
            yield from (f"{node.name}: {error}" for error in (rules(scope, node) if rules else []))


def unused(model):
    every = list(scopes(model.graph))
    used = {i for s in every for n in s.graph.node for i in n.input} | {o.name for s in every for o in s.graph.output}
    return {t for s in every for t in s.tensors} - used


def matmul_errors(scope, node):
    a = attributes(node)
    bits, block, k, n = a.get("bits", 4), a["block_size"], a["K"], a["N"]
    blocks = -(-k // block)
    if bits not in (2, 4, 8) or block not in (16, 32, 64, 128, 256):
        yield f"{bits} bits in blocks of {block}"
    if len(node.input) > 4 and node.input[4]:
        yield "has g_idx, with which results are wrong"
    codes, scales, zero_points = [np.shape(c) for c in scope.inputs(node, 4)[1:]]
    width = -(-blocks * bits // 8)
    if codes != (n, blocks, block * bits // 8):
        yield f"B is {codes}"
    if scales not in ((n, blocks), (n * blocks,)):
        yield f"scales are {scales}"
    if zero_points not in ((), (n, width), (n * width,)):
        yield f"zero points are {zero_points}"


def gather_errors(scope, node):
    a = attributes(node)
    bits, block = a.get("bits", 4), a.get("block_size", 128)
    codes, _, scales, zero_points = scope.inputs(node, 4)
    if codes is None or codes.dtype != np.uint8 or scales is None:
        yield "is not of constants, or not of bytes"
    elif zero_points is None:
        yield "has no zero points, whose default differs between runtimes"
    else:
        rows, blocks = len(codes), -(-codes.shape[1] * (8 // bits) // block)
        if bits not in (2, 4, 8) or block < 16 or block & (block - 1):
            yield f"{bits} bits in blocks of {block}"
        if a.get("gather_axis", 0) != 0 or a.get("quantize_axis", 1) not in (-1, 1):
            yield "other axes"
        if scales.shape != (rows, blocks) or zero_points.shape != (rows, -(-blocks * bits // 8)):
            yield f"scales are {scales.shape}, zero points {zero_points.shape}"


def checker_error(path):
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        return str(error)[:300]


# Running.


def widen(model):
    """Puts f32 for bfloat16, with which ONNX Runtime hardly computes on the CPU, and leaves int8 activations; in place."""
    for scope in scopes(model.graph):
        constants = [n.attribute[0].t for n in scope.graph.node if n.op_type == "Constant"]
        for tensor in [*scope.graph.initializer, *constants]:
            if tensor.data_type == TensorProto.BFLOAT16:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
        for value in [*scope.graph.input, *scope.graph.output, *scope.graph.value_info]:
            if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        for attribute in (a for n in scope.graph.node for a in n.attribute):
            if attribute.name in ("to", "output_dtype") and attribute.i == TensorProto.BFLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.name == "accuracy_level":
                attribute.i = 1


def load(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def session(model, folder):
    path = os.path.join(folder, f"{len(os.listdir(folder))}.onnx")
    onnx.save(model, path, save_as_external_data=model.ByteSize() > 1 << 30, location=os.path.basename(path) + ".data")
    load_external_data_for_model(model, folder)
    return load(path)


def feed(run, vocab, batch, length, rng):
    """Random inputs, with nothing in the past; true flags with sequences of more than one."""
    arrays = {}
    for i in run.get_inputs():
        past = ["past" in str(d) and "+" not in str(d) for d in i.shape]
        shape = [d if isinstance(d, int) else 0 if past[at] else length if at else batch for at, d in enumerate(i.shape)]
        dtype = np.dtype({"float": "float32", "double": "float64"}.get(i.type[7:-1], i.type[7:-1]))
        if dtype == np.bool_ or "mask" in i.name:
            array = np.full(shape, length > 1 if dtype == np.bool_ else 1)
        elif "position" in i.name:
            array = np.broadcast_to(np.arange(shape[-1]), shape)
        else:
            array = rng.integers(0, vocab, shape) if np.issubdtype(dtype, np.integer) else rng.standard_normal(shape)
        arrays[i.name] = array.astype(dtype)
    return arrays


def compare(a, b):
    """Relative RMS of the difference, cosine, and how often the largest of the last axis is the same."""
    if a.shape != b.shape or not np.issubdtype(a.dtype, np.floating):
        return (0.0, 1.0, 1.0) if np.array_equal(a, b) else (np.inf, 0.0, 0.0)
    a, b = a.astype(np.float64), b.astype(np.float64)
    off, size_a, size_b = [float(np.linalg.norm(x)) for x in (a - b, a, b)]
    top = float((a.argmax(-1) == b.argmax(-1)).mean()) if a.size and a.ndim else 1.0
    return off / (size_b or 1.0) if np.isfinite(off) else np.inf, float((a * b).sum() / (size_a * size_b or 1.0)), top


def run_all(source, model, path, vocab):
    """The outputs of SOURCE, of QUANTIZED and of its twin, which `model` becomes."""
    with tempfile.TemporaryDirectory() as folder:
        if all(t.data_type != TensorProto.BFLOAT16 for t in all_tensors(model)):
            load(path)
        widen(source)
        widen(model)
        runs = [session(source, folder), session(model, folder)]
        make_twin(model)
        runs.append(session(model, folder))
        vocab = vocab or next((o.shape[-1] for o in runs[0].get_outputs() if isinstance(o.shape[-1], int)), 64)
        rng = np.random.default_rng(0)
        feeds = [feed(runs[0], vocab, batch, length, rng) for batch, length in [(2, 7), (1, 1)]]
        return [[array for f in feeds for array in run.run(None, f)] for run in runs]


def check(source_path, path, options):
    """What is to be said of a pair, and its exit code."""
    report, broken = {"model": path}, []
    try:
        source, model = onnx.load(source_path), onnx.load(path)
        for name, file in [("source", source_path), ("quantized", path)]:
            tensors = all_tensors(onnx.load(file, load_external_data=False))
            files = {e.value for t in tensors for e in t.external_data if e.key == "location"}
            files.add(os.path.basename(file))
            report[f"{name}_bytes"] = sum(os.path.getsize(os.path.join(os.path.dirname(file), f)) for f in files)
        error = checker_error(path)
        if error and checker_error(source_path):  # shape inference does not know everything that runs
            onnx.checker.check_model(path)
        elif error:
            broken.append(error)
        counts = collections.Counter(n.op_type for s in scopes(model.graph) for n in s.graph.node)
        shown = ("MatMulNBits", "GatherBlockQuantized", "DequantizeLinear", "MatMul", "Gemm", "Gather")
        report["nodes"] = {op: counts[op] for op in shown if counts[op]}
        broken += model_errors(source, model)
        halves = any(t.data_type in HALVES for t in all_tensors(source))
        tolerance = options.tolerance or (5e-3 if halves else 1e-5)
        original, quantized, twin = run_all(source, model, path, options.vocab)
        compared = [compare(q, o) for q, o in zip(quantized, original)]
        half = compared[: len(compared) // 2]  # the longer sequences
        report["cosine"], report["top1"] = min(c[1] for c in half), min(c[2] for c in half)
        report["twin"] = max(compare(q, t)[0] for q, t in zip(quantized, twin))
        if not report["twin"] <= tolerance:
            broken.append(f"{report['twin']:.1e} off its float twin, more than {tolerance}")
        code = 1 if broken else 0
    except Exception as failure:
        code = 1 if broken else 2
        broken.append(f"{type(failure).__name__}: {failure}"[:400])
    return {"ok": code == 0, **report, "broken": broken}, code


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="SOURCE QUANTIZED")
    tolerance = "relative RMS to the twin; 1e-5, or 5e-3 with halves; 1e-3 suits a deep f32 model"
    parser.add_argument("--tolerance", type=float, help=tolerance)
    parser.add_argument("--vocab", type=int, help="ids are below that; else the last dimension of the first output")
    options = parser.parse_args()
    if len(options.models) % 2:
        parser.error("models come in pairs: SOURCE QUANTIZED")
    worst = 0
    for source, quantized in zip(options.models[::2], options.models[1::2]):
        report, code = check(source, quantized, options)
        print(json.dumps(report), flush=True)
        worst = max(worst, code)
    sys.exit(worst)


if __name__ == "__main__":
    main()
