#!/usr/bin/env python3
"""Writes the small float ONNX models of this folder; the same bytes on every run. Needs onnx, numpy and ml_dtypes.

Most are a language model in little, `input_ids [batch, seq] -> logits [batch, seq, V]`:

    x = Gather(E, input_ids);  x += Relu(LayerNorm(x) · W);  logits = LayerNorm(x) · head

and each differs from it in the one thing that its name says. See README.md.
"""

import pathlib
import zlib

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parent
V, H = 96, 64
EMBEDDING = "model.embed_tokens.weight"
MICROSOFT = helper.make_opsetid("com.microsoft", 1)
TYPES = {np.dtype(np.float32): T.FLOAT, np.dtype(np.float16): T.FLOAT16, np.dtype(ml_dtypes.bfloat16): T.BFLOAT16}

BUILDERS = []


def model(build):
    """Marks a function that fills a Graph and, if it needs more than that, changes the finished model."""
    BUILDERS.append(build)
    return build


class Graph:
    """Nodes and initializers in the order in which they are asked for."""

    def __init__(self, name, hidden=H, dtype=np.float32):
        self.name, self.hidden, self.dtype = name, hidden, np.dtype(dtype)
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.initializers, self.value_info = [], [], []
        self.inputs = [helper.make_tensor_value_info("input_ids", T.INT64, ["batch", "seq"])]
        self.outputs = []
        self.opset, self.ir, self.imports, self.functions = 18, 9, [], []

    def random(self, *shape):
        return (self.rng.standard_normal(shape) * 0.02).astype(np.float32).astype(self.dtype)

    def init(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def ints(self, name, *values):
        return self.init(name, np.array(values, np.int64))

    def weight(self, name, *shape):
        return self.init(name, self.random(*shape))

    def node(self, op, inputs, name, output=None, **attributes):
        output = output or f"{name}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def output(self, name, kind=None, shape=None):
        kind = TYPES[self.dtype] if kind is None else kind
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape or ["batch", "seq", V]))

    # The parts of the language model.

    def embed(self, table=None):
        self.table = self.random(V, self.hidden) if table is None else table
        self.init(EMBEDDING, self.table)
        return self.node("Gather", [EMBEDDING, "input_ids"], "/model/embed_tokens/Gather")

    def norm(self, x, name):
        scale = self.init(f"model.{name}.weight", (1 + self.random(self.hidden).astype(np.float32)).astype(self.dtype))
        return self.node("LayerNormalization", [x, scale], f"/model/{name}/LayerNormalization", axis=-1, epsilon=1e-5)

    def matmul(self, x, weight, name, output=None):
        return self.node("MatMul", [x, weight], f"/{name}/MatMul", output)

    def linear(self, x, name, k=None, n=None):
        k, n = k or self.hidden, n or self.hidden
        return self.matmul(x, self.weight(f"{name}.weight", k, n), name.replace("model.", "model/"))

    def residual(self, x, y):
        return self.node("Add", [x, y], "/model/layers.0/Add")

    def body(self, x=None):
        """From the ids (or x) to what the head multiplies."""
        x = self.embed() if x is None else x
        y = self.norm(x, "layers.0.norm")
        y = self.node("Relu", [self.linear(y, "model.layers.0.mlp.proj")], "/model/layers.0/mlp/Relu")
        self.before = self.residual(x, y)
        return self.norm(self.before, "norm")

    def transposed(self, weight=EMBEDDING, name="/lm_head/Transpose", output=None):
        return self.node("Transpose", [weight], name, output, perm=[1, 0])

    def head(self, x, weight, output="logits", name="lm_head"):
        self.matmul(x, weight, name, output)
        self.output(output)

    def finish(self):
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, self.initializers, value_info=self.value_info
        )
        imports = [helper.make_opsetid("", self.opset), *self.imports]
        return helper.make_model(
            graph, opset_imports=imports, ir_version=self.ir, producer_name="make_models", functions=self.functions
        )


# Heads that are the embedding, and some that only look like it.


@model
def tied_transpose(g):
    g.head(g.body(), g.transposed())


@model
def tied_copy(g):
    x = g.body()
    g.head(x, g.init("lm_head.weight", g.table.T))


@model
def tied_equal(g):
    x = g.body()
    g.head(x, g.transposed(g.init("lm_head.weight", g.table)))


@model
def tied_gemm(g):
    x = g.node("Reshape", [g.body(), g.ints("rows", -1, H)], "/lm_head/Reshape")
    bias = g.weight("lm_head.bias", V)
    y = g.node("Gemm", [x, EMBEDDING, bias], "/lm_head/Gemm", alpha=1.0, beta=1.0, transB=1)
    ids = g.node("Shape", ["input_ids"], "/lm_head/Shape")
    shape = g.node("Concat", [ids, g.ints("vocabulary", V)], "/lm_head/Concat", axis=0)
    g.node("Reshape", [y, shape], "/lm_head/Reshape_1", "logits")
    g.output("logits")


