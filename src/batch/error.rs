use std::process::ExitCode;

use super::args::UsageError;
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
    /// The checkpoint is not what it should be.
    #[error("verification failed")]
    Unverified,
    /// The terminal or pipe that the results go to does not take them.
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
}

impl BatchError {
    /// The exit code: 2 for usage, 130 for Ctrl-C, else 1.
    pub fn exit_code(&self) -> ExitCode {
        let cancelled = match self {
            Self::Engine(error) => matches!(error, EngineError::Cancelled),
            Self::Export(error)
            | Self::NotExported(NotExported::Failed(error))
            | Self::NotRepaired(NotRepaired::Failed(error)) => {
                matches!(error, ExportError::Engine(EngineError::Cancelled))
            }
            _ => false,
        };
        let usage = match self {
            Self::Usage(_)
            | Self::Recipe(_)
            | Self::Plan(
                PlanError::Recipe(_)
                | PlanError::NoPair { .. }
                | PlanError::Unserved { .. }
                | PlanError::NoSearch { .. }
                | PlanError::NoScaleDtype { .. }
                | PlanError::NoNibbles { .. }
                | PlanError::CannotShare { .. },
            )
            | Self::Device(OpenError::NoAdapter | OpenError::NotFound { .. }) => true,
            Self::Report(error) => {
                matches!(
                    error,
                    ReportError::UnknownEnding { .. }
                        | ReportError::NoFolder { .. }
                        | ReportError::InInput { .. }
                        | ReportError::IsFolder { .. }
                )
            }
            Self::Export(error)
            | Self::NotExported(NotExported::Failed(error))
            | Self::NotRepaired(NotRepaired::Failed(error)) => matches!(
                error,
                ExportError::OutputExists { .. }
                    | ExportError::OutputIsInput { .. }
                    | ExportError::OutputIsNoExport { .. }
                    | ExportError::NoModelFile { .. }
                    | ExportError::NoParent { .. }
            ),
            _ => false,
        };
        ExitCode::from(if cancelled {
            130
        } else if usage {
            2
        } else {
            1
        })
    }
}
