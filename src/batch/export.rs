//! Writing a quantized checkpoint, whole or in parts.

use std::io::Write;
use std::path::Path;

use super::events::Event;
use super::{Batch, BatchError, Exit};
use crate::checkpoint::Checkpoint;
use crate::engine::Run;
use crate::export::{
    Exported, NotExported, Options, Part, Stage, export, export_part, finish, unfinished,
};
use crate::plan::Plan;
use crate::report::{GroupBy, terminal};
use crate::units;

impl Batch<'_> {
    /// Gives whether a checkpoint was written.
    pub(super) fn export(
        &self,
        checkpoint: &Checkpoint,
        plan: &Plan,
        folder: &Path,
        out: &mut dyn Write,
    ) -> Result<bool, BatchError> {
        let device = self.device()?;
        self.show_device(device.backend.name(), out)?;
        let run = Run { checkpoint, plan, sink: None, resources: self.resources(&device) };
        let options = Options {
            out: folder,
            overwrite: self.args.overwrite,
            strict: self.args.strict,
            sync: !self.args.no_sync,
            resume: self.args.resume,
        };
        let stage = |stage, total| {
            let name = match stage {
                Stage::Quantize => "quantize",
                Stage::Verify => "verify",
            };
            self.progress.begin(name, total);
        };
        if let Some(part) = self.args.part {
            return self.export_part(&run, &options, part, &stage, out).map(|()| false);
        }
        let exported = match self.args.finish {
            true => finish(&run, &options, &stage),
            false => export(&run, &options, &stage),
        };
        let Exported { stats, findings, verification, companions, notices } = match exported {
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
        self.warn(&notices);
        // What they have to say is among these.
        self.devices.take();
        self.list(&findings, out)?;
        self.show_stats(plan, &stats, GroupBy::Layer, out)?;
        self.line(out)?;
        self.show_gate(&verification, out)?;
        if !self.args.quiet {
            write!(out, "\n{}", terminal::companions(&companions))?;
            writeln!(out, "written   {}", folder.display())?;
        }
        let findings = [plan.findings.clone(), findings].concat();
        let device = Some(device.backend.name());
        self.write_report(plan, device, &stats, &findings, Some(&verification))?;
        Ok(true)
    }

    /// What ended an export into a folder, and where what is done is left, if it is to be gone on with.
    pub(super) fn or_left(&self, error: BatchError, folder: &Path) -> BatchError {
        let left = unfinished(folder, self.args.part).filter(|_| self.args.resume);
        match left {
            // Where nothing was begun there is nothing more to say.
            Some(partial) if error.exit() != Exit::Usage => {
                BatchError::Left { error: error.into(), partial }
            }
            _ => error,
        }
    }

    fn export_part(
        &self,
        run: &Run<'_>,
        options: &Options<'_>,
        part: Part,
        stage: &dyn Fn(Stage, u64),
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        let made = export_part(run, options, part, stage)?;
        self.progress.end();
        let bytes = made.files.iter().map(|(_, bytes)| bytes).sum();
        self.tell(&Event::Part {
            part: part.to_string(),
            folder: made.folder.display().to_string(),
            files: made.files.iter().map(|(name, _)| name.as_str()).collect(),
            bytes,
        });
        self.show_stats(run.plan, &made.stats, GroupBy::Layer, out)?;
        if !self.args.quiet {
            let all = units::count(run.plan.files.len() as u64, "file");
            let bytes = units::bytes(bytes);
            let own = made.files.len();
            writeln!(out, "\npart      {part}: {own} of {all}, {bytes}")?;
            if own == 0 {
                writeln!(
                    out,
                    "          there are more parts than files: --max-shard-size makes more"
                )?;
            }
            writeln!(out, "written   {}", made.folder.display())?;
        }
        Ok(())
    }
}
