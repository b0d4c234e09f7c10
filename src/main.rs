//! The `quantscope` program.

use std::process::ExitCode;

use clap::Parser;
use quantscope::batch::{self, Args};

fn main() -> ExitCode {
    batch::main(&Args::parse())
}
