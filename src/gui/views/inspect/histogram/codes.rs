//! How many weights land on each code.

use eframe::egui::{
    Align2, Color32, FontId, Painter, Rect, Response, RichText, Role, Sense, Stroke, StrokeKind,
    Ui, WidgetInfo, pos2, vec2,
};

use super::super::axes::{grouped, percent, rects, ticks_left, title_below, title_left};
use super::super::colours;
use super::picture::{LEFT, count_axis, count_ticks};
use crate::gui::theme::{self, Theme};
use crate::inspect::{Class, Codec, Field, FieldKind, Histogram};
use crate::report::tick_text;
use crate::units::significant;

/// Codes in the order of their numbers; those that are no number come last, if any weight has one.
fn order(codec: Codec, counts: &[u64]) -> Vec<u32> {
    let is_number = |code: &u32| !codec.value(*code).is_nan();
    let mut codes: Vec<u32> = (0..counts.len() as u32)
        .filter(|code| is_number(code) || counts[*code as usize] > 0)
        .collect();
    let key = |code: &u32| codec.value(*code);
    codes.sort_by(|a, b| {
        let nan = (!is_number(a)).cmp(&!is_number(b));
        nan.then(key(a).total_cmp(&key(b)))
    });
    codes
}

/// Draws them.
pub fn codes_ui(ui: &mut Ui, histogram: &Histogram, is_log: bool, height: f32) {
    let Some(codec) = histogram.codec else { return };
    let counts = &histogram.codes;
    let codes = order(codec, counts);
    let total: u64 = counts.iter().sum();
    facts_ui(ui, codec, (&codes, counts), total);
    let size = vec2(ui.available_width(), (height - 26.0).max(110.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let frame = Rect::from_min_max(
        rect.left_top() + vec2(LEFT, 16.0),
        rect.right_bottom() - vec2(14.0, 38.0),
    );
    let theme = Theme::of(ui);
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let y = count_axis(most, is_log, frame);
    let painter = ui.painter().with_clip_rect(rect);
    ticks_left(&painter, theme, (frame, &y), &count_ticks(most, is_log));
    title_left(&painter, theme, frame, rect.left() + 2.0, "how many weights");
    let slot = frame.width() / codes.len().max(1) as f32;
    let left = |index: usize| frame.left() + index as f32 * slot;
    let pointer = response.hover_pos().filter(|at| frame.expand2(vec2(0.0, 30.0)).contains(*at));
    let hovered = pointer.map(|at| ((at.x - frame.left()) / slot) as usize);
    let gap = (slot * 0.16).min(14.0);
    let column = |index: usize, top: f32| {
        let x = left(index) + gap / 2.0..=left(index) + slot - gap / 2.0;
        Rect::from_x_y_ranges(x, top..=frame.bottom())
    };
    let bars = codes.iter().enumerate().map(|(index, code)| {
        let count = counts[*code as usize];
        let colour = match codec.class(*code) {
            Class::NaN | Class::Infinite => theme.bad,
            Class::Zero => theme.series[4],
            _ if hovered == Some(index) => theme.text,
            _ => theme.series[1],
        };
        let top = if count > 0 {
            y.place(count as f64).min(frame.bottom() - 1.0)
        } else {
            frame.bottom()
        };
        (column(index, top), colour)
    });
    rects(&painter, bars);
    painter.hline(frame.x_range(), frame.bottom(), Stroke::new(1.0, theme.line));
    names_ui(&painter, theme, (codec, &codes, counts), (frame, slot));
    title_below(&painter, theme, frame, &format!("number that the {} code is", codec.name()));

    let zero: u64 = of(codec, counts, Class::Zero);
    let used = codes.iter().filter(|code| counts[**code as usize] > 0).count();
    let said = format!("Codes: {used} of {} used, {zero} weights on zero", codes.len());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    if let Some((index, code)) = hovered.and_then(|i| Some((i, *codes.get(i)?))) {
        let around = column(index, frame.top() - 14.0).expand(2.0);
        let stroke = Stroke::new(1.0, theme.muted);
        painter.rect_stroke(around, 2.0, stroke, StrokeKind::Inside);
        hover_ui(response, histogram, (codec, code), total);
    }
}

/// Weights whose codes are of a kind.
fn of(codec: Codec, counts: &[u64], class: Class) -> u64 {
    let is_of = |(code, _): &(usize, &u64)| codec.class(*code as u32) == class;
    counts.iter().enumerate().filter(is_of).map(|(_, count)| *count).sum()
}

/// What the codes are used for, in numbers.
fn facts_ui(ui: &mut Ui, codec: Codec, (codes, counts): (&[u32], &[u64]), total: u64) {
    let theme = Theme::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new("Codes they land on").font(theme::heading()));
        ui.add_space(8.0);
        let fact = |ui: &mut Ui, name: &str, value: String, colour: Color32| {
            ui.spacing_mut().item_spacing.x = 5.0;
            ui.label(RichText::new(name).font(theme::small()).color(theme.muted));
            ui.label(RichText::new(value).font(theme::strong()).color(colour));
            ui.add_space(10.0);
        };
        let unused = codes.iter().filter(|code| counts[**code as usize] == 0).count();
        let share = |class: Class| percent(of(codec, counts, class), total);
        fact(ui, "codes nothing lands on", format!("{unused} of {}", codes.len()), theme.text);
        fact(ui, "weights that become zero", share(Class::Zero), theme.series[4]);
        let largest = of_largest(codec, counts);
        fact(ui, "on the largest code, either sign", percent(largest, total), theme.text);
        let broken = of(codec, counts, Class::NaN) + of(codec, counts, Class::Infinite);
        if broken > 0 {
            fact(ui, "that are no number", grouped(broken), theme.bad);
        }
    });
}

