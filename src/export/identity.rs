//! What an export is of, and how it is made: what must be the same for another run to go on with it.

use std::fmt::{self, Write};
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::Part;
use crate::checkpoint::{Checkpoint, CheckpointError, FileIdentity};
use crate::plan::Plan;

/// The identity of an export.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The program's version: another one may cut the work into other pieces.
    version: String,
    /// The files that are read.
    source: Vec<FileIdentity>,
    /// XXH3 of all in the plan that decides what is written.
    plan: u64,
    /// Which part of it is made.
    pub part: Option<Part>,
}

impl Identity {
    /// That of a plan for an open checkpoint.
    pub fn of(
        checkpoint: &Checkpoint,
        plan: &Plan,
        part: Option<Part>,
    ) -> Result<Self, CheckpointError> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Self { version, source: checkpoint.identity()?, plan: fingerprint(plan), part })
    }

    /// What is not the same now as it was, in words. Files that were copied from one machine to another
    /// need not have kept their times; then these do not count.
    pub fn difference(&self, now: &Self, times_count: bool) -> Option<String> {
        if self.version != now.version {
            return Some(format!("it was begun by version {}", self.version));
        }
        let is_other =
            |(then, now): &(&FileIdentity, &FileIdentity)| !then.is_same(now, times_count);
        let pairs = || self.source.iter().zip(&now.source);
        if let Some((then, now)) = pairs().find(is_other) {
            return Some(format!(
                "{} of the source is another now: {}",
                then.name,
                then.difference(now)
            ));
        }
        if self.source.len() != now.source.len() {
            let (then, now) = (self.source.len(), now.source.len());
            return Some(format!("the source had {then} files, and has {now} now"));
        }
        (self.plan != now.plan).then(|| "the recipe or the arguments are others now".to_owned())
    }
}

/// What in a plan decides what is written, in one number.
fn fingerprint(plan: &Plan) -> u64 {
    let Plan {
        dialect,
        quotient,
        search,
        scale_dtype,
        nibbles,
        entries,
        groups,
        files,
        exclude,
        tie_word_embeddings,
        external_data,
        findings: _,
        rules: _,
        bytes_before: _,
        bytes_after: _,
        tie_is_open: _,
    } = plan;
    let mut hash = Text(XxHash3_64::new());
    let how = (dialect, quotient, search, scale_dtype, nibbles, tie_word_embeddings, external_data);
    let what = (entries, groups, files, exclude);
    // Writing into a hash does not fail.
    let _ = write!(hash, "{how:?}{what:?}");
    hash.0.finish()
}

/// Text of which only the hash is of interest.
struct Text(XxHash3_64);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
