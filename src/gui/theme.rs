//! Every colour, font and size of the window. Nothing else names a colour.

use eframe::egui::{
    self, Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Rgba,
    Stroke, TextStyle, Theme as Mode, Vec2, Visuals,
};

/// Colours by what they stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Theme {
    /// Behind the views.
    pub ground: Color32,
    /// Behind the panels beside them.
    pub panel: Color32,
    /// Behind what stands out from a panel.
    pub raised: Color32,
    /// Between things.
    pub line: Color32,
    /// Text.
    pub text: Color32,
    /// Text that matters less.
    pub muted: Color32,
    /// What is chosen, or can be clicked.
    pub accent: Color32,
    /// Behind what is selected.
    pub selected: Color32,
    /// What holds.
    pub good: Color32,
    /// What deserves a look.
    pub warn: Color32,
    /// What is wrong.
    pub bad: Color32,
    /// Parts of a size, in the order in which they are stacked: weights, scales, embeddings, kept,
    /// headers.
    pub parts: [Color32; 5],
    /// Lines of a plot.
    pub series: [Color32; 8],
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

const DARK: Theme = Theme {
    ground: rgb(0x14161A),
    panel: rgb(0x1A1D23),
    raised: rgb(0x252A32),
    line: rgb(0x323843),
    text: rgb(0xE4E7EB),
    muted: rgb(0x9AA4B2),
    accent: rgb(0x6BB1F0),
    selected: rgb(0x25476A),
    good: rgb(0x6CC585),
    warn: rgb(0xE8B75C),
    bad: rgb(0xF07A75),
    parts: [rgb(0x5B9BE0), rgb(0xE2A94C), rgb(0xA48AD9), rgb(0x7C8796), rgb(0x4D5562)],
    series: [
        rgb(0x6BB1F0),
        rgb(0xE2A94C),
        rgb(0x6CC585),
        rgb(0xE5807B),
        rgb(0xA48AD9),
        rgb(0x4FC3C3),
        rgb(0xD98BBE),
        rgb(0xB9B36A),
    ],
};

const LIGHT: Theme = Theme {
    ground: rgb(0xFFFFFF),
    panel: rgb(0xF5F6F8),
    raised: rgb(0xE7EAEE),
    line: rgb(0xD3D8DF),
    text: rgb(0x1C2127),
    muted: rgb(0x586270),
    accent: rgb(0x1B69B0),
    selected: rgb(0xCFE3F7),
    good: rgb(0x217A3D),
    warn: rgb(0x8F6200),
    bad: rgb(0xBD3530),
    parts: [rgb(0x3B7FCB), rgb(0xD08F1E), rgb(0x8464C4), rgb(0x8B95A3), rgb(0xBCC3CD)],
    series: [
        rgb(0x1B69B0),
        rgb(0xB87708),
        rgb(0x2A8246),
        rgb(0xBD3530),
        rgb(0x7350B8),
        rgb(0x138787),
        rgb(0xA9447F),
        rgb(0x77711C),
    ],
};

/// Text that stands out.
const STRONG: &str = "strong";

impl Theme {
    /// The colours of the mode that a window is in.
    pub fn of(ui: &egui::Ui) -> &'static Self {
        Self::in_mode(ui.theme())
    }

    /// The colours of a mode.
    pub const fn in_mode(mode: Mode) -> &'static Self {
        match mode {
            Mode::Dark => &DARK,
            Mode::Light => &LIGHT,
        }
    }

    /// A magnitude, 0 to 1, as a colour of cividis: the map reads the same to people who see colours
    /// differently (Nuñez, Anderton and Renslow, 2018).
    pub fn magnitude(t: f32) -> Color32 {
        const CIVIDIS: [Color32; 10] = [
            rgb(0x00224E),
            rgb(0x123570),
            rgb(0x3B496C),
            rgb(0x575D6D),
            rgb(0x707173),
            rgb(0x8A8678),
            rgb(0xA59C74),
            rgb(0xC3B369),
            rgb(0xE1CC55),
            rgb(0xFEE838),
        ];
        along(&CIVIDIS, t)
    }

    /// A signed value, −1 to 1, as a colour: blue below zero, orange above.
    pub fn signed(t: f32) -> Color32 {
        const DIVERGING: [Color32; 5] =
            [rgb(0x2166AC), rgb(0x92C5DE), rgb(0xF2F2F0), rgb(0xF4B183), rgb(0xB8500C)];
        along(&DIVERGING, f32::midpoint(t, 1.0))
    }

    /// Black or white, whichever can be read on a colour.
    pub fn on(colour: Color32) -> Color32 {
        // Relative luminance; where both have the same contrast it is 0.18.
        let [r, g, b, _] = Rgba::from(colour).to_array();
        let is_light = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18;
        if is_light { rgb(0x000000) } else { rgb(0xFFFFFF) }
    }
}

/// The colour at `t`, 0 to 1, along some that are equally far apart.
fn along(colours: &[Color32], t: f32) -> Color32 {
    let last = colours.len() - 1;
    let place = if t.is_nan() { 0.0 } else { t.clamp(0.0, 1.0) } * last as f32;
    let below = (place as usize).min(last.saturating_sub(1));
    colours[below].lerp_to_gamma(colours[below + 1], place - below as f32)
}

