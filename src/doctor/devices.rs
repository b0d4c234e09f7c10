//! The devices of the machine, each tested.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::self_test::{self, Tested};
use super::watch::watched;
use crate::backend::Backend;
use crate::cpu::Cpu;
use crate::gpu::{AdapterInfo, Choice, Gpu, Limits, described};

/// What was found out about a device.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// What it is called.
    pub name: String,
    /// The graphics API it is reached through; `None` for the CPU itself.
    pub api: Option<String>,
    /// The driver and its version, if the system says.
    pub driver: Option<String>,
    /// Whether it is a driver that runs on the CPU.
    pub is_software: bool,
    /// What it allows; `None` for the CPU itself.
    pub limits: Option<Limits>,
    /// Why it was not tested, or not to the end.
    pub error: Option<String>,
    /// What it made of each format.
    pub formats: Vec<Tested>,
    /// Whether all of these are as specified.
    pub passed: bool,
    /// How long it took.
    pub milliseconds: u64,
}

/// What a thread tells of the device that it tests.
enum Told {
    Refused(String),
    Format(Tested),
}

impl Diagnosis {
    /// Tests the CPU's kernels.
    pub fn of_cpu(patience: Duration) -> Self {
        let info = AdapterInfo {
            name: Cpu.name().to_owned(),
            driver: String::new(),
            is_software: false,
            backend: String::new(),
        };
        Self::of(&info, None, patience, || Ok(Cpu))
    }

    /// Tests the adapter of that number.
    pub fn of_adapter(
        number: usize,
        info: &AdapterInfo,
        limits: Limits,
        patience: Duration,
    ) -> Self {
        let open = move || Gpu::open(&Choice::Number(number)).map_err(|error| error.to_string());
        Self::of(info, Some(limits), patience, open)
    }

    /// Tests what `open` opens, in a thread of its own.
    fn of<B: Backend>(
        info: &AdapterInfo,
        limits: Option<Limits>,
        patience: Duration,
        open: impl FnOnce() -> Result<B, String> + Send + 'static,
    ) -> Self {
        let begun = Instant::now();
        let (told, lost) = watched(patience, move |tell| match open() {
            Ok(backend) => self_test::all(&backend, &mut |tested| tell(Told::Format(tested))),
            Err(error) => tell(Told::Refused(error)),
        });
        let (mut formats, mut error) = (Vec::new(), lost.map(|lost| lost.to_string()));
        for told in told {
            match told {
                Told::Format(tested) => formats.push(tested),
                Told::Refused(message) => error = Some(message),
            }
        }
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            name: info.name.clone(),
            api: said(&info.backend),
            driver: said(&info.driver),
            is_software: info.is_software,
            limits,
            passed: error.is_none() && formats.iter().all(|tested| tested.passed),
            error,
            formats,
            milliseconds: begun.elapsed().as_millis() as u64,
        }
    }
}

