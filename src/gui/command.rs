//! Everything that can be done by name. Menus, shortcuts, the palette and the shortcut sheet all come
//! from this list.

use eframe::egui::{Context, Key, KeyboardShortcut, Modifiers};

/// Something that can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    OpenFolder,
    OpenFile,
    OpenDemo,
    OpenRecipe,
    SaveRecipe,
    CopyRecipe,
    SaveTableCsv,
    SaveTableJson,
    SaveTableMarkdown,
    Quit,
    Undo,
    Redo,
    CopyRows,
    SelectShown,
    ClearSelection,
    FocusFilter,
    ToggleEmbeddings,
    KeepSelection,
    QuantizeSelection,
    ResetRecipe,
    Export,
    Verify,
    Stop,
    CopyCommandLine,
    CopyReport,
    ShowMap,
    ShowTable,
    ShowProfile,
    ShowFiles,
    ShowExport,
    ShowExperts,
    ShowFormats,
    ShowMicroscope,
    ShowRuler,
    ShowHistogram,
    ShowScales,
    ShowErrors,
    ShowOutliers,
    ShowRegimes,
    ShowCompare,
    ShowCodecs,
    ShowLessons,
    NextStep,
    PreviousStep,
    EndLesson,
    Pin,
    CopyLink,
    SaveViewCsv,
    SaveViewPng,
    ToggleRecipe,
    ToggleSize,
    PauseMeasuring,
    Dark,
    Light,
    FollowSystem,
    Palette,
    Shortcuts,
    About,
}

/// Where in the menus a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    File,
    Edit,
    Recipe,
    View,
    Help,
}

impl Menu {
    /// Every menu, from left to right.
    pub const ALL: [Self; 5] = [Self::File, Self::Edit, Self::Recipe, Self::View, Self::Help];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "File",
            Self::Edit => "Edit",
            Self::Recipe => "Recipe",
            Self::View => "View",
            Self::Help => "Help",
        }
    }
}

const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = CTRL.plus(Modifiers::SHIFT);
const ALT: Modifiers = Modifiers::ALT;
const NONE: Modifiers = Modifiers::NONE;

/// What there is to say of a command: menu, name, what it does, shortcut.
type Said = (Menu, &'static str, &'static str, Option<(Modifiers, Key)>);

impl Command {
    /// Every command, in the order of the menus.
    pub const ALL: [Self; 58] = {
        use Command::*;
        [
            OpenFolder,
            OpenFile,
            OpenDemo,
            OpenRecipe,
            SaveRecipe,
            CopyRecipe,
            SaveTableCsv,
            SaveTableJson,
            SaveTableMarkdown,
            Quit,
            Undo,
            Redo,
            CopyRows,
            SelectShown,
            ClearSelection,
            FocusFilter,
            ToggleEmbeddings,
            KeepSelection,
            QuantizeSelection,
            ResetRecipe,
            Export,
            Verify,
            Stop,
            CopyCommandLine,
            CopyReport,
            ShowMap,
            ShowTable,
            ShowProfile,
            ShowFiles,
            ShowExport,
            ShowExperts,
            ShowFormats,
            ShowMicroscope,
            ShowRuler,
            ShowHistogram,
            ShowScales,
            ShowErrors,
            ShowOutliers,
            ShowRegimes,
            ShowCompare,
            ShowCodecs,
            ShowLessons,
            NextStep,
            PreviousStep,
            EndLesson,
            Pin,
            CopyLink,
            SaveViewCsv,
            SaveViewPng,
            ToggleRecipe,
            ToggleSize,
            PauseMeasuring,
            Dark,
            Light,
            FollowSystem,
            Palette,
            Shortcuts,
            About,
        ]
    };