/// Font of text that stands out, at the size of body text.
pub fn strong() -> FontId {
    FontId::new(13.0, FontFamily::Name(STRONG.into()))
}

/// Font of headings of views and panels.
pub fn heading() -> FontId {
    FontId::new(15.0, FontFamily::Name(STRONG.into()))
}

/// Font of a title.
pub fn title() -> FontId {
    FontId::new(26.0, FontFamily::Name(STRONG.into()))
}

/// Font of notes and of numbers in small cells.
pub fn small() -> FontId {
    FontId::proportional(11.0)
}

/// Fonts and styles of both modes.
pub fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts());
    for mode in [Mode::Dark, Mode::Light] {
        ctx.style_mut_of(mode, |style| {
            style.visuals = visuals(mode);
            style.text_styles = [
                (TextStyle::Small, small()),
                (TextStyle::Body, FontId::proportional(13.0)),
                (TextStyle::Button, FontId::proportional(13.0)),
                (TextStyle::Heading, heading()),
                (TextStyle::Monospace, FontId::monospace(12.0)),
            ]
            .into();
            style.spacing.item_spacing = Vec2::new(8.0, 6.0);
            style.spacing.button_padding = Vec2::new(8.0, 4.0);
            style.spacing.interact_size.y = 24.0;
            style.spacing.menu_margin = Margin::same(6);
            style.spacing.combo_width = 120.0;
            style.interaction.tooltip_delay = 0.25;
        });
    }
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let inter: [(&str, &'static [u8]); 2] = [
        ("Inter", include_bytes!("../../assets/fonts/Inter-Regular.otf")),
        ("Inter SemiBold", include_bytes!("../../assets/fonts/Inter-SemiBold.otf")),
    ];
    for (name, bytes) in inter {
        fonts.font_data.insert(name.to_owned(), FontData::from_static(bytes).into());
    }
    let fallback = fonts.families.entry(FontFamily::Proportional).or_default();
    let mut semibold = vec!["Inter SemiBold".to_owned()];
    semibold.extend(fallback.iter().cloned());
    fallback.insert(0, "Inter".to_owned());
    fonts.families.insert(FontFamily::Name(STRONG.into()), semibold);
    fonts
}

fn visuals(mode: Mode) -> Visuals {
    let theme = Theme::in_mode(mode);
    let mut visuals = match mode {
        Mode::Dark => Visuals::dark(),
        Mode::Light => Visuals::light(),
    };
    visuals.panel_fill = theme.panel;
    visuals.window_fill = theme.panel;
    visuals.window_stroke = Stroke::new(1.0, theme.line);
    visuals.extreme_bg_color = theme.ground;
    visuals.faint_bg_color = theme.panel;
    visuals.code_bg_color = theme.raised;
    visuals.hyperlink_color = theme.accent;
    visuals.warn_fg_color = theme.warn;
    visuals.error_fg_color = theme.bad;
    visuals.weak_text_color = Some(theme.muted);
    visuals.selection.bg_fill = theme.selected;
    visuals.selection.stroke = Stroke::new(1.0, theme.accent);
    visuals.striped = false;
    let widgets = &mut visuals.widgets;
    for widget in [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ] {
        widget.corner_radius = CornerRadius::same(5);
        widget.fg_stroke = Stroke::new(1.0, theme.text);
        widget.bg_stroke = Stroke::new(1.0, theme.line);
        widget.bg_fill = theme.raised;
        widget.weak_bg_fill = theme.raised;
        widget.expansion = 0.0;
    }
    widgets.noninteractive.bg_fill = theme.panel;
    widgets.hovered.bg_stroke = Stroke::new(1.0, theme.accent);
    widgets.active.bg_stroke = Stroke::new(1.5, theme.accent);
    widgets.active.weak_bg_fill = theme.selected;
    widgets.active.bg_fill = theme.selected;
    visuals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, as WCAG 2.1 has it.
    fn luminance(colour: Color32) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(colour.r()) + 0.7152 * linear(colour.g()) + 0.0722 * linear(colour.b())
    }

    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn all_text_can_be_read_on_all_grounds() {
        for mode in [Mode::Dark, Mode::Light] {
            let theme = Theme::in_mode(mode);
            let texts = [theme.text, theme.muted, theme.accent, theme.good, theme.warn, theme.bad];
            for text in texts {
                for ground in [theme.ground, theme.panel] {
                    assert!(contrast(text, ground) >= 4.5, "{mode:?} {text:?} on {ground:?}");
                }
            }
            assert!(
                contrast(theme.text, theme.raised) >= 7.0
                    && contrast(theme.text, theme.selected) >= 4.5
            );
        }
        for step in 0..=100 {
            let t = step as f32 / 100.0;
            for colour in [Theme::magnitude(t), Theme::signed(2.0 * t - 1.0)] {
                assert!(contrast(Theme::on(colour), colour) >= 4.0, "{t}");
            }
        }
    }

    #[test]
    fn magnitudes_grow_lighter() {
        let lightness: Vec<f64> =
            (0..=50).map(|i| luminance(Theme::magnitude(i as f32 / 50.0))).collect();
        assert!(lightness.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Theme::magnitude(f32::NAN), Theme::magnitude(0.0));
    }
}
