//! The rules of the recipe, with what each of them does.

use eframe::egui::{self, RichText, Role, TextEdit, Ui};

use crate::dialect::Dialect;
use crate::format::Format;
use crate::gui::app::{App, Asked};
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{Mark, choices, heading, named};
use crate::plan::RuleUse;
use crate::recipe::{Action, Recipe, Rule};
use crate::units::count;

/// Draws them: those of the preset first, then those that can be changed.
pub fn rules_ui(app: &mut App, ui: &mut Ui, _: &mut Asked) {
    heading(ui, "Rules").on_hover_text("The last rule that matches a tensor decides");
    let recipe = app.recipe().clone();
    // The counts are of the plan, which may be a moment behind.
    let analysis = app.session.analysis().filter(|analysis| analysis.recipe == recipe).cloned();
    let uses = analysis.as_ref().map_or(&[][..], |analysis| &analysis.plan.rules);
    let own = recipe.rules.len() + recipe.include.len() + recipe.exclude.len();
    let given = uses.len().saturating_sub(own);
    for rule in &uses[..given] {
        given_ui(ui, rule);
    }
    let dialect = app.session.dialect();
    let mut changed = None;
    for i in 0..own {
        let used = uses.get(given + i);
        ui.push_id(("rule", i), |ui| own_ui(ui, &recipe, i, used, dialect, &mut changed));
    }
    if ui
        .button("Add a rule")
        .on_hover_text("It keeps layer 0 until it is told otherwise")
        .clicked()
    {
        let mut more = recipe.clone();
        let pattern = Some("*.layers.0.*".to_owned());
        more.rules.push(Rule { pattern, roles: Vec::new(), action: Action::Keep });
        changed = Some(("add a rule".to_owned(), more, false));
    }
    if let Some((name, recipe, is_typing)) = changed {
        match is_typing {
            true => app.session.type_change(&name, recipe),
            false => app.session.change(&name, recipe),
        }
    }
}

/// The name of a change, the recipe after it, and whether somebody is typing it.
type Change = (String, Recipe, bool);

/// A rule of the preset, or the opt-in.
fn given_ui(ui: &mut Ui, rule: &RuleUse) {
    let muted = Theme::of(ui).muted;
    ui.horizontal(|ui| {
        mark_ui(ui, rule, rule.optional);
        let roles: Vec<&str> = rule.rule.roles.iter().map(|role| role.name()).collect();
        let which = rule.rule.pattern.clone().unwrap_or_else(|| roles.join(", "));
        let text = format!("{} {which}", action_name(rule.rule.action));
        let label = ui.add(egui::Label::new(RichText::new(text).color(muted)).truncate());
        label.on_hover_text(format!("{}. {}", rule.source, said(rule)));
    });
}

/// One of the user's own: of the list, or to include or exclude.
fn own_ui(
    ui: &mut Ui,
    recipe: &Recipe,
    i: usize,
    used: Option<&RuleUse>,
    dialect: Dialect,
    changed: &mut Option<Change>,
) {
    let name = format!("rule {}", i + 1);
    let (lists, includes) = (recipe.rules.len(), recipe.include.len());
    ui.horizontal(|ui| {
        match used {
            Some(used) => mark_ui(ui, used, false),
            None => {
                ui.add_sized([14.0, 14.0], egui::Spinner::new().size(10.0));
            }
        }
        let action = match i {
            i if i < lists => {
                let action = recipe.rules[i].action;
                if let Some(action) = action_ui(ui, &name, action, dialect) {
                    let mut recipe = recipe.clone();
                    recipe.rules[i].action = action;
                    *changed = Some((format!("{name}: {}", action_name(action)), recipe, false));
                }
                action
            }
            i if i < lists + includes => Action::Quantize,
            _ => Action::Keep,
        };
        if i >= lists {
            ui.label(RichText::new(action_name(action)).font(theme::strong()));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let remove = ui.small_button("×").on_hover_text("Remove this rule");
            named(&remove, Role::Button, &format!("Remove {name}"));
            if remove.clicked() {
                let mut recipe = recipe.clone();
                remove_rule(&mut recipe, i);
                *changed = Some((format!("remove {name}"), recipe, false));
            }
            if 0 < i && i < lists {
                let up =
                    ui.small_button("↑").on_hover_text("Try this rule earlier: later ones win");
                named(&up, Role::Button, &format!("Move {name} up"));
                if up.clicked() {
                    let mut recipe = recipe.clone();
                    recipe.rules.swap(i, i - 1);
                    *changed = Some((format!("move {name}"), recipe, false));
                }
            }
            if let Some(used) = used {
                let muted = Theme::of(ui).muted;
                let text = RichText::new(used.decides.to_string()).color(muted).small();
                ui.label(text).on_hover_text(said(used));
            }
        });
    });
    pattern_ui(ui, recipe, i, &name, changed);
}

