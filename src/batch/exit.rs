//! Exit codes: how a run ended, as scripts see it.

use std::process::ExitCode;

use serde::Serialize;

/// How a run ended. Scripts rely on numbers and names, so these stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Exit {
    /// All that was asked for is done.
    Done = 0,
    /// The system did not let it read or write, or nothing below says what happened.
    Failed = 1,
    /// The command line cannot be meant.
    Usage = 2,
    /// A checkpoint, or what was just written, is not what it should be.
    Unverified = 3,
    /// There are findings, and they count as failures.
    Findings = 4,
    /// The disk has no room, or a limit of the system does not allow as much.
    Full = 5,
    /// The checkpoint is damaged, or is not one that this can be done with.
    Unfit = 6,
    /// The device that computes cannot be opened, or failed.
    Device = 7,
    /// The user stopped it.
    Stopped = 130,
}

impl Exit {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Unverified,
        Self::Findings,
        Self::Full,
        Self::Unfit,
        Self::Device,
        Self::Stopped,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for whoever looks it up.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed: something cannot be read or written",
            Self::Usage => {
                "wrong usage: arguments, recipe, device, or an --out that exists or cannot be"
            }
            Self::Unverified => "verification failed, or a checkpoint is beyond repair",
            Self::Findings => "there are findings and --strict is on",
            Self::Full => "no room: the disk is full, or a limit is reached",
            Self::Unfit => "the checkpoint is damaged, or not one that this can be done with",
            Self::Device => {
                "the device cannot be opened, or doctor found one that fails: try --device cpu"
            }
            Self::Stopped => "stopped by Ctrl-C or SIGTERM",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
