//! File dialogs, and the reading and writing that follows them, in the background.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rfd::AsyncFileDialog;

use super::session::{Notify, Task};
use crate::recipe::Recipe;
use crate::report::write_file;

/// Nobody looks at a dialog and closes it in less: it has not come up.
const SHORTEST: Duration = Duration::from_millis(250);

/// What to say then.
const NO_DIALOG: &str = "No file dialog came up. On Linux they need xdg-desktop-portal or zenity. Paths \
    can also be typed, given on the command line, or dropped on the window; a recipe and the rows of \
    the table can be copied";

/// What came of a dialog.
#[derive(Debug)]
pub enum Answer {
    /// A checkpoint to open.
    Open(PathBuf),
    /// Where to export to.
    Out(PathBuf),
    /// A checkpoint to verify against.
    Against(PathBuf),
    /// A checkpoint to compare with.
    Compare(PathBuf),
    /// A recipe that was read.
    Recipe(PathBuf, Box<Recipe>),
    /// A file that was written, and the recipe if it is one.
    Saved(PathBuf, Option<Box<Recipe>>),
    /// A file that could not be read or written.
    Failed(String),
}

/// Dialogs that are open.
#[derive(Default)]
pub struct Dialogs {
    open: Vec<Task<Option<Answer>>>,
}

impl Dialogs {
    /// Asks for a checkpoint's folder.
    pub fn open_folder(&mut self, notify: &Notify) {
        let picked = AsyncFileDialog::new().set_title("Open a checkpoint").pick_folder();
        self.ask(notify, picked, Answer::Open);
    }

    /// Asks for a checkpoint's file.
    pub fn open_file(&mut self, notify: &Notify) {
        let dialog = AsyncFileDialog::new().set_title("Open a checkpoint");
        let picked = dialog.add_filter("Weights", &["safetensors", "onnx"]).pick_file();
        self.ask(notify, picked, Answer::Open);
    }

    /// Asks for the folder in which the export is to be, called `name`.
    pub fn export_into(&mut self, notify: &Notify, name: String) {
        let picked = AsyncFileDialog::new().set_title("Export into").pick_folder();
        self.ask(notify, picked, move |folder| Answer::Out(folder.join(name)));
    }

    /// Asks for the checkpoint to compare with: its folder, or for an ONNX model its file.
    pub fn compare_with(&mut self, notify: &Notify, is_onnx: bool, then: fn(PathBuf) -> Answer) {
        let dialog = AsyncFileDialog::new().set_title("Compare with");
        match is_onnx {
            true => {
                let picked = dialog.add_filter("ONNX", &["onnx"]).pick_file();
                self.ask(notify, picked, then);
            }
            false => self.ask(notify, dialog.pick_folder(), then),
        }
    }

    /// Asks for a recipe and reads it.
    pub fn open_recipe(&mut self, notify: &Notify) {
        let dialog = AsyncFileDialog::new().set_title("Open a recipe");
        let picked = dialog.add_filter("Recipes", &["toml"]).pick_file();
        self.ask(notify, picked, |path| match Recipe::read(&path) {
            Ok(recipe) => Answer::Recipe(path, Box::new(recipe)),
            Err(error) => Answer::Failed(error.to_string()),
        });
    }

    /// Asks where to save a file, makes its contents and writes them. `recipe` is what is in it, if it is one.
    pub fn save(
        &mut self,
        notify: &Notify,
        file_name: &str,
        contents: impl FnOnce() -> Vec<u8> + Send + 'static,
        recipe: Option<Box<Recipe>>,
    ) {
        let picked = AsyncFileDialog::new().set_file_name(file_name).save_file();
        self.ask(notify, picked, move |path| match write_file(&path, &contents()) {
            Ok(()) => Answer::Saved(path, recipe),
            Err(error) => Answer::Failed(format!("cannot write {}: {error}", path.display())),
        });
    }

    /// What has come of dialogs since the last call.
    pub fn poll(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.open.retain(|task| match task.poll() {
            Some(Ok(answer)) => {
                answers.extend(answer);
                false
            }
            Some(Err(message)) => {
                answers.push(Answer::Failed(message));
                false
            }
            None => true,
        });
        answers
    }

    /// Waits for a dialog in the background. Dialogs have to be begun in the window's own thread.
    fn ask(
        &mut self,
        notify: &Notify,
        picked: impl Future<Output = Option<rfd::FileHandle>> + Send + 'static,
        then: impl FnOnce(PathBuf) -> Answer + Send + 'static,
    ) {
        let started = Instant::now();
        self.open.push(Task::start(notify, move |_| match pollster::block_on(picked) {
            Some(file) => Some(then(file.path().to_owned())),
            None if started.elapsed() < SHORTEST => Some(Answer::Failed(NO_DIALOG.to_owned())),
            None => None,
        }));
    }
}
