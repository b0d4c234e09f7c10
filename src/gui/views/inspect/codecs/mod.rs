//! The small number types, bit by bit. Needs no file.

mod axis;
mod table;

use eframe::egui::{
    Button, CentralPanel, DragValue, Frame, Margin, Panel, RichText, ScrollArea, Ui,
};

use super::colours;
use super::microscope::bits_ui;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, fact, heading, segments};
use crate::inspect::{Class, Codec};
use crate::units::significant;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct CodecsView {
    codec: Codec,
    code: u32,
    /// A value to round.
    value: f64,
}

impl Default for CodecsView {
    fn default() -> Self {
        Self { codec: Codec::E4m3, code: 0x5F, value: 30.0 }
    }
}

/// Draws it.
pub fn codecs_ui(ui: &mut Ui, view: &mut CodecsView) {
    ui.horizontal_wrapped(|ui| {
        let types: Vec<(Codec, &str, &str)> =
            Codec::SMALL.iter().map(|codec| (*codec, codec.name(), used_for(*codec))).collect();
        if let Some(codec) = segments(ui, "Type", &types, view.codec) {
            view.codec = codec;
            view.code = codec.encode(view.value as f32);
        }
        ui.label("Round a value");
        let mut value = view.value;
        let speed = 0.01 * value.abs().max(1e-3);
        let drag = DragValue::new(&mut value).speed(speed).max_decimals(12);
        ui.add(drag).on_hover_text("Drag, or click and type");
        if value != view.value {
            view.value = value;
            view.code = view.codec.encode(value as f32);
        }
    });
    caption(ui, used_for(view.codec));
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let panel = Panel::right("code").default_size(380.0).size_range(300.0..=560.0);
    panel.frame(ground.inner_margin(Margin { left: 12, ..Margin::ZERO })).show(ui, |ui| {
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| code_ui(ui, view));
    });
    CentralPanel::default().frame(ground).show(ui, |ui| {
        if let Some(code) = table::table_ui(ui, view.codec, view.code) {
            view.choose(code);
        }
        ui.add_space(8.0);
        if let Some(code) = axis::axis_ui(ui, view.codec, view.code) {
            view.choose(code);
        }
    });
}

impl CodecsView {
    /// Every code of the type, as CSV.
    pub fn csv(&self) -> String {
        self.codec.csv()
    }

    fn choose(&mut self, code: u32) {
        self.code = code;
        let value = f64::from(self.codec.value(code));
        if value.is_finite() {
            self.value = value;
        }
    }
}

/// One code: its bits, which can be clicked, and what they are.
fn code_ui(ui: &mut Ui, view: &mut CodecsView) {
    let (codec, code) = (view.codec, view.code);
    let digits = usize::from(codec.bits());
    heading(ui, &format!("Code {code:#04x}"));
    bits_ui(ui, codec, code);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 3.0;
        ui.label("Flip bit");
        for bit in (0..codec.bits()).rev() {
            let button = ui.add(Button::new(bit.to_string()).small());
            if button.on_hover_text(format!("Flip bit {bit}")).clicked() {
                view.choose(code ^ (1 << bit));
            }
        }
    });
    ui.add_space(4.0);
    ui.label(RichText::new(format!("{} = {}", codec.formula(code), codec.value(code))).monospace());
    let class = codec.class(code);
    let colour = colours::class(Theme::of(ui), class).unwrap_or(Theme::of(ui).text);
    ui.label(RichText::new(meaning(codec, class)).color(colour));
    ui.add_space(4.0);
    fact(ui, "binary", format!("{code:0digits$b}"));
    for field in codec.fields(code) {
        let bias = match field.kind {
            crate::inspect::FieldKind::Exponent => format!(" (bias {})", codec.bias()),
            _ => String::new(),
        };
        fact(ui, field.kind.name(), format!("{}{bias}", field.value));
    }
    if class != Class::NaN && class != Class::Infinite {
        let next = next(codec, code);
        fact(ui, "next larger number", next.map_or("none".to_owned(), |next| next.to_string()));
        if let Some(next) = next {
            let step = f64::from(next) - f64::from(codec.value(code));
            fact(ui, "distance to it", significant(step));
        }
    }
    let asked = view.value as f32;
    if asked != codec.value(code) && asked.is_finite() {
        let rounded = codec.value(codec.encode(asked));
        let text = format!("{asked} rounds to {rounded}");
        ui.label(RichText::new(text).font(theme::strong()));
    }
    ui.add_space(8.0);
    heading(ui, &format!("{} as a whole", codec.name()));
    facts_ui(ui, codec);
}