/// Every adapter, or why that is not known.
pub fn adapters(patience: Duration) -> (Vec<(AdapterInfo, Limits)>, Option<String>) {
    let (told, lost) = watched(patience, |tell| tell(described()));
    (told.into_iter().flatten().collect(), lost.map(|lost| lost.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::*;
    use crate::format::{Coder, Nvfp4Tables, Scheme};
    use crate::numeric::FloatKind;
    use crate::stats::{ErrorSums, WeightSums};

    /// How a device may be wrong.
    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        OneCode,
        OneScale,
        OneValue,
        Fails,
        Hangs,
    }

    /// The CPU with a fault in one format's kernels.
    struct Faulty(Fault);

    impl Backend for Faulty {
        fn name(&self) -> &str {
            "faulty"
        }
        fn useful_callers(&self) -> usize {
            1
        }

        fn chunk_bytes(&self) -> u64 {
            Cpu.chunk_bytes()
        }
        fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError> {
            Cpu.amax(weights)
        }
        fn nvfp4_quantize(
            &self,
            w: Weights<'_>,
            t: &Nvfp4Tables,
        ) -> Result<Quantized, BackendError> {
            let mut made = Cpu.nvfp4_quantize(w, t)?;
            match self.0 {
                Fault::OneCode => made.codes[77] ^= 0x10,
                Fault::OneScale => made.scales[3] ^= 1,
                Fault::Fails => {
                    return Err(BackendError {
                        device: "it".to_owned(),
                        fault: crate::backend::Fault::Broken,
                        message: "lost".to_owned(),
                    });
                }
                Fault::Hangs => loop {
                    std::thread::park();
                },
                Fault::OneValue => {}
            }
            Ok(made)
        }
        fn nvfp4_dequantize(
            &self,
            c: Nvfp4Chunk<'_>,
            t: &Nvfp4Tables,
        ) -> Result<Vec<f32>, BackendError> {
            let mut values = Cpu.nvfp4_dequantize(c, t)?;
            if self.0 == Fault::OneValue {
                values[5] = -values[5];
            }
            Ok(values)
        }
        fn nvfp4_errors(
            &self,
            w: Weights<'_>,
            c: Nvfp4Chunk<'_>,
            t: &Nvfp4Tables,
        ) -> Result<(WeightSums, ErrorSums), BackendError> {
            Cpu.nvfp4_errors(w, c, t)
        }
        fn nvfp4_match(
            &self,
            w: Weights<'_>,
            c: Nvfp4Chunk<'_>,
            t: &Nvfp4Tables,
        ) -> Result<TieMatch, BackendError> {
            Cpu.nvfp4_match(w, c, t)
        }
        fn grouped_quantize(
            &self,
            w: Weights<'_>,
            n: usize,
            c: &Coder,
        ) -> Result<Grouped, BackendError> {
            Cpu.grouped_quantize(w, n, c)
        }
        fn grouped_dequantize(
            &self,
            c: GroupedChunk<'_>,
            s: &Scheme,
        ) -> Result<Vec<f32>, BackendError> {
            Cpu.grouped_dequantize(c, s)
        }
        fn grouped_errors(
            &self,
            w: Weights<'_>,
            c: GroupedChunk<'_>,
            s: &Scheme,
        ) -> Result<(WeightSums, ErrorSums), BackendError> {
            Cpu.grouped_errors(w, c, s)
        }
        fn grouped_match(
            &self,
            w: Weights<'_>,
            c: GroupedChunk<'_>,
            s: &Scheme,
            k: FloatKind,
        ) -> Result<TieMatch, BackendError> {
            Cpu.grouped_match(w, c, s, k)
        }
        fn halve(&self, cells: &[GridCell], columns: usize) -> Result<Vec<GridCell>, BackendError> {
            Cpu.halve(cells, columns)
        }
    }

    fn diagnosis(fault: Fault) -> Diagnosis {
        let patience = Duration::from_secs(if fault == Fault::Hangs { 1 } else { 60 });
        let info = AdapterInfo {
            name: "faulty".to_owned(),
            driver: "1.0".to_owned(),
            is_software: false,
            backend: "Vulkan".to_owned(),
        };
        Diagnosis::of(&info, None, patience, move || Ok(Faulty(fault)))
    }

    #[test]
    fn one_wrong_bit_is_found_and_named() {
        for (fault, parts) in [
            (Fault::OneCode, ["code 77 of normal values as Bf16", "Dynamic"]),
            (Fault::OneScale, ["scale 3 of normal values as Bf16", "is right"]),
            (Fault::OneValue, ["value 5 of normal values as Bf16", "is right"]),
            (Fault::Fails, ["it: lost", ""]),
        ] {
            let found = diagnosis(fault);
            assert!(!found.passed && found.error.is_none());
            let problem = found.formats[0].problem.clone().unwrap();
            assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
            assert!(found.formats.len() > 5 && found.formats[1..].iter().all(|other| other.passed));
        }
    }

    #[test]
    fn a_device_that_hangs_or_cannot_be_opened_is_told() {
        let found = diagnosis(Fault::Hangs);
        assert!(!found.passed && found.formats.is_empty());
        assert!(found.error.unwrap().contains("no answer within 1 s"));
        let info = AdapterInfo {
            name: "x".to_owned(),
            driver: String::new(),
            is_software: true,
            backend: "Vulkan".to_owned(),
        };
        let refused = Diagnosis::of(&info, None, Duration::from_secs(60), || {
            Err::<Cpu, _>("no such thing".to_owned())
        });
        assert_eq!((refused.passed, refused.error.as_deref()), (false, Some("no such thing")));
    }

    #[test]
    fn the_cpu_passes() {
        let found = Diagnosis::of_cpu(Duration::from_secs(300));
        let problems: Vec<_> = found.formats.iter().filter_map(|f| f.problem.clone()).collect();
        assert!(found.passed, "{problems:?} {:?}", found.error);
    }
}
