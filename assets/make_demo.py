#!/usr/bin/env python3
"""Writes assets/demo: a small checkpoint to try quantscope on.

It has the shape of a Llama with tied embeddings. The weights are random, and distributed like those
of trained models in what matters to quantization: heavy tails, a few input channels that are far
larger than the others, some exact zeros, one dead neuron, unused rows of the vocabulary.

No dependencies. The same bytes on every machine: only operations that IEEE 754 rounds correctly
are used (+, -, *, /, square root), and a generator whose numbers Python guarantees.
"""

import json
import math
import random
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent / "demo"

HIDDEN = 64
INTERMEDIATE = 192
LAYERS = 4
HEADS = 4
KV_HEADS = 2
HEAD_DIM = HIDDEN // HEADS
VOCAB = 512

UNUSED_TOKENS = 6
OUTLIER_CHANNELS = (5, 22, 47)
OUTLIER_FACTOR = 6.0
DEAD_NEURON = (2, 100)  # layer, and row of its up_proj
ZERO_FRACTION = 0.004

rng = random.Random(20250101)


def normal():
    """Nearly normal, of variance 1, without a logarithm."""
    total = -6.0
    for _ in range(12):
        total += rng.random()  # not sum(), which rounds differently from Python 3.12 on
    return total


def student():
    """Student's t of 5 degrees of freedom, scaled to variance 1."""
    chi_square = 0.0
    for _ in range(5):
        z = normal()
        chi_square += z * z
    return normal() / math.sqrt(chi_square / 5.0) * math.sqrt(3.0 / 5.0)


def bf16(value):
    """The bfloat16 pattern of a number, rounded to nearest even."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def matrix(rows, columns, std, outliers=()):
    values = []
    for _ in range(rows):
        for column in range(columns):
            value = student() * std * (OUTLIER_FACTOR if column in outliers else 1.0)
            values.append(0.0 if rng.random() < ZERO_FRACTION else value)
    return [rows, columns], values


def norm(mean):
    return [HIDDEN], [mean * (1.0 + 0.1 * normal()) for _ in range(HIDDEN)]


def tensors():
    embedding = matrix(VOCAB, HIDDEN, 0.02)
    embedding[1][-UNUSED_TOKENS * HIDDEN :] = [0.0] * (UNUSED_TOKENS * HIDDEN)
    yield "model.embed_tokens.weight", embedding
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        std = 0.02 * (1.0 + 0.25 * layer)
        out_std = std / math.sqrt(2.0 * LAYERS)
        yield prefix + "input_layernorm.weight", norm(0.5 + 0.25 * layer)
        for name, rows in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            weight = matrix(rows * HEAD_DIM, HIDDEN, std, OUTLIER_CHANNELS)
            yield f"{prefix}self_attn.{name}_proj.weight", weight
        yield prefix + "self_attn.o_proj.weight", matrix(HIDDEN, HEADS * HEAD_DIM, out_std)
        yield prefix + "post_attention_layernorm.weight", norm(1.0)
        yield prefix + "mlp.gate_proj.weight", matrix(INTERMEDIATE, HIDDEN, std, OUTLIER_CHANNELS)
        up = matrix(INTERMEDIATE, HIDDEN, std, OUTLIER_CHANNELS)
        if layer == DEAD_NEURON[0]:
            start = DEAD_NEURON[1] * HIDDEN
            up[1][start : start + HIDDEN] = [0.0] * HIDDEN
        yield prefix + "mlp.up_proj.weight", up
        yield prefix + "mlp.down_proj.weight", matrix(HIDDEN, INTERMEDIATE, out_std)
    yield "model.norm.weight", norm(2.0)


def write_safetensors(path, named):
    header, data = {"__metadata__": {"format": "pt"}}, bytearray()
    for name, (shape, values) in sorted(named.items()):
        begin = len(data)
        data += struct.pack(f"<{len(values)}H", *map(bf16, values))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8", newline="\n")


def main():
    HERE.mkdir(exist_ok=True)
    write_safetensors(HERE / "model.safetensors", dict(tensors()))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "dtype": "bfloat16",
        "eos_token_id": 2,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": 512,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": VOCAB,
    }
    write_json(HERE / "config.json", config)
    write_json(HERE / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})


if __name__ == "__main__":
    main()
