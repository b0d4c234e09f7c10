//! The kernels: their sources, how much a workgroup takes, and their pipelines.

use std::sync::OnceLock;

use wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType,
    BufferBindingType, ComputePipeline, ComputePipelineDescriptor, Device,
    PipelineCompilationOptions, PipelineLayout, PipelineLayoutDescriptor, ShaderModuleDescriptor,
    ShaderSource, ShaderStages,
};

use crate::numeric::FloatKind;

/// A kernel; its WGSL and its CPU twin have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    Amax,
    Nvfp4Search,
    Nvfp4Quantize,
    Nvfp4Dequantize,
    Nvfp4Errors,
    Nvfp4Match,
    GroupedExtents,
    GroupedQuantize,
    GroupedDequantize,
    GroupedErrors,
    GroupedMatch,
    Halve,
}

/// What every kernel's source starts with.
const SHARED: &str = concat!(
    include_str!("../../shaders/shared/bindings.wgsl"),
    include_str!("../../shaders/shared/patterns.wgsl"),
    include_str!("../../shaders/shared/sums.wgsl"),
    include_str!("../../shaders/shared/matches.wgsl"),
    include_str!("../../shaders/shared/nvfp4.wgsl"),
    include_str!("../../shaders/shared/float32.wgsl"),
    include_str!("../../shaders/shared/grouped.wgsl"),
);

impl Kernel {
    const ALL: [Self; 12] = [
        Self::Amax,
        Self::Nvfp4Search,
        Self::Nvfp4Quantize,
        Self::Nvfp4Dequantize,
        Self::Nvfp4Errors,
        Self::Nvfp4Match,
        Self::GroupedExtents,
        Self::GroupedQuantize,
        Self::GroupedDequantize,
        Self::GroupedErrors,
        Self::GroupedMatch,
        Self::Halve,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Amax => "amax",
            Self::Nvfp4Search => "nvfp4_search",
            Self::Nvfp4Quantize => "nvfp4_quantize",
            Self::Nvfp4Dequantize => "nvfp4_dequantize",
            Self::Nvfp4Errors => "nvfp4_errors",
            Self::Nvfp4Match => "nvfp4_match",
            Self::GroupedExtents => "grouped_extents",
            Self::GroupedQuantize => "grouped_quantize",
            Self::GroupedDequantize => "grouped_dequantize",
            Self::GroupedErrors => "grouped_errors",
            Self::GroupedMatch => "grouped_match",
            Self::Halve => "halve",
        }
    }

    fn source(self) -> String {
        let entry = match self {
            Self::Amax => include_str!("../../shaders/amax.wgsl"),
            Self::Nvfp4Search => include_str!("../../shaders/nvfp4_search.wgsl"),
            Self::Nvfp4Quantize => include_str!("../../shaders/nvfp4_quantize.wgsl"),
            Self::Nvfp4Dequantize => include_str!("../../shaders/nvfp4_dequantize.wgsl"),
            Self::Nvfp4Errors => include_str!("../../shaders/nvfp4_errors.wgsl"),
            Self::Nvfp4Match => include_str!("../../shaders/nvfp4_match.wgsl"),
            Self::GroupedExtents => include_str!("../../shaders/grouped_extents.wgsl"),
            Self::GroupedQuantize => include_str!("../../shaders/grouped_quantize.wgsl"),
            Self::GroupedDequantize => include_str!("../../shaders/grouped_dequantize.wgsl"),
            Self::GroupedErrors => include_str!("../../shaders/grouped_errors.wgsl"),
            Self::GroupedMatch => include_str!("../../shaders/grouped_match.wgsl"),
            Self::Halve => include_str!("../../shaders/halve.wgsl"),
        };
        format!("{SHARED}{entry}")
    }

    /// Blocks' worth of weights that a workgroup takes. How many groups' extents it takes depends on
    /// the groups.
    const fn blocks_per_workgroup(self) -> usize {
        match self {
            Self::Amax => 64 * 32 / 4,
            Self::Nvfp4Search
            | Self::Nvfp4Quantize
            | Self::Nvfp4Errors
            | Self::Nvfp4Match
            | Self::GroupedErrors
            | Self::GroupedMatch => 64 * 4,
            Self::Nvfp4Dequantize => 64 / 4,
            Self::GroupedExtents | Self::GroupedQuantize | Self::GroupedDequantize => 64 / 2,
            // It counts cells, and not blocks.
            Self::Halve => 64,
        }
    }

    /// Workgroups that a number of blocks needs.
    pub const fn workgroups(self, blocks: usize) -> usize {
        blocks.div_ceil(self.blocks_per_workgroup())
    }
}

/// The name and the whole source of every kernel, for checks that need no GPU.
#[doc(hidden)]
pub fn shader_sources() -> impl Iterator<Item = (&'static str, String)> {
    Kernel::ALL.into_iter().map(|kernel| (kernel.name(), kernel.source()))
}

/// Pipelines of one device, made when first used. All share one layout, so that a set of buffers
/// needs a single bind group.
#[derive(Debug)]
pub struct Kernels {
    /// The layout of the bindings.
    pub bindings: BindGroupLayout,
    layout: PipelineLayout,
    pipelines: [[OnceLock<ComputePipeline>; 3]; Kernel::ALL.len()],
}

impl Kernels {
    /// No pipelines yet.
    pub fn new(device: &Device) -> Self {
        let storage = |read_only| BufferBindingType::Storage { read_only };
        let types = [
            BufferBindingType::Uniform,
            storage(true),
            storage(true),
            storage(false),
            storage(false),
            storage(false),
        ];
        let entries: Vec<_> = (0u32..)
            .zip(types)
            .map(|(binding, ty)| BindGroupLayoutEntry {
                binding,
                visibility: ShaderStages::COMPUTE,
                ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect();
        let bindings = device.create_bind_group_layout(&BindGroupLayoutDescriptor {
            label: Some("kernels"),
            entries: &entries,
        });
        let layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label: Some("kernels"),
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        Self { bindings, layout, pipelines: Default::default() }
    }

    /// The pipeline of a kernel for weights of `kind`.
    pub fn pipeline(&self, device: &Device, kernel: Kernel, kind: FloatKind) -> &ComputePipeline {
        // The constants of `shaders/shared/patterns.wgsl`.
        let kind = match kind {
            FloatKind::Bf16 => 0,
            FloatKind::F16 => 1,
            FloatKind::F32 => 2,
        };
        self.pipelines[kernel as usize][kind].get_or_init(|| {
            let module = device.create_shader_module(ShaderModuleDescriptor {
                label: Some(kernel.name()),
                source: ShaderSource::Wgsl(kernel.source().into()),
            });
            device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(kernel.name()),
                layout: Some(&self.layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: PipelineCompilationOptions {
                    constants: &[("KIND", kind as f64)],
                    // Every kernel writes its workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            })
        })
    }
}
