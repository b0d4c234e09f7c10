//! Writing a quantized checkpoint.

use std::io::Write;

use super::{Batch, BatchError};
use crate::checkpoint::Checkpoint;
use crate::engine::Run;
use crate::export::{Exported, NotExported, Options, Stage, export};
use crate::plan::Plan;
use crate::report::{GroupBy, terminal};

impl Batch<'_> {
    pub(super) fn export(
        &self,
        checkpoint: &Checkpoint,
        plan: &Plan,
        folder: &std::path::Path,
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        let device = self.device()?;
        self.show_device(device.backend.name(), out)?;
        let run = Run { checkpoint, plan, sink: None, resources: self.resources(&device) };
        let options = Options {
            out: folder,
            overwrite: self.args.overwrite,
            strict: self.args.strict,
            sync: !self.args.no_sync,
        };
        let exported = export(&run, &options, &|stage, total| {
            let name = match stage {
                Stage::Quantize => "quantize",
                Stage::Verify => "verify",
            };
            self.progress.begin(name, total);
        });
        let Exported { stats, findings, verification, companions, .. } = match exported {
            Ok(exported) => exported,
            Err(NotExported::Refused(verification)) => {
                writeln!(out)?;
                self.show_gate(&verification, out)?;
                return Err(NotExported::Refused(verification).into());
            }
            Err(NotExported::Findings(findings)) => {
                self.show_findings(&findings, out)?;
                return Err(NotExported::Findings(findings).into());
            }
            Err(error) => return Err(error.into()),
        };
        self.progress.end();
        self.list(&findings, out)?;
        self.show_stats(plan, &stats, GroupBy::Layer, out)?;
        self.line(out)?;
        self.show_gate(&verification, out)?;
        if !self.args.quiet {
            write!(out, "\n{}", terminal::companions(&companions))?;
            writeln!(out, "written   {}", folder.display())?;
        }
        let findings = [plan.findings.clone(), findings].concat();
        self.write_report(plan, Some(device.backend.name()), &stats, &findings, Some(&verification))
    }
}