/// Weights at the two ends of a type. Of whole numbers the one below zero may be larger.
fn of_largest(codec: Codec, counts: &[u64]) -> u64 {
    let codes = || (0..counts.len() as u32).filter(|code| codec.value(*code).is_finite());
    let high = codes().max_by(|a, b| codec.value(*a).total_cmp(&codec.value(*b)));
    let low = codes().min_by(|a, b| codec.value(*a).total_cmp(&codec.value(*b)));
    [low, high].into_iter().flatten().map(|code| counts[code as usize]).sum()
}

/// Numbers below the bars, and shares above them where there is room.
fn names_ui(
    painter: &Painter,
    theme: &Theme,
    (codec, codes, counts): (Codec, &[u32], &[u64]),
    (frame, slot): (Rect, f32),
) {
    let total: u64 = counts.iter().sum();
    let mut last = f32::NEG_INFINITY;
    for (index, code) in codes.iter().enumerate() {
        let x = frame.left() + (index as f32 + 0.5) * slot;
        let count = counts[*code as usize];
        let (value, colour) =
            (codec.value(*code), if count > 0 { theme.text } else { theme.muted });
        let is_minus_zero = value == 0.0 && value.is_sign_negative();
        let text = match value {
            value if value.is_nan() => "NaN".to_owned(),
            value if value.is_infinite() => "∞".to_owned(),
            _ if is_minus_zero => "−0".to_owned(),
            value => tick_text(value.into()).replace('-', "−"),
        };
        let galley = painter.layout_no_wrap(text, theme::small(), colour);
        let half = galley.size().x / 2.0;
        if has_name(codec, *code, slot) && x - half > last + 8.0 {
            last = x + half;
            painter.vline(x, frame.bottom()..=frame.bottom() + 3.0, Stroke::new(1.0, theme.muted));
            painter.galley(pos2(x - half, frame.bottom() + 5.0), galley, colour);
        }
        if slot >= 44.0 {
            let text = if count > 0 { percent(count, total) } else { "unused".to_owned() };
            let at = pos2(x, frame.top() - 14.0);
            painter.text(at, Align2::CENTER_TOP, text, FontId::proportional(10.0), colour);
        } else if count == 0 && slot > 3.0 {
            let at = pos2(x, frame.bottom() - 4.0);
            painter.circle_stroke(at, (slot * 0.3).min(2.0), Stroke::new(1.0, theme.muted));
        }
    }
}

/// Whether a code is named where there is no room for all: round numbers are.
pub fn has_name(codec: Codec, code: u32, slot: f32) -> bool {
    let mantissa = |field: &Field| field.kind == FieldKind::Mantissa && field.value > 0;
    match codec {
        _ if slot >= 30.0 => true,
        Codec::Int(_) => codec.value(code) % if slot >= 3.0 { 8.0 } else { 16.0 } == 0.0,
        _ => !codec.fields(code).iter().any(mantissa),
    }
}

fn hover_ui(response: Response, histogram: &Histogram, (codec, code): (Codec, u32), total: u64) {
    let digits = usize::from(codec.bits());
    let count = histogram.codes.get(code as usize).copied().unwrap_or(0);
    let mark = histogram.grid.iter().find(|mark| mark.code == code);
    response.on_hover_ui_at_pointer(|ui| {
        let text = format!("code {code:0digits$b} is {}", codec.value(code));
        ui.label(RichText::new(text).font(theme::strong()));
        ui.label(RichText::new(codec.formula(code)).monospace());
        if let Some(mark) = mark {
            ui.label(format!("stands for {}", significant(mark.value.into())));
        }
        let class = codec.class(code);
        if let Some(colour) = colours::class(Theme::of(ui), class) {
            ui.label(RichText::new(class.name()).color(colour));
        }
        let share = percent(count, total);
        ui.label(format!("{} of {} weights ({share})", grouped(count), grouped(total)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_the_order_of_their_numbers() {
        let codes = order(Codec::E2m1, &[0; 16]);
        let values: Vec<f32> = codes.iter().map(|code| Codec::E2m1.value(*code)).collect();
        assert_eq!((values[0], values[15], codes[7], codes[8]), (-6.0, 6.0, 8, 0));
        let mut counts = [0; 256];
        assert_eq!(order(Codec::E4m3, &counts).len(), 254);
        counts[0x7F] = 1;
        assert_eq!(order(Codec::E4m3, &counts).last(), Some(&0x7F));
    }

    #[test]
    fn the_ends_of_whole_numbers_are_both_counted() {
        let mut counts = [0; 16];
        (counts[7], counts[8]) = (3, 4);
        assert_eq!(of_largest(Codec::Int(4), &counts), 7);
    }
}