@model
def untied(g):
    g.head(g.body(), g.weight("lm_head.weight", H, V))


@model
def untied_rows(g):
    x = g.body()
    head = g.table.copy()
    head[V - 6] = g.random(H)
    g.head(x, g.transposed(g.init("lm_head.weight", head)))


@model
def transpose_twice(g):
    x = g.body()
    head = g.transposed()
    g.head(x, head)
    g.head(g.before, head, "early_logits", "early_head")


@model
def transpose_output(g):
    g.head(g.body(), g.transposed(output="embedding_transposed"))
    g.output("embedding_transposed", shape=[H, V])


@model
def two_heads(g):
    x = g.body()
    g.head(x, g.transposed())
    g.head(g.before, g.transposed(name="/early_head/Transpose"), "early_logits", "early_head")


@model
def two_heads_copy(g):
    x = g.body()
    g.head(x, g.transposed())
    g.head(g.before, g.init("early_head.weight", g.table.T), "early_logits", "early_head")


# Other float types and sizes.


@model
def tied_f16(g):
    g.dtype = np.dtype(np.float16)
    g.head(g.body(), g.transposed())


@model
def tied_bf16(g):
    """Passes the checker, but ONNX Runtime 1.32 has no bfloat16 MatMul on the CPU and does not run it there."""
    g.dtype = np.dtype(ml_dtypes.bfloat16)
    y = g.matmul(g.body(), g.transposed(), "lm_head")
    g.node("Cast", [y], "/lm_head/Cast", "logits", to=T.FLOAT)
    g.output("logits", T.FLOAT)


@model
def odd_blocks(g):
    g.hidden = 96
    g.head(g.body(), g.transposed())


@model
def opset21(g):
    g.hidden, g.opset, g.ir = 96, 21, 10
    x = g.body()
    g.head(x, g.init("lm_head.weight", g.table.T))


@model
def tail(g):
    g.hidden = 72
    x = g.embed()
    y = g.norm(x, "layers.0.norm")
    y = g.node("Relu", [g.linear(y, "model.layers.0.mlp.up_proj", 72, 100)], "/model/layers.0/mlp/Relu")
    x = g.residual(x, g.linear(y, "model.layers.0.mlp.down_proj", 100, 72))
    g.head(g.norm(x, "norm"), g.transposed())


# Weights in other places.


@model
def wide_names(g):
    """As torch.onnx.export writes a checkpoint: the weights are transposed and named by a number."""
    x = g.embed()
    y = g.norm(x, "layers.0.input_layernorm")
    y = g.matmul(y, g.weight("onnx::MatMul_123", H, H), "model/layers.0/self_attn/q_proj")
    y = g.matmul(y, g.weight("onnx::MatMul_124", H, H), "model/layers.0/self_attn/o_proj")
    x = g.norm(g.residual(x, y), "norm")
    g.head(x, g.init("onnx::MatMul_125", g.table.T))


@model
def gemm(g):
    """The last Gemm halves its product, which MatMulNBits cannot say."""
    x = g.norm(g.embed(), "layers.0.norm")
    x = g.node("Reshape", [x, g.ints("rows", -1, H)], "/model/Reshape")
    weights = [g.weight(f"model.layers.0.fc{i}.weight", *shape) for i, shape in enumerate([(H, 32), (H, 32), (H, H)])]
    biases = [g.weight(f"model.layers.0.fc{i}.bias", n) for i, n in enumerate([32, H])]
    x = g.node("Gemm", [x, weights[0], biases[0]], "/model/layers.0/fc0/Gemm", transB=0)
    x = g.node("Gemm", [x, weights[1], biases[1]], "/model/layers.0/fc1/Gemm", transB=1)
    x = g.node("Gemm", [x, weights[2]], "/model/layers.0/fc2/Gemm", alpha=0.5, transB=1)
    ids = g.node("Shape", ["input_ids"], "/model/Shape")
    shape = g.node("Concat", [ids, g.ints("hidden", H)], "/model/Concat", axis=0)
    x = g.node("Reshape", [x, shape], "/model/Reshape_1")
    g.head(g.norm(x, "norm"), g.transposed())


