//! Making the weight files of an export: from the beginning, where another run was interrupted, or in parts.

use std::path::{Path, PathBuf};

use super::identity::Identity;
use super::journal::{self, Header, Journal};
use super::part::Part;
use super::staging::{PARTIAL, Staging, beside, holds_work};
use super::start::check_start;
use super::target::{check_target, resolve};
use super::writer::{Writer, in_order};
use super::{ExportError, Exported, NotExported, Options, Stage, companions, complete};
use crate::engine::{Piece, Run, by_entry, merge};
use crate::stats::TensorStats;

/// Weight files that are made.
pub struct Made {
    /// Measurements of each entry of the plan; `None` for tensors that are no floats, or of another part.
    pub stats: Vec<Option<TensorStats>>,
    /// What was written, in the order of files and places.
    pub pieces: Vec<Piece>,
}

impl Made {
    /// What journals tell of.
    pub fn of(run: &Run<'_>, journals: &[Journal]) -> Result<Self, ExportError> {
        let io_error = |source| ExportError::io("read", journal::NAME, source);
        let (mut pieces, mut measured) = (Vec::new(), Vec::new());
        for journal in journals {
            let (more_pieces, more_measured) = journal.take_all().map_err(io_error)?;
            pieces.extend(more_pieces);
            measured.extend(more_measured);
        }
        Ok(Self { stats: by_entry(run.plan, merge(measured)), pieces: in_order(pieces) })
    }
}

/// Takes the folder in which an export grows, or a part of it. Goes on with what is there if that is asked
/// for and it is of the same source and plan. `more_bytes` will be written besides weight files.
pub fn begin(
    run: &Run<'_>,
    options: &Options<'_>,
    part: Option<Part>,
    more_bytes: u64,
) -> Result<(Staging, Journal), ExportError> {
    let source = &run.checkpoint.path;
    let identity = Identity::of(run.checkpoint, run.plan, part)?;
    let target = check_start(options.out, source, options.overwrite, options.resume)?;
    let mut staging = Staging::claim(target, &addition(part), source, options.overwrite)?;
    let io_error = |source| ExportError::io("write", journal::NAME, source);
    let files = part.unwrap_or(Part::WHOLE).own(run.plan);
    let needed = files.clone().map(|file| file.bytes).sum::<u64>() + more_bytes;
    let found = match staging.holds_work() {
        true => Journal::open(staging.journal()?).map_err(io_error)?,
        false => None,
    };
    match found {
        Some(journal) if options.resume => {
            if let Some(difference) = journal.header().identity.difference(&identity, true) {
                let partial = staging.root().to_owned();
                return Err(ExportError::NotResumable { partial, difference });
            }
            if has_its_name(&staging, &journal) {
                return Ok((staging, journal));
            }
            check_target(options.out, source, options.overwrite)?;
            let is_there = staging.path().is_dir();
            let there = if is_there { journal.written_bytes() } else { 0 };
            staging.go_on(needed.saturating_sub(there))?;
            // All else is written anew, from what the source has now.
            staging.retain(&files.map(|file| file.name.as_str()).collect())?;
            Ok((staging, journal))
        }
        Some(_) if !options.overwrite => {
            Err(ExportError::Interrupted { partial: staging.root().to_owned() })
        }
        None if staging.holds_files() && !options.overwrite => {
            Err(ExportError::JournalUnread { partial: staging.root().to_owned() })
        }
        _ => {
            // An interrupted run may have published it, and lost its journal.
            staging.keep(staging.holds_work());
            check_target(options.out, source, options.overwrite)?;
            staging.begin(needed)?;
            staging.keep(options.resume);
            let chunk_bytes = run.resources.backend.chunk_bytes();
            let header = Header { identity, chunk_bytes };
            let journal = Journal::create(staging.journal()?, header).map_err(io_error)?;
            Ok((staging, journal))
        }
    }
}

/// Whether an interrupted run has given what a journal is of its name.
pub fn has_its_name(staging: &Staging, journal: &Journal) -> bool {
    let is_whole = journal.header().identity.part.is_none();
    is_whole && journal.is_complete() && staging.may_be_published()
}

/// What is added to the name of a target for the folder in which it, or a part of it, grows.
fn addition(part: Option<Part>) -> String {
    part.map_or_else(|| PARTIAL.to_owned(), Part::addition)
}

/// The folder beside a target in which an interrupted run has left an export, or a part of one.
pub fn unfinished(out: &Path, part: Option<Part>) -> Option<PathBuf> {
    let folder = beside(&resolve(out).ok()?, &addition(part));
    holds_work(&folder).then_some(folder)
}