    const fn said(self) -> Said {
        use Menu::{Edit, File, Help, Recipe, View};
        match self {
            Self::OpenFolder => {
                let help = "Open a Hugging Face checkpoint, or a folder with an ONNX model";
                (File, "Open folder…", help, Some((CTRL, Key::O)))
            }
            Self::OpenFile => (
                File,
                "Open file…",
                "Open one .safetensors file, with the config.json beside it, or one .onnx file",
                Some((CTRL_SHIFT, Key::O)),
            ),
            Self::OpenDemo => {
                (File, "Open the demo", "A small checkpoint that comes with the program", None)
            }
            Self::OpenRecipe => (File, "Open recipe…", "Load a recipe from a TOML file", None),
            Self::SaveRecipe => {
                (File, "Save recipe…", "Save the recipe for --batch --recipe", Some((CTRL, Key::S)))
            }
            Self::CopyRecipe => (File, "Copy recipe", "Copy the recipe as TOML", None),
            Self::SaveTableCsv => {
                (File, "Save table as CSV…", "Save the rows that the table shows", None)
            }
            Self::SaveTableJson => {
                (File, "Save table as JSON…", "Save the rows that the table shows", None)
            }
            Self::SaveTableMarkdown => {
                (File, "Save table as Markdown…", "Save the rows that the table shows", None)
            }
            Self::Quit => (File, "Quit", "Close the window", Some((CTRL, Key::Q))),
            Self::Undo => {
                (Edit, "Undo", "Take the last change of the recipe back", Some((CTRL, Key::Z)))
            }
            Self::Redo => (
                Edit,
                "Redo",
                "Make the change that was taken back again",
                Some((CTRL_SHIFT, Key::Z)),
            ),
            Self::CopyRows => (
                Edit,
                "Copy rows",
                "Copy the selected rows of the table, or all shown, as CSV",
                Some((CTRL_SHIFT, Key::C)),
            ),
            Self::SelectShown => (
                Edit,
                "Select all shown",
                "Select every tensor in the rows that the table shows",
                Some((CTRL_SHIFT, Key::A)),
            ),
            Self::ClearSelection => {
                (Edit, "Clear selection", "Select nothing", Some((NONE, Key::Escape)))
            }
            Self::FocusFilter => {
                (Edit, "Filter", "Type what the table is to show", Some((CTRL, Key::F)))
            }
            Self::ToggleEmbeddings => (
                Recipe,
                "Quantize embeddings",
                "Opt in to quantizing embedding tables, or out",
                Some((CTRL, Key::E)),
            ),
            Self::KeepSelection => {
                (Recipe, "Keep selection", "Add a rule that keeps what is selected", None)
            }
            Self::QuantizeSelection => {
                (Recipe, "Quantize selection", "Add a rule that quantizes what is selected", None)
            }
            Self::ResetRecipe => (Recipe, "Start over", "Forget all choices", None),
            Self::Export => (
                Recipe,
                "Export",
                "Write the quantized checkpoint, and verify it",
                Some((CTRL, Key::Enter)),
            ),
            Self::Verify => {
                (Recipe, "Verify", "Verify the open checkpoint, if it is quantized", None)
            }
            Self::Stop => (Recipe, "Stop", "Stop the export; nothing is left behind", None),
            Self::CopyCommandLine => (
                Recipe,
                "Copy as command line",
                "Copy the --batch call that does the same",
                Some((CTRL_SHIFT, Key::L)),
            ),
            Self::CopyReport => (
                Recipe,
                "Copy report",
                "Copy what the last export or verification found, as text",
                None,
            ),
            Self::ShowMap => (View, "Model map", "Layers and projections", Some((CTRL, Key::Num1))),
            Self::ShowTable => {
                (View, "Statistics", "The table of tensors", Some((CTRL, Key::Num2)))
            }
            Self::ShowProfile => {
                (View, "Layer profile", "Largest magnitudes by layer", Some((CTRL, Key::Num3)))
            }
            Self::ShowFiles => {
                (View, "Output files", "What an export would write", Some((CTRL, Key::Num4)))
            }
            Self::ShowExport => {
                (View, "Export and verify", "Write it, and prove it", Some((CTRL, Key::Num5)))
            }
            Self::ShowExperts => {
                (View, "Experts", "Experts layer by layer: odd ones stand out", None)
            }
            Self::ShowFormats => {
                (View, "Formats", "What every format would cost each projection", None)
            }
            Self::ShowMicroscope => {
                (View, "Microscope", "One block, bit by bit", Some((CTRL, Key::Num6)))
            }
            Self::ShowRuler => (View, "Ruler", "A block's codes as marks on a line", None),
            Self::ShowHistogram => (View, "Histogram", "How weights are spread", None),
            Self::ShowScales => (View, "Scale map", "Every scale of a tensor", None),
            Self::ShowErrors => (View, "Error map", "What quantizing does, weight by weight", None),
            Self::ShowOutliers => (View, "Outliers", "The largest weights, rows and columns", None),
            Self::ShowRegimes => {
                (View, "Regimes", "Error of blocks against how small they are", None)
            }
            Self::ShowCompare => {
                let help = "Two checkpoints, or two devices, weight by weight";
                (View, "Compare", help, Some((CTRL, Key::Num7)))
            }
            Self::ShowCodecs => (View, "Codecs", "Every code of the small number types", None),
            Self::ShowLessons => {
                (View, "Lessons", "Five walks through real weights", Some((CTRL, Key::Num8)))
            }
            Self::NextStep => {
                (Help, "Next step", "The next step of the lesson", Some((ALT, Key::ArrowRight)))
            }
            Self::PreviousStep => {
                (Help, "Step back", "The step before it", Some((ALT, Key::ArrowLeft)))
            }
            Self::EndLesson => (Help, "End the lesson", "Leave it, where it is", None),
            Self::Pin => {
                (View, "Pin view", "Keep this view beside the next one", Some((CTRL_SHIFT, Key::P)))
            }
            Self::CopyLink => {
                let help = "Copy the command line that opens exactly this";
                (Edit, "Copy link", help, Some((CTRL_SHIFT, Key::K)))
            }
            Self::SaveViewCsv => (File, "Save view as CSV…", "The numbers of this view", None),
            Self::SaveViewPng => (File, "Save view as PNG…", "This view as a picture", None),
            Self::ToggleRecipe => (View, "Recipe panel", "Show or hide it", Some((CTRL, Key::B))),
            Self::ToggleSize => (View, "Size panel", "Show or hide it", Some((CTRL_SHIFT, Key::B))),
            Self::PauseMeasuring => (
                View,
                "Pause measuring",
                "Stop reading weights in the background, or go on",
                Some((CTRL, Key::P)),
            ),
            Self::Dark => (View, "Dark", "Light text on a dark ground", None),
            Self::Light => (View, "Light", "Dark text on a light ground", None),
            Self::FollowSystem => (View, "As the system", "Dark or light as the system is", None),
            Self::Palette => {
                (Help, "Commands…", "Find a command by its name", Some((CTRL, Key::K)))
            }
            Self::Shortcuts => {
                (Help, "Shortcuts", "Every shortcut", Some((NONE, Key::Questionmark)))
            }
            Self::About => (Help, "About", "What this is", None),
        }
    }