@model
def constant_node(g):
    x = g.embed()
    y = g.norm(x, "layers.0.norm")
    up = numpy_helper.from_array(g.random(H, H), "up")
    up = g.node("Constant", [], "/model/layers.0/mlp/up_proj/Constant", value=up)
    y = g.node("Relu", [g.matmul(y, up, "model/layers.0/mlp/up_proj")], "/model/layers.0/mlp/Relu")
    down = "model.layers.0.mlp.down_proj.weight"
    g.initializers.append(helper.make_tensor(down, T.FLOAT, [H, H], g.random(H, H).flatten()))  # float_data
    x = g.residual(x, g.matmul(y, down, "model/layers.0/mlp/down_proj"))
    g.head(g.norm(x, "norm"), g.transposed())


@model
def if_branch(g):
    """Both branches multiply by a weight of the graph around them; the second also by one of its own."""
    x = g.embed()
    y = g.norm(x, "layers.0.norm")
    shared = g.weight("model.layers.0.mlp.proj.weight", H, H)
    then = [helper.make_node("MatMul", [y, shared], ["then_out"], name="/then/proj/MatMul")]
    other = [
        helper.make_node("MatMul", [y, shared], ["else_proj"], name="/else/proj/MatMul"),
        helper.make_node("MatMul", ["else_proj", "else.own.weight"], ["else_out"], name="/else/own/MatMul"),
    ]
    shape = ["batch", "seq", H]
    branches = {
        "then_branch": helper.make_graph(then, "then", [], [helper.make_tensor_value_info("then_out", T.FLOAT, shape)]),
        "else_branch": helper.make_graph(
            other,
            "else",
            [],
            [helper.make_tensor_value_info("else_out", T.FLOAT, shape)],
            [numpy_helper.from_array(g.random(H, H), "else.own.weight")],
        ),
    }
    g.inputs.append(helper.make_tensor_value_info("use_cache_branch", T.BOOL, [1]))
    y = g.node("If", ["use_cache_branch"], "/model/layers.0/If", **branches)
    g.head(g.norm(g.residual(x, y), "norm"), g.transposed())


@model
def external(g):
    """One after another in external.onnx.data, with other bytes between them; the last stays in the model."""
    g.head(g.body(), g.transposed())

    def change(m):
        data = b""
        for tensor, gap in zip(m.graph.initializer[:-1], [0, 3, 61]):
            raw = tensor.raw_data
            data += b"\xa5" * gap
            onnx.external_data_helper.set_external_data(tensor, "external.onnx.data", len(data), len(raw))
            tensor.ClearField("raw_data")
            data += raw
        (FOLDER / "external.onnx.data").write_bytes(data)

    return change


# What a rewrite has to keep.