/// Makes the weight files that a journal is of, but for what it tells of.
pub fn make(
    run: &Run<'_>,
    staging: &Staging,
    journal: Journal,
    sync: bool,
    stage: &dyn Fn(Stage, u64),
) -> Result<Made, ExportError> {
    let writer = Writer::open(staging.path(), run.plan, run.checkpoint, sync, Some(journal))?;
    let run = Run { sink: Some(&writer), ..*run };
    stage(Stage::Quantize, run.work_bytes());
    let stats = run.execute()?;
    Ok(Made { stats, pieces: writer.finish()? })
}

/// What making a part did.
#[derive(Debug)]
pub struct PartMade {
    /// The folder that holds it until all parts are put together.
    pub folder: PathBuf,
    /// Names and bytes of its files; none where there are more parts than files.
    pub files: Vec<(String, u64)>,
    /// Measurements of its entries.
    pub stats: Vec<Option<TensorStats>>,
}

/// Makes a part of the weight files of an export, in a folder beside its target: on any machine, and in any
/// order. [`finish`] puts the parts together. Fails for an ONNX model.
pub fn export_part(
    run: &Run<'_>,
    options: &Options<'_>,
    part: Part,
    stage: &dyn Fn(Stage, u64),
) -> Result<PartMade, NotExported> {
    check_parts(run)?;
    let (mut staging, journal) = begin(run, options, Some(part), 0)?;
    let Made { mut stats, .. } = make(run, &staging, journal, options.sync, stage)?;
    run.checkpoint.check_unchanged().map_err(ExportError::from)?;
    staging.keep(true);
    // Of tensors of other parts only the largest magnitude was looked for.
    let own = part.entries(run.plan);
    stats.iter_mut().zip(own).filter(|(_, own)| !own).for_each(|(stats, _)| *stats = None);
    let files = part.own(run.plan).map(|file| (file.name.clone(), file.bytes)).collect();
    Ok(PartMade { folder: staging.root().to_owned(), files, stats })
}

/// Puts the parts of an export together: checks that all are there, complete, and of this source and plan;
/// adds index and config; verifies all; gives it its name; and removes the parts.
pub fn finish(
    run: &Run<'_>,
    options: &Options<'_>,
    stage: &dyn Fn(Stage, u64),
) -> Result<Exported, NotExported> {
    check_parts(run)?;
    let (source, out) = (&run.checkpoint.path, options.out);
    let target = check_start(out, source, options.overwrite, false)?;
    let identity = Identity::of(run.checkpoint, run.plan, None).map_err(ExportError::from)?;
    let (mut parts, mut journals, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let mut notices = Vec::new();
    for part in Part::all_of(out)? {
        let staging = Staging::claim(target.clone(), &part.addition(), source, options.overwrite)?;
        let found = Journal::open(staging.journal()?);
        let found = found.map_err(|e| ExportError::io("read", staging.root(), e))?;
        let Some(journal) = found.filter(Journal::is_complete) else {
            missing.push(part);
            continue;
        };
        let made_of = &journal.header().identity;
        if let Some(difference) = made_of.difference(&identity, false) {
            let partial = staging.root().to_owned();
            return Err(ExportError::OtherPart { partial, part, difference }.into());
        }
        if let Some(difference) = made_of.difference(&identity, true) {
            notices.push(format!(
                "part {part}: {difference}. If its source was no copy of this one, compare with --verify --against"
            ));
        }
        journals.push(journal);
        parts.push((part, staging));
    }
    if !missing.is_empty() {
        return Err(ExportError::PartsMissing { out: out.to_owned(), parts: missing }.into());
    }
    let companions = companions(run, out)?;
    let staging = Staging::create(out, source, options.overwrite, companions.bytes)?;
    for (part, made) in &parts {
        for file in part.own(run.plan) {
            link(&made.path().join(&file.name), &staging.path().join(&file.name))?;
        }
    }
    let made = Made::of(run, &journals)?;
    let mut exported = complete(run, options, staging, companions, &made, stage)?;
    exported.notices.extend(notices);
    parts.iter_mut().for_each(|(_, staging)| staging.keep(false));
    Ok(exported)
}

fn check_parts(run: &Run<'_>) -> Result<(), ExportError> {
    if run.checkpoint.onnx.is_some() {
        return Err(ExportError::NoPartsOfModel { path: run.checkpoint.path.clone() });
    }
    match run.plan.quantizes() {
        true => Ok(()),
        false => Err(ExportError::NothingToQuantize),
    }
}

/// Gives a file a second name, or where that cannot be a copy: the part stays whole until all is done.
fn link(from: &Path, to: &Path) -> Result<(), ExportError> {
    let io_error = |source| ExportError::io("put together", to, source);
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(io_error)?;
    }
    match std::fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => std::fs::copy(from, to).map(drop).map_err(io_error),
    }
}
