use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::args::UsageError;
use super::exit::Exit;
use crate::checkpoint::CheckpointError;
use crate::engine::EngineError;
use crate::export::repair::NotRepaired;
use crate::export::{ExportError, NotExported};
use crate::gpu::OpenError;
use crate::plan::PlanError;
use crate::recipe::RecipeError;
use crate::report::ReportError;

/// Why a batch run ended without success.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The command line cannot be meant.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The checkpoint cannot be opened.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The plan cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device cannot be opened.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// The run failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The export failed.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The export was not published.
    #[error(transparent)]
    NotExported(#[from] NotExported),
    /// The repair was not published.
    #[error(transparent)]
    NotRepaired(#[from] NotRepaired),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The window cannot be opened or drawn.
    #[error("{0}")]
    Window(String),
    /// There are findings, and they count.
    #[error("{0}, and --strict is on")]
    Findings(String),
    /// It ended, and what is done is left to be gone on with.
    #[error("{error}\nwhat is done is in {}: --resume goes on with it", partial.display())]
    Left {
        /// Why it ended.
        error: Box<BatchError>,
        /// Where it is left.
        partial: PathBuf,
    },
    /// The checkpoint is not what it should be.
    #[error("verification failed")]
    Unverified,
    /// A device of this machine does not do what is specified.
    #[error("{0}")]
    Doctor(String),
    /// The terminal or pipe that the results go to does not take them.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

impl BatchError {
    /// How a run ends that ends with it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Left { error, .. } => error.exit(),
            Self::Usage(_) | Self::Recipe(_) => Exit::Usage,
            Self::Device(OpenError::NoAdapter | OpenError::NotFound { .. }) => Exit::Usage,
            Self::Device(_) | Self::Doctor(_) => Exit::Device,
            Self::Checkpoint(error) => of_checkpoint(error),
            Self::Plan(error) => of_plan(error),
            Self::Engine(error) => of_engine(error),
            Self::Export(error)
            | Self::NotExported(NotExported::Failed(error))
            | Self::NotRepaired(NotRepaired::Failed(error)) => of_export(error),
            Self::NotExported(NotExported::Findings(_)) | Self::Findings(_) => Exit::Findings,
            Self::NotExported(NotExported::Refused(_))
            | Self::NotRepaired(NotRepaired::Refused(_) | NotRepaired::Irreparable { .. })
            | Self::Unverified => Exit::Unverified,
            Self::Report(ReportError::Io { source, .. }) | Self::Print(source) => of_write(source),
            Self::Report(_) => Exit::Usage,
            Self::Window(_) => Exit::Failed,
        }
    }
}

fn of_checkpoint(error: &CheckpointError) -> Exit {
    match error {
        CheckpointError::Io { .. } | CheckpointError::Changed { .. } => Exit::Failed,
        _ => Exit::Unfit,
    }
}

fn of_plan(error: &PlanError) -> Exit {
    match error {
        PlanError::Recipe(_)
        | PlanError::NoPair { .. }
        | PlanError::Unserved { .. }
        | PlanError::NoSearch { .. }
        | PlanError::NoScaleDtype { .. }
        | PlanError::NoNibbles { .. }
        | PlanError::CannotShare { .. } => Exit::Usage,
        _ => Exit::Unfit,
    }
}

fn of_engine(error: &EngineError) -> Exit {
    match error {
        EngineError::Cancelled => Exit::Stopped,
        EngineError::NotFinite { .. } => Exit::Unfit,
        EngineError::Read(error) => of_checkpoint(error),
        EngineError::Backend(_) => Exit::Device,
        EngineError::Write { source, .. } => of_write(source),
    }
}

fn of_export(error: &ExportError) -> Exit {
    match error {
        ExportError::OutputExists { .. }
        | ExportError::FinishedBefore { .. }
        | ExportError::OutputIsInput { .. }
        | ExportError::OutputIsNoExport { .. }
        | ExportError::NoModelFile { .. }
        | ExportError::NoParent { .. }
        | ExportError::Interrupted { .. }
        | ExportError::JournalUnread { .. }
        | ExportError::ChangedSince { .. }
        | ExportError::OtherPart { .. }
        | ExportError::Busy { .. }
        | ExportError::NotPartial { .. }
        | ExportError::NotResumable { .. }
        | ExportError::NoParts { .. }
        | ExportError::PartsMissing { .. }
        | ExportError::TwoDivisions { .. } => Exit::Usage,
        ExportError::NotEnoughSpace { .. } => Exit::Full,
        ExportError::Io { source, .. } | ExportError::OldKeptAside { source, .. } => {
            of_write(source)
        }
        ExportError::Engine(error) => of_engine(error),
        ExportError::Checkpoint(error) => of_checkpoint(error),
        ExportError::NothingToQuantize
        | ExportError::NoPartsOfModel { .. }
        | ExportError::NotVerifiable { .. }
        | ExportError::Unreadable { .. } => Exit::Unfit,
    }
}

/// What the system says of writing.
fn of_write(error: &io::Error) -> Exit {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Exit::Full,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{BackendError, Fault};

    #[test]
    fn what_cannot_be_provoked_has_its_code_too() {
        let failed = BackendError {
            device: "a GPU".to_owned(),
            fault: Fault::Broken,
            message: "lost".to_owned(),
        };
        let failed = || EngineError::from(failed.clone());
        assert_eq!(BatchError::from(failed()).exit(), Exit::Device);
        assert_eq!(BatchError::from(ExportError::from(failed())).exit(), Exit::Device);
        assert_eq!(BatchError::from(OpenError::NoAdapter).exit(), Exit::Usage);

        for (kind, exit) in [
            (ErrorKind::StorageFull, Exit::Full),
            (ErrorKind::QuotaExceeded, Exit::Full),
            (ErrorKind::PermissionDenied, Exit::Failed),
        ] {
            let write = |source| EngineError::Write { name: "x".to_owned(), source };
            assert_eq!(BatchError::from(write(kind.into())).exit(), exit);
            assert_eq!(BatchError::from(ExportError::io("create", "x", kind.into())).exit(), exit);
        }
        // A config that is too large to be read says nothing of room.
        let path = "config.json".into();
        let read = CheckpointError::Io { path, source: ErrorKind::FileTooLarge.into() };
        assert_eq!(BatchError::from(read).exit(), Exit::Failed);
    }
}
