//! Writing a quantized checkpoint, and what has to be found out before.

use std::io::Write;

use super::{Batch, BatchError, device};
use crate::backend::TieMatch;
use crate::checkpoint::Checkpoint;
use crate::engine::{Method, Run, tie_match};
use crate::export::{Exported, NotExported, Options, Stage, export};
use crate::model::ties::Tie;
use crate::model::{Model, ties};
use crate::plan::{Entry, Plan};
use crate::report::{GroupBy, terminal};

impl Batch<'_> {
    /// Finds out by reading whether embedding and head are one: byte by byte, and where bytes differ
    /// by what the quantized table stands for.
    pub(super) fn settle_tie(&self, model: &Model<'_>, plan: &Plan) -> Result<Tie, BatchError> {
        let settled = ties::settle(model.checkpoint, model.tie.clone(), self.cancel)?;
        let (Tie::Unknown { embedding, head }, Tie::Untied) = (&model.tie, &settled) else {
            return Ok(settled);
        };
        let tensors = &model.checkpoint.tensors;
        let (table, other) = (&tensors[*embedding], &tensors[*head]);
        let entry = plan.entries.iter().find(|entry| entry.member.index == *embedding);
        let Some(format) = entry.and_then(Entry::format) else { return Ok(settled) };

        let backend = device::open(&self.args.device)?;
        let resources = self.resources(backend.as_ref());
        self.progress.begin("compare", 0);
        let found =
            tie_match(&resources, model.checkpoint, (table, other), Method::of(plan, format))?;
        self.progress.end();
        match found {
            Some(TieMatch { apart: 0, .. }) => {
                Ok(Tie::HeadMatches { embedding: *embedding, head: *head })
            }
            _ => Ok(settled),
        }
    }

    pub(super) fn export(
        &self,
        checkpoint: &Checkpoint,
        plan: &Plan,
        folder: &std::path::Path,
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        let backend = device::open(&self.args.device)?;
        self.show_device(backend.name(), out)?;
        let run = Run { checkpoint, plan, sink: None, resources: self.resources(backend.as_ref()) };
        let options =
            Options { out: folder, overwrite: self.args.overwrite, strict: self.args.strict };
        let exported = export(&run, &options, &|stage, total| {
            let name = match stage {
                Stage::Quantize => "quantize",
                Stage::Verify => "verify",
            };
            self.progress.begin(name, total);
        });
        let Exported { stats, findings, verification, companions } = match exported {
            Ok(exported) => exported,
            Err(NotExported::Refused(verification)) => {
                writeln!(out, "\n{}", terminal::verification(&verification))?;
                return Err(NotExported::Refused(verification).into());
            }
            Err(NotExported::Findings(findings)) => {
                self.show_findings(&findings, out)?;
                return Err(NotExported::Findings(findings).into());
            }
            Err(error) => return Err(error.into()),
        };
        self.progress.end();
        write!(out, "{}", terminal::findings(&findings))?;
        self.show_stats(plan, &stats, GroupBy::Layer, out)?;
        if !self.args.quiet {
            writeln!(out, "\n{}", terminal::verification(&verification))?;
            write!(out, "\n{}", terminal::companions(&companions))?;
            writeln!(out, "written   {}", folder.display())?;
        }
        let findings = [plan.findings.clone(), findings].concat();
        self.write_report(plan, Some(backend.name()), &stats, &findings, Some(&verification))
    }
}