    /// Where in the menus it stands.
    pub const fn menu(self) -> Menu {
        self.said().0
    }

    /// What it is called.
    pub const fn name(self) -> &'static str {
        self.said().1
    }

    /// What it does, in a sentence.
    pub const fn help(self) -> &'static str {
        self.said().2
    }

    /// The keys that do it.
    pub fn shortcut(self) -> Option<KeyboardShortcut> {
        self.said().3.map(|(modifiers, key)| KeyboardShortcut::new(modifiers, key))
    }

    /// The same as they are called here.
    pub fn keys(self, context: &Context) -> Option<String> {
        let name = |keys| context.format_shortcut(&keys).replace("Questionmark", "?");
        self.shortcut().map(name)
    }

    /// Whether a line separates it from those before it in its menu.
    pub const fn begins_a_group(self) -> bool {
        matches!(
            self,
            Self::OpenRecipe
                | Self::SaveTableCsv
                | Self::Quit
                | Self::CopyRows
                | Self::FocusFilter
                | Self::KeepSelection
                | Self::ResetRecipe
                | Self::Export
                | Self::CopyCommandLine
                | Self::ShowExperts
                | Self::ShowMicroscope
                | Self::ShowCompare
                | Self::NextStep
                | Self::Pin
                | Self::CopyLink
                | Self::SaveViewCsv
                | Self::ToggleRecipe
                | Self::PauseMeasuring
                | Self::Dark
                | Self::About
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_commands_share_a_name_or_a_shortcut() {
        let names: HashSet<&str> = Command::ALL.iter().map(|command| command.name()).collect();
        assert_eq!(names.len(), Command::ALL.len());
        let shortcuts: Vec<_> = Command::ALL.iter().filter_map(|c| c.shortcut()).collect();
        let distinct: HashSet<_> = shortcuts.iter().map(|s| (s.modifiers, s.logical_key)).collect();
        assert_eq!(distinct.len(), shortcuts.len());
    }

    #[test]
    fn every_command_is_in_its_menu_once() {
        let in_menus: usize = Menu::ALL
            .iter()
            .map(|menu| Command::ALL.iter().filter(|command| command.menu() == *menu).count())
            .sum();
        let distinct: HashSet<_> = Command::ALL.iter().collect();
        assert_eq!((in_menus, distinct.len()), (Command::ALL.len(), Command::ALL.len()));
    }
}
