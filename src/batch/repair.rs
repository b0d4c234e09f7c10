//! The mode that repairs a quantized checkpoint.

use std::io::Write;
use std::path::Path;

use super::{Batch, BatchError};
use crate::export::Options;
use crate::export::repair::{NotRepaired, Outcome, RepairStage, repair};
use crate::report::{repaired, terminal};

impl Batch<'_> {
    /// Writes the checkpoint with what can be repaired repaired; gives whether there was anything.
    pub fn repair(&self, folder: &Path, out: &mut dyn Write) -> Result<bool, BatchError> {
        let device = self.device()?;
        self.show_device(device.backend.name(), out)?;
        let options = Options {
            out: folder,
            overwrite: self.args.overwrite,
            strict: false,
            sync: !self.args.no_sync,
            resume: false,
        };
        let sharding = self.args.sharding();
        let resources = self.resources(&device);
        let stage = |stage, total| {
            let name = match stage {
                RepairStage::Examine => "examine",
                RepairStage::Repair => "repair",
                RepairStage::Verify => "verify",
            };
            self.progress.begin(name, total);
        };
        let outcome = repair(self.args.checkpoint(), &options, sharding, &resources, &stage);
        let outcome = match outcome {
            Err(NotRepaired::Refused(verification)) => {
                writeln!(out)?;
                self.show_gate(&verification, out)?;
                return Err(NotRepaired::Refused(verification).into());
            }
            other => other?,
        };
        self.progress.end();
        match outcome {
            Outcome::Sound(verification) => {
                self.line(out)?;
                self.show_gate(&verification, out)?;
                if !self.args.quiet {
                    writeln!(out, "\nnothing to repair, and nothing written")?;
                }
                Ok(false)
            }
            Outcome::Repaired(done) => {
                self.warn(&done.notices);
                if !self.args.quiet {
                    write!(out, "{}", repaired(&done))?;
                }
                self.line(out)?;
                self.show_gate(&done.verification, out)?;
                if !self.args.quiet {
                    write!(out, "\n{}", terminal::companions(&done.companions))?;
                    writeln!(out, "written   {}", folder.display())?;
                }
                Ok(true)
            }
        }
    }
}
