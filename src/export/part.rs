//! An export made in parts, by several machines if need be: which files a part makes, and what becomes of
//! the parts.

use std::cmp::Reverse;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ExportError;
use super::target::resolve;
use crate::checkpoint::folder_of;
use crate::plan::{Plan, PlannedFile};

/// A part of the files of an export. Parts are told from the plan alone, so machines need not speak with one
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

/// Why a text is no part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no part: write which and of how many, such as 2/8")]
pub struct NotAPart(String);

/// More parts than that would be parts of nothing.
const MOST: u32 = 9999;

impl FromStr for Part {
    type Err = NotAPart;

    fn from_str(text: &str) -> Result<Self, NotAPart> {
        let part = text.split_once('/').and_then(|(number, of)| {
            Some(Self { number: number.parse().ok()?, of: of.parse().ok()? })
        });
        let is_one =
            |part: &Self| (1..=MOST).contains(&part.of) && (1..=part.of).contains(&part.number);
        part.filter(is_one).ok_or_else(|| NotAPart(text.to_owned()))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Part {
    /// All files, of an export that is not divided.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// What is added to the name of a target for the folder of this part.
    pub fn addition(self) -> String {
        format!(".quantscope-part-{}-of-{}", self.number, self.of)
    }

    /// Which files of a plan are of this part: the largest first, each to the part that has the least yet.
    pub fn files(self, plan: &Plan) -> Vec<bool> {
        let mut order: Vec<usize> = (0..plan.files.len()).collect();
        order.sort_by_key(|&file| Reverse(plan.files[file].bytes));
        let mut bytes = vec![0u64; self.of as usize];
        let mut own = vec![false; plan.files.len()];
        for file in order {
            let least = (0..bytes.len()).min_by_key(|&part| bytes[part]).unwrap_or_default();
            bytes[least] += plan.files[file].bytes;
            own[file] = least + 1 == self.number as usize;
        }
        own
    }

    /// Those files.
    pub fn own(self, plan: &Plan) -> impl Iterator<Item = &PlannedFile> + Clone {
        plan.files.iter().zip(self.files(plan)).filter_map(|(file, own)| own.then_some(file))
    }

    /// Which entries of a plan are of this part: those with outputs in its files, and of those without any
    /// outputs all are of the first part.
    pub fn entries(self, plan: &Plan) -> Vec<bool> {
        let mut own = vec![self.number == 1; plan.entries.len()];
        let files = self.files(plan);
        for (file, is_own) in plan.files.iter().zip(files) {
            file.tensors.iter().for_each(|tensor| own[tensor.entry] = is_own);
        }
        own
    }

    /// The parts that have folders beside a target.
    pub fn beside(target: &Path) -> Result<Vec<Self>, ExportError> {
        let target = resolve(target)?;
        let parent = folder_of(&target);
        let io_error = |source| ExportError::io("list", parent, source);
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(parent).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let own = entry.file_name().to_string_lossy().into_owned();
            let part =
                own.strip_prefix(&name).and_then(|rest| rest.strip_prefix(".quantscope-part-"));
            let part = part.and_then(|part| part.replacen("-of-", "/", 1).parse::<Self>().ok());
            found.extend(part);
        }
        found.sort_by_key(|part: &Self| (part.of, part.number));
        Ok(found)
    }

    /// The parts that have folders beside a target, which are all. Fails if one is not there, or if there are those of two
    /// divisions.
    pub fn all_of(target: &Path) -> Result<Vec<Self>, ExportError> {
        let (target, found) = (resolve(target)?, Self::beside(target)?);
        let Some(&Self { of, .. }) = found.first() else {
            return Err(ExportError::NoParts { out: target });
        };
        if let Some(other) = found.iter().find(|part| part.of != of) {
            let divisions = [of, other.of];
            return Err(ExportError::TwoDivisions { out: target, divisions });
        }
        let is_there = |number: &u32| found.iter().any(|part| part.number == *number);
        let missing: Vec<Self> =
            (1..=of).filter(|n| !is_there(n)).map(|number| Self { number, of }).collect();
        match missing.is_empty() {
            true => Ok(found),
            false => Err(ExportError::PartsMissing { out: target, parts: missing }),
        }
    }
}

/// Parts in a sentence.
pub fn listed(parts: &[Part]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = parts.iter().take(SHOWN).map(Part::to_string).collect();
    match parts.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_as_they_are_read() {
        for text in ["1/1", "3/8", "9999/9999"] {
            assert_eq!(text.parse::<Part>().unwrap().to_string(), text);
        }
        for text in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/4", "a/b", "1/10000", "1 / 3"] {
            let error = text.parse::<Part>().unwrap_err().to_string();
            assert!(error.contains("such as 2/8"), "{error}");
        }
    }
}
