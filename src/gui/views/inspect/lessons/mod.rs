//! Guided walks through real weights. A step is a state of the real views, and a text with the numbers that
//! they show.

mod steps;
mod told;

use std::str::FromStr;

use eframe::egui::{self, Align, Frame, Layout, Panel, RichText, ScrollArea, Ui};

use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::theme::{self, Theme};
use crate::gui::views::View;
use crate::gui::widgets::caption;
use told::Told;

/// A lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lesson {
    /// What a block scale does.
    BlockScale,
    /// One outlier and the block around it.
    Outlier,
    /// NVFP4 against MXFP4 and INT4.
    Formats,
    /// Ties and rounding.
    Ties,
    /// What quantizing an embedding costs, and when tying saves.
    Embedding,
}

/// A lesson that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Underway {
    /// The lesson.
    pub lesson: Lesson,
    /// Its step, from 0.
    pub step: usize,
}

/// One step: a view, what it looks at, and what there is to see.
struct Step {
    title: &'static str,
    view: View,
    /// Turns to what it looks at.
    turn: fn(&mut App),
    /// What there is to see, with the numbers that are shown.
    text: fn(&Told<'_>) -> String,
}

impl Lesson {
    /// Every lesson, in their order.
    pub const ALL: [Self; 5] =
        [Self::BlockScale, Self::Outlier, Self::Formats, Self::Ties, Self::Embedding];

    /// What it is called.
    pub const fn title(self) -> &'static str {
        match self {
            Self::BlockScale => "What a block scale does",
            Self::Outlier => "One outlier and the block around it",
            Self::Formats => "NVFP4 against MXFP4 and INT4",
            Self::Ties => "Ties and rounding",
            Self::Embedding => "What quantizing an embedding costs, and when tying saves",
        }
    }

    /// What it is about.
    const fn about(self) -> &'static str {
        match self {
            Self::BlockScale => {
                "How sixteen weights become sixteen 4-bit codes and one shared scale."
            }
            Self::Outlier => {
                "Why one large weight makes all its neighbours coarse, and what block length does."
            }
            Self::Formats => "The same weights in three 4-bit formats: what each is good at.",
            Self::Ties => {
                "Where rounding is a matter of rules, and why two tools may differ by a bit."
            }
            Self::Embedding => {
                "Tables are large, and often shared with the head: what to do with them."
            }
        }
    }

    fn steps(self) -> &'static [Step] {
        match self {
            Self::BlockScale => &steps::BLOCK_SCALE,
            Self::Outlier => &steps::OUTLIER,
            Self::Formats => &steps::FORMATS,
            Self::Ties => &steps::TIES,
            Self::Embedding => &steps::EMBEDDING,
        }
    }
}

impl FromStr for Underway {
    type Err = ();

    /// The number of a lesson, and of a step after a dot; both from 1.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (lesson, step) = text.split_once('.').unwrap_or((text, "1"));
        let index = |text: &str| text.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let lesson = index(lesson).and_then(|at| Lesson::ALL.get(at).copied()).ok_or(())?;
        let step = index(step).filter(|step| *step < lesson.steps().len()).ok_or(())?;
        Ok(Self { lesson, step })
    }
}

impl App {
    /// Begins a lesson.
    pub(in crate::gui) fn begin_lesson(&mut self, lesson: Underway) {
        self.views.inspect.lesson = Some(lesson);
        self.take_step();
    }

    /// Begins the lesson that was asked for before there was a plan.
    pub(in crate::gui) fn begin_wanted_lesson(&mut self) {
        if let Some(analysis) = self.session.analysis()
            && let is_stored = analysis.is_stored
            && let Some(lesson) = self.views.inspect.wanted_lesson.take()
        {
            match is_stored {
                // The list of lessons says what they begin with.
                true => self.settings.view = View::Lessons,
                false => self.begin_lesson(lesson),
            }
        }
    }

    /// Goes on in the lesson, or back. Beyond its last step the list of lessons follows.
    pub(in crate::gui) fn turn_step(&mut self, by: isize) {
        let Some(Underway { lesson, step }) = self.views.inspect.lesson else { return };
        match step.checked_add_signed(by) {
            Some(step) if step < lesson.steps().len() => {
                self.views.inspect.lesson = Some(Underway { lesson, step });
                self.take_step();
            }
            Some(_) => {
                self.views.inspect.lesson = None;
                self.settings.view = View::Lessons;
            }
            None => {}
        }
    }