/// The numbers of a type.
fn facts_ui(ui: &mut Ui, codec: Codec) {
    let codes = 1u32 << codec.bits();
    let of = |class: Class| (0..codes).filter(|code| codec.class(*code) == class).count();
    let magnitudes =
        || (0..codes).map(|code| codec.value(code).abs()).filter(|v| v.is_finite() && *v > 0.0);
    let smallest = magnitudes().fold(f32::INFINITY, f32::min);
    let smallest_normal = (0..codes)
        .filter(|code| codec.class(*code) == Class::Normal)
        .map(|code| codec.value(code).abs())
        .fold(f32::INFINITY, f32::min);
    fact(ui, "codes", codes.to_string());
    fact(ui, "largest number", codec.largest().to_string());
    if !matches!(codec, Codec::Int(_)) {
        fact(ui, "smallest normal number", significant(smallest_normal.into()));
    }
    fact(ui, "smallest above zero", significant(smallest.into()));
    let range = f64::from(codec.largest()) / f64::from(smallest);
    fact(ui, "range", format!("{:.1} powers of two", range.log2()));
    for (name, class) in [
        ("subnormal codes", Class::Subnormal),
        ("infinite codes", Class::Infinite),
        ("NaN codes", Class::NaN),
    ] {
        if of(class) > 0 {
            fact(ui, name, of(class).to_string());
        }
    }
}

/// The next larger number of a type.
fn next(codec: Codec, code: u32) -> Option<f32> {
    let value = codec.value(code);
    let all = (0..1u32 << codec.bits()).map(|code| codec.value(code));
    all.filter(|other| other.is_finite() && *other > value).reduce(f32::min)
}

/// What a kind of number means for what is made of it.
fn meaning(codec: Codec, class: Class) -> String {
    match class {
        Class::Zero => "Zero. As a scale it would make a whole block zero.".to_owned(),
        Class::Subnormal => {
            "Subnormal: no leading one, so fewer bits. Scales this small round coarsely.".to_owned()
        }
        Class::Normal => "Normal: all bits of precision.".to_owned(),
        Class::Largest => {
            let beyond = if codec == Codec::E5m2 { "becomes infinite" } else { "ends here too" };
            format!("The largest number: what is beyond {beyond}.")
        }
        Class::Infinite => "Infinite: everything it scales is lost.".to_owned(),
        Class::NaN => "No number: everything it scales becomes NaN.".to_owned(),
    }
}

/// Where a type is met.
const fn used_for(codec: Codec) -> &'static str {
    match codec {
        Codec::E2m1 => "Codes of NVFP4 and MXFP4: 4 bits, 15 numbers",
        Codec::E4m3 => "Scales of NVFP4, codes of FP8 and MXFP8: 8 bits, up to 448, no infinity",
        Codec::E5m2 => "Gradients, and some FP8 checkpoints: 8 bits, more range and less precision",
        Codec::E8m0 => "Scales of MXFP4 and MXFP8: powers of two, no sign, no zero",
        Codec::Int(4) => "Codes of INT4: whole numbers from −8 to 7",
        Codec::Int(_) => "Codes of INT8: whole numbers from −128 to 127",
        Codec::Float(_) => "Weights as they are trained",
    }
}
