use std::fmt;

/// A program that loads quantized checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM.
    TensorRtLlm,
    /// Hugging Face transformers, with the library of the layout beside it.
    Transformers,
    /// ExecuTorch, which makes programs for devices, GPUs among them.
    ExecuTorch,
    /// ExecuTorch where a CPU computes.
    ExecuTorchCpu,
    /// ONNX Runtime.
    OnnxRuntime,
    /// WebGPU programs that read packed constants themselves.
    WebGpuPrograms,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::TensorRtLlm => "TensorRT-LLM",
            Self::Transformers => "transformers",
            Self::ExecuTorch => "ExecuTorch",
            Self::ExecuTorchCpu => "ExecuTorch on a CPU",
            Self::OnnxRuntime => "ONNX Runtime",
            Self::WebGpuPrograms => "WebGPU programs of one's own",
        })
    }
}