    /// Turns to what the step is about.
    fn take_step(&mut self) {
        let Some(Underway { lesson, step }) = self.views.inspect.lesson else { return };
        let Some(step) = lesson.steps().get(step) else { return };
        self.views.inspect.pinned = None;
        self.settings.view = step.view;
        (step.turn)(self);
    }
}

/// Draws the lesson that is under way, over the view that it is about.
pub fn lesson_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    let Some(Underway { lesson, step: number }) = app.views.inspect.lesson else { return };
    let Some(step) = lesson.steps().get(number) else { return };
    let theme = Theme::of(ui);
    let frame = Frame::side_top_panel(ui.style()).fill(theme.raised).inner_margin(10);
    Panel::top("lesson").frame(frame).show(ui, |ui| {
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new(step.title).font(theme::heading()));
            let count = lesson.steps().len();
            let place = format!("{} · step {} of {count}", lesson.title(), number + 1);
            ui.label(RichText::new(place).small().color(theme.muted));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let mut button = |label: &str, command: Command, enabled: bool| {
                    let keys = command.keys(ui.ctx());
                    let help = keys.map_or(String::new(), |keys| format!(" ({keys})"));
                    let response = ui.add_enabled(enabled, egui::Button::new(label));
                    if response.on_hover_text(format!("{}{help}", command.help())).clicked() {
                        asked.commands.push(command);
                    }
                };
                button("End", Command::EndLesson, true);
                let is_last = number + 1 == count;
                button(if is_last { "Done" } else { "Next" }, Command::NextStep, true);
                button("Back", Command::PreviousStep, number > 0);
            });
        });
        ui.label((step.text)(&Told::of(app)));
    });
}

/// Draws the list of lessons.
pub fn lessons_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let is_demo = app.session.document.as_ref().is_some_and(|(_, document)| document.is_demo());
    ui.add_space(8.0);
    ui.label(RichText::new("Five walks through real weights").font(theme::title()));
    caption(
        ui,
        match is_demo {
            true => {
                "On the demo that is open; open your own checkpoint to see them on that. A few minutes each."
            }
            false => {
                "On the checkpoint that is open. A few minutes each; nothing of your recipe is changed."
            }
        },
    );
    ui.add_space(8.0);
    if app.session.analysis().is_some_and(|analysis| analysis.is_stored) {
        ui.label("Lessons begin with weights that are floats, and these are quantized already.");
        if ui.button(Command::OpenDemo.name()).clicked() {
            asked.commands.push(Command::OpenDemo);
        }
        return;
    }
    let mut begun = None;
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        for (number, lesson) in Lesson::ALL.into_iter().enumerate() {
            let theme = Theme::of(ui);
            Frame::new().fill(theme.panel).corner_radius(6).inner_margin(14).show(ui, |ui| {
                ui.set_width((ui.available_width()).min(760.0));
                ui.horizontal(|ui| {
                    let number = RichText::new((number + 1).to_string()).font(theme::title());
                    ui.label(number.color(theme.accent));
                    ui.vertical(|ui| {
                        ui.label(RichText::new(lesson.title()).font(theme::heading()));
                        ui.label(lesson.about());
                        caption(ui, &crate::units::count(lesson.steps().len() as u64, "step"));
                    });
                    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                        let help = format!("Begin lesson {}", number_of(lesson));
                        let button = ui.button("Begin").accessible_name(&help);
                        if button.on_hover_text(help).clicked() {
                            begun = Some(lesson);
                        }
                    });
                });
            });
            ui.add_space(6.0);
        }
    });
    if let Some(lesson) = begun {
        app.begin_lesson(Underway { lesson, step: 0 });
    }
}

fn number_of(lesson: Lesson) -> usize {
    Lesson::ALL.iter().position(|other| *other == lesson).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lessons_are_told_by_number() {
        let told = |lesson, step| Ok(Underway { lesson, step });
        assert_eq!("2".parse(), told(Lesson::Outlier, 0));
        assert_eq!("5.4".parse(), told(Lesson::Embedding, 3));
        for wrong in ["", "0", "6", "1.0", "1.9", "a", "1.2.3"] {
            assert!(wrong.parse::<Underway>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_lesson_has_steps_with_titles_of_their_own() {
        for lesson in Lesson::ALL {
            let mut titles: Vec<&str> = lesson.steps().iter().map(|step| step.title).collect();
            assert!(titles.len() >= 3, "{lesson:?}");
            titles.sort_unstable();
            titles.dedup();
            assert_eq!(titles.len(), lesson.steps().len());
        }
    }
}
