//! Throughput of the kernels next to that of copying the same bytes, in one run.
//!
//! `cargo bench --bench quantize`. GB/s counts bytes of weights read; the best of several
//! repetitions is shown. A ratio of 1 is the speed of a copy by as many threads.

use std::hint::black_box;
use std::time::Instant;

use quantscope::backend::{Backend, Weights};
use quantscope::cpu::Cpu;
use quantscope::format::nvfp4::{Rule, Scaling};
use quantscope::format::{Arithmetic, Coder, Format, Nvfp4Tables};
use quantscope::gpu::{Choice, Gpu};
use quantscope::numeric::FloatKind;

const BYTES: usize = 64 << 20;
const REPETITIONS: usize = 5;
/// What one call gets, as when a checkpoint is quantized in chunks.
const CHUNK_BYTES: usize = 4 << 20;
/// Formats with one level of scales: one for each scope and for each kind of code.
const GROUPED: [&str; 6] = ["fp8", "fp8-channel", "fp8-block", "mxfp4", "int8", "int4-g32"];
/// The length of rows.
const COLUMNS: usize = 2048;

/// Weights of a bell-shaped distribution, of standard deviation 0.03 or so.
fn weights(kind: FloatKind) -> Vec<u32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut weight = || (uniform() + uniform() + uniform() + uniform()) * 0.05;
    let mut words = vec![0u32; BYTES / 4];
    for word in &mut words {
        *word = match kind {
            FloatKind::F32 => weight().to_bits(),
            // The upper halves of two f32 are two bf16.
            _ => (weight().to_bits() >> 16) | (weight().to_bits() & 0xFFFF_0000),
        };
    }
    words
}

/// Best GB/s of `work` on all chunks, shared evenly among threads.
fn measure(bytes: &[u8], threads: usize, work: impl Fn(usize, &[u8]) + Sync) -> f64 {
    let chunks: Vec<_> = bytes.chunks(CHUNK_BYTES).enumerate().collect();
    let seconds = (0..REPETITIONS).map(|_| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for share in chunks.chunks(chunks.len().div_ceil(threads)) {
                scope.spawn(|| share.iter().for_each(|&(index, chunk)| work(index, chunk)));
            }
        });
        start.elapsed().as_secs_f64()
    });
    bytes.len() as f64 / seconds.fold(f64::INFINITY, f64::min) / 1e9
}

fn copy(bytes: &[u8], threads: usize) -> f64 {
    // One buffer a chunk, so that the copy goes to memory as the original comes from it.
    let targets: Vec<_> = bytes
        .chunks(CHUNK_BYTES)
        .map(|chunk| std::sync::Mutex::new(vec![1u8; chunk.len()]))
        .collect();
    measure(bytes, threads, |index, chunk| {
        let mut target = targets[index].lock().expect("no thread panics");
        target.copy_from_slice(chunk);
        black_box(&mut *target);
    })
}

fn coder(name: &str, kind: FloatKind, amax: f32) -> Coder {
    let format: Format = name.parse().expect("it is a format");
    let scheme = format.scheme(Arithmetic::CompressedTensors).expect("it has one level of scales");
    Coder::new(scheme, kind, amax)
}

fn report(what: &str, speed: f64, copy: f64) {
    println!("  {what:<46} {speed:>8.2} GB/s {:>7.2} of a copy", speed / copy);
}

fn main() {
    let all = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let gpu = Gpu::open(&Choice::Best);
    for kind in [FloatKind::Bf16, FloatKind::F32] {
        let words = weights(kind);
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let whole = Weights { kind, bytes };
        let amax = Cpu.amax(whole).expect("the CPU does not fail");
        let tables = Nvfp4Tables::new(Scaling::new(Rule::Dynamic, kind, kind.widen(amax)));
        let quantize = |backend: &dyn Backend, bytes: &[u8]| {
            let quantized = backend.nvfp4_quantize(Weights { kind, bytes }, &tables);
            black_box(quantized.expect("the device works"));
        };

        println!("{kind:?}, {} MiB", BYTES >> 20);
        for threads in if all > 1 { vec![1, all] } else { vec![1] } {
            let plain = copy(bytes, threads);
            let of = |what: &str| {
                format!("{what}, {threads} thread{}", if threads == 1 { "" } else { "s" })
            };
            report(&of("copy"), plain, plain);
            let speed = measure(bytes, threads, |_, bytes| {
                black_box(Cpu.amax(Weights { kind, bytes }).expect("the CPU does not fail"));
            });
            report(&of("CPU amax"), speed, plain);
            let speed = measure(bytes, threads, |_, bytes| quantize(&Cpu, bytes));
            report(&of("CPU nvfp4_quantize"), speed, plain);
            if let Ok(gpu) = &gpu {
                let speed = measure(bytes, threads, |_, bytes| quantize(gpu, bytes));
                report(&of("GPU nvfp4_quantize"), speed, plain);
            }
            for name in GROUPED {
                let coder = coder(name, kind, kind.widen(amax));
                let speed = measure(bytes, threads, |_, bytes| {
                    let weights = Weights { kind, bytes };
                    black_box(Cpu.grouped_quantize(weights, COLUMNS, &coder))
                        .expect("the CPU does not fail");
                });
                report(&of(&format!("CPU grouped_quantize {name}")), speed, plain);
            }
        }
    }
    match &gpu {
        Ok(gpu) => println!("GPU: {}", gpu.name()),
        Err(error) => println!("GPU: {error}"),
    }
}
