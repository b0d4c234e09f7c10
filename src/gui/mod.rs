//! The window: open, see, decide, export. It shows what the library found, and draws nothing that it
//! has computed itself; what it can do, `--batch` can do with the recipe that it saves.
//!
//! `session` has all that is known of the open checkpoint and all work on it, in the background, and
//! knows nothing of drawing. [`App`] draws it once a frame, in panels and views, and takes commands.

mod act;
mod app;
mod command;
mod dialogs;
mod memory;
mod menu;
mod overlay;
mod panels;
mod screenshot;
mod session;
mod settings;
mod theme;
mod views;
mod widgets;
mod window;

use std::path::absolute;
use std::str::FromStr;

pub use app::App;
pub use screenshot::{NotShown, Screenshot, screenshot};
pub use session::{BlockPlace, Focus, Look, Session, Source, WindowGpu};
pub use settings::Settings;
pub use views::View;
pub use views::inspect::lessons::Underway;
pub use window::{NoWindow, Start, run, share};

use crate::batch::{Args, BatchError, UsageError};
use crate::device::AUTO;

/// What the screenshot of nothing open is called.
const WELCOME: &str = "welcome";

/// Opens the window that the arguments say, or draws it into a file.
pub fn main(args: &Args) -> Result<(), BatchError> {
    if args.has_mode() {
        return Err(UsageError::NoBatch.into());
    }
    let recipe = args.recipe()?;
    let view = match args.view.as_deref() {
        None => Some(View::default()),
        Some(WELCOME) => None,
        Some(name) => Some(View::from_str(name)?),
    };
    let checkpoint = args.open.as_ref().or(args.checkpoint.as_ref());
    let source = checkpoint.map(|path| Source::path(path)).or(args.demo.then_some(Source::Demo));
    let block = args.block.as_deref().map(BlockPlace::from_str).transpose();
    let lesson = args.lesson.as_deref().map(|text| {
        let lesson = Underway::from_str(text);
        lesson.map_err(|()| UsageError::NoLesson(text.to_owned()))
    });
    let lesson = lesson.transpose()?;
    let look = Look {
        recipe,
        max_shard_bytes: args.max_shard_size,
        selection: args.select.iter().cloned().collect(),
        focus: Focus {
            tensor: args.select.first().cloned(),
            expert: args.expert.unwrap_or(0),
            format: args.seen_as,
            wanted: block.map_err(|error| UsageError::NoBlock(error.to_string()))?,
            ..Focus::default()
        },
        compare: args.compare.as_deref().map(|path| absolute(path).unwrap_or_else(|_| path.into())),
    };
    match &args.screenshot {
        None => {
            let start = Start {
                source,
                look,
                view: args.view.as_ref().and(view),
                lesson,
                // The default of the flag leaves the device that was chosen last.
                device: Some(args.device.clone()).filter(|name| name != AUTO),
            };
            run(start).map_err(|error| BatchError::Window(error.to_string()))
        }
        Some(file) => {
            let wanted = Screenshot {
                source: source.unwrap_or(Source::Demo),
                look,
                view,
                lesson,
                light: args.light,
                size: args.size.map(f32::from),
                scale: 1.0,
            };
            screenshot(&wanted, file).map_err(|error| BatchError::Window(error.to_string()))
        }
    }
}

impl FromStr for View {
    type Err = UsageError;

    fn from_str(name: &str) -> Result<Self, UsageError> {
        let found = Self::ALL.into_iter().find(|view| view.key() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::key);
            let known = format!("{WELCOME}, {}", known.join(", "));
            UsageError::UnknownView { name: name.to_owned(), known }
        })
    }
}
