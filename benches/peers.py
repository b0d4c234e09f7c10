#!/usr/bin/env python3
"""Seconds that a reference tool needs to quantize the linear weights of a checkpoint and to write all tensors.

    benches/peers.py FORMAT CHECKPOINT OUT
    benches/peers.py FORMAT MODEL.onnx OUT

Prints the tool's name and the seconds, without those for starting Python; exit code 3 where it is not installed or
has no such format. The arithmetic is the tool's own: of a checkpoint called weight by weight, with safetensors reading
and writing; of an ONNX model ONNX Runtime's quantizer does everything.
"""

import pathlib
import re
import sys
import time

INT = re.compile(r"int([48])(-asym)?(?:-g(\d+))?$")


def modelopt(form):
    """ModelOpt's packed tensors."""
    from modelopt.torch.quantization.qtensor import FP8QTensor, NVFP4QTensor

    if form == "nvfp4":

        def nvfp4(weight):
            quantized, scale, scale_2 = NVFP4QTensor.quantize(weight, 16)
            return {"weight": quantized._quantized_data, "weight_scale": scale, "weight_scale_2": scale_2}

        return "modelopt", nvfp4

    def fp8(weight):
        quantized, scale = FP8QTensor.quantize(weight)
        return {"weight": quantized._quantized_data, "weight_scale": scale}

    return "modelopt", fp8


def compressed_tensors(form):
    """compressed-tensors' quantize, and its packing of whole numbers below 8 bits."""
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    whole = INT.match(form)
    if not whole:
        return None
    bits, group = int(whole[1]), int(whole[3] or 0)
    strategy = dict(strategy="group", group_size=group) if group else dict(strategy="channel")
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=not whole[2], **strategy)

    def int_weight(weight):
        rows, columns = weight.shape
        grouped = weight.reshape(rows, -1, group or columns)
        scale, zero_point = calculate_qparams(grouped.amin(-1), grouped.amax(-1), args)
        codes = quantize(weight, scale, zero_point, args, dtype=torch.int8)
        if bits == 8 and not group:
            return {"weight": codes, "weight_scale": scale}
        parts = {"weight_packed": pack_to_int32(codes, bits), "weight_scale": scale}
        return parts | ({} if args.symmetric else {"weight_zero_point": pack_to_int32(zero_point, bits, packed_dim=0)})

    return "compressed-tensors", int_weight


def onnxruntime(form, model, out):
    """ONNX Runtime's MatMulNBits quantizer on a whole model."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    whole = INT.match(form)
    if not whole or not whole[3]:
        return None
    start = time.monotonic()
    quantizer = MatMulNBitsQuantizer(
        onnx.load(model), bits=int(whole[1]), block_size=int(whole[3]), is_symmetric=not whole[2]
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(out), use_external_data_format=True)
    return time.monotonic() - start


def main():
    form, checkpoint, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    try:
        if checkpoint.suffix == ".onnx":
            seconds = onnxruntime(form, checkpoint, out)
            if seconds is None:
                sys.exit(3)
            return print("onnxruntime", seconds)
        import torch
        from safetensors import safe_open
        from safetensors.torch import save_file

        tool = modelopt(form) if form in ("nvfp4", "fp8") else compressed_tensors(form)
    except ImportError as missing:
        print(missing, file=sys.stderr)
        sys.exit(3)
    if tool is None:
        sys.exit(3)
    name, quantized = tool
    out.mkdir()
    start = time.monotonic()
    with torch.inference_mode():
        for file in sorted(checkpoint.glob("*.safetensors")):
            tensors = {}
            with safe_open(file, "pt") as source:
                for key in source.keys():
                    tensor = source.get_tensor(key)
                    if tensor.dim() == 2 and key.endswith("_proj.weight"):
                        module = key.removesuffix("weight")
                        parts = quantized(tensor)
                        tensors |= {module + part: value.contiguous() for part, value in parts.items()}
                    else:
                        tensors[key] = tensor
            save_file(tensors, out / file.name)
    print(name, time.monotonic() - start)


if __name__ == "__main__":
    main()