@model
def function(g):
    """The MatMul inside the function takes its weight from the node that calls it."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="product"),
        helper.make_node("Relu", ["product"], ["positive"], name="positive"),
        helper.make_node("Add", ["x", "positive"], ["y"], name="sum"),
    ]
    block = helper.make_function("local", "Block", ["x", "w"], ["y"], nodes, [helper.make_opsetid("", 18)])
    block.doc_string = "x + relu(x w)"
    g.ir, g.functions = 10, [block]  # metadata_props of graphs and nodes: IR 10
    g.imports = [helper.make_opsetid("local", 1), helper.make_opsetid("com.example.unused", 3)]
    x = g.node("Block", [g.embed(), g.weight("block.weight", H, H)], "/model/block", "block_out", domain="local")
    g.value_info = [helper.make_tensor_value_info("block_out", T.FLOAT, ["batch", "seq", H])]
    g.head(g.body(x), g.transposed())

    def change(m):
        m.doc_string, m.graph.doc_string = "of the model", "of the graph"
        m.graph.node[0].doc_string, m.graph.initializer[0].doc_string = "of a node", "of a tensor"
        m.producer_version, m.domain, m.model_version = "7", "com.example", 12
        helper.set_model_props(m, {"license": "none", "eos_token_id": "2"})
        for part in [m.graph, m.graph.node[0], m.graph.initializer[0]]:
            part.metadata_props.add(key="made_by", value="hand")

    return change


@model
def unknown_fields(g):
    """Field 1999, which onnx.proto does not have, in the model, its graph, each node and each tensor."""
    g.head(g.body(), g.transposed())

    def change(m):
        field = b"\xfa\x7c"  # 1999, length-delimited
        for part in [m, m.graph, *m.graph.node, *m.graph.initializer]:
            part.MergeFromString(field + b"\x07unknown")

    return change


# An embedding that is quantized already, and a float head.


def quantized_embedding(g, symmetric):
    """4 bits in blocks of 32, as Olive writes them; leaves the float table in g.table."""
    block = 32
    g.imports = [MICROSOFT]
    g.table = g.random(V, H)
    blocks = g.table.reshape(V, -1, block)
    if symmetric:
        low, high = blocks.min(-1), blocks.max(-1)
        scales = np.where(np.abs(high) > np.abs(low), high, low) / np.float32(-8)
        zero_points = np.full(scales.shape, 8, np.float32)
    else:
        low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
        scales = (high - low) / np.float32(15)
        zero_points = np.clip(np.rint(-low / scales), 0, 15)
    codes = np.clip(np.rint(blocks / scales[..., None]) + zero_points[..., None], 0, 15)

    def packed(values):
        values = values.astype(np.uint8).reshape(V, -1)
        return values[:, ::2] | values[:, 1::2] << 4

    inputs = [
        g.init(f"{EMBEDDING}_Q4", packed(codes)),
        "input_ids",
        g.init(f"{EMBEDDING}_scales", scales),
        g.init(f"{EMBEDDING}_zero_point", packed(zero_points)),
    ]
    attributes = dict(gather_axis=0, quantize_axis=1, block_size=block, bits=4)
    x = g.node(
        "GatherBlockQuantized", inputs, "/model/embed_tokens/Gather_Q4", "embedded", domain="com.microsoft", **attributes
    )
    g.value_info = [helper.make_tensor_value_info("embedded", T.FLOAT, ["batch", "seq", H])]
    return g.body(x)


@model
def embedding_quantized_sym(g):
    x = quantized_embedding(g, symmetric=True)
    g.head(x, g.init("lm_head.weight", g.table.T))


@model
def embedding_quantized_asym(g):
    x = quantized_embedding(g, symmetric=False)
    g.head(x, g.init("lm_head.weight", g.table.T))


@model
def embedding_quantized_transpose(g):
    x = quantized_embedding(g, symmetric=True)
    g.head(x, g.transposed(g.init("lm_head.weight", g.table)))


@model
def embedding_quantized_untied(g):
    x = quantized_embedding(g, symmetric=True)
    g.head(x, g.weight("lm_head.weight", H, V))


# What has to be left alone.


@model
def batched(g):
    """Two matrices in one tensor: the mean of both products."""
    x = g.embed()
    y = g.node("Unsqueeze", [g.norm(x, "layers.0.norm"), g.ints("axis", 1)], "/model/layers.0/Unsqueeze")
    y = g.matmul(y, g.weight("model.layers.0.experts.weight", 2, H, H), "model/layers.0/experts")
    y = g.node("ReduceMean", [y, "axis"], "/model/layers.0/ReduceMean", keepdims=0)
    g.head(g.norm(g.residual(x, y), "norm"), g.transposed())


@model
def conv(g):
    g.inputs = [helper.make_tensor_value_info("image", T.FLOAT, ["batch", 3, 16, 16])]
    weight, bias = g.weight("conv.weight", 8, 3, 3, 3), g.weight("conv.bias", 8)
    x = g.node("Conv", ["image", weight, bias], "/conv/Conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = g.node("GlobalAveragePool", [g.node("Relu", [x], "/Relu")], "/pool/GlobalAveragePool")
    g.node("Flatten", [x], "/Flatten", "features")
    g.output("features", shape=["batch", 8])


@model
def ints(g):
    """Initializers of int64, of int4 (through DequantizeLinear), of strings, and a sparse one."""
    g.opset, g.ir = 21, 10
    x = g.body()
    codes = helper.make_tensor("adapter.codes", T.INT4, [H, H], g.rng.integers(-8, 8, (H, H)).flatten())
    g.initializers.append(codes)
    scales = g.init("adapter.scales", np.abs(g.random(H // 32, H)) / 8)
    w = g.node("DequantizeLinear", ["adapter.codes", scales], "/adapter/DequantizeLinear", axis=0, block_size=32)
    x = g.node("Add", [x, g.matmul(x, w, "adapter")], "/adapter/Add")
    x = g.node("Add", [x, "sparse_bias"], "/sparse/Add")
    x = g.node("Reshape", [x, g.ints("shape", 0, 0, H)], "/Reshape")
    g.head(x, g.transposed())
    g.initializers.append(helper.make_tensor("words", T.STRING, [2], [b"first", b"second"]))
    g.node("Identity", ["words"], "/labels/Identity", "labels")
    g.output("labels", T.STRING, [2])

    def change(m):
        values = numpy_helper.from_array(g.random(3), "sparse_bias")
        places = numpy_helper.from_array(np.array([1, 17, 40], np.int64), "sparse_bias_indices")
        m.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [H]))

    return change


def main():
    for build in BUILDERS:
        graph = Graph(build.__name__)
        change = build(graph)
        m = graph.finish()
        if change:
            change(m)
        path = FOLDER / f"{graph.name}.onnx"
        path.write_bytes(m.SerializeToString(deterministic=True))
        # Shape inference knows no sparse initializer as an operand, though runtimes take it.
        onnx.checker.check_model(str(path), full_check=not m.graph.sparse_initializer)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