fn pattern_ui(ui: &mut Ui, recipe: &Recipe, i: usize, name: &str, changed: &mut Option<Change>) {
    let mut recipe = recipe.clone();
    let (lists, includes) = (recipe.rules.len(), recipe.include.len());
    let pattern = match i {
        i if i < lists => recipe.rules[i].pattern.get_or_insert_with(|| "*".to_owned()),
        i if i < lists + includes => &mut recipe.include[i - lists],
        i => &mut recipe.exclude[i - lists - includes],
    };
    let field = TextEdit::singleline(pattern)
        .font(egui::TextStyle::Monospace)
        .desired_width(f32::INFINITY)
        .hint_text("pattern, such as *.layers.0.*");
    let response = ui.add(field);
    named(&response, Role::TextInput, &format!("Pattern of {name}"));
    if response.changed() {
        *changed = Some((format!("pattern of {name}"), recipe, true));
        return;
    }
    if let Some(rule) = recipe.rules.get(i).filter(|rule| !rule.roles.is_empty()) {
        let roles: Vec<&str> = rule.roles.iter().map(|role| role.name()).collect();
        ui.weak(format!("only {}", roles.join(", ")));
    }
}

fn remove_rule(recipe: &mut Recipe, i: usize) {
    let (lists, includes) = (recipe.rules.len(), recipe.include.len());
    if i < lists {
        recipe.rules.remove(i);
    } else if i < lists + includes {
        recipe.include.remove(i - lists);
    } else {
        recipe.exclude.remove(i - lists - includes);
    }
}

/// What becomes of the tensors of a rule; another choice if it was made.
fn action_ui(ui: &mut Ui, name: &str, current: Action, dialect: Dialect) -> Option<Action> {
    let mut chosen = None;
    let said = format!("What {name} does");
    choices(ui, &said, action_name(current), 100.0, |ui| {
        let formats = dialect.formats().map(Action::Format);
        for action in [Action::Keep, Action::Quantize].into_iter().chain(formats) {
            if ui.selectable_label(action == current, action_name(action)).clicked() {
                chosen = Some(action);
            }
        }
    });
    chosen.filter(|action| *action != current)
}

/// What an action is called.
fn action_name(action: Action) -> &'static str {
    match action {
        Action::Keep => "keep",
        Action::Quantize => "quantize",
        Action::Format(format) => Format::name(format),
    }
}

fn mark_ui(ui: &mut Ui, rule: &RuleUse, may_be_empty: bool) {
    let mark = match rule {
        rule if rule.is_empty() && may_be_empty => Mark::Off,
        rule if rule.is_empty() => Mark::Warn,
        rule if rule.is_shadowed() => Mark::Off,
        _ => Mark::Good,
    };
    mark.show(ui).on_hover_text(said(rule));
}

/// What a rule does, in a sentence.
fn said(rule: &RuleUse) -> String {
    if rule.is_empty() {
        return "It matches no tensor".to_owned();
    }
    let matched = count(rule.matched, "tensor");
    match rule.decides {
        0 => format!("It matches {matched}, and later rules decide about all of them"),
        n if n == rule.matched => format!("It matches {matched} and decides about all of them"),
        n => format!("It matches {matched} and decides about {n}"),
    }
}
