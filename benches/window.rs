//! Milliseconds that frames of the window take, as far as the processor has to work for them.
//!
//! `cargo bench --bench window -- CHECKPOINT [VIEW]`: opens it, steps frames until all is measured, then
//! scrolls through the view. The longest frame is what a user would see as a stutter.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eframe::egui::{Event, Modifiers, MouseWheelSource, MouseWheelUnit, TouchPhase, Vec2, pos2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use quantscope::device::CPU;
use quantscope::format::Format;
use quantscope::gui::{App, Settings, Source, View};
use quantscope::recipe::Recipe;

const SIZE: Vec2 = Vec2::new(1600.0, 1000.0);
const SCROLLED: usize = 600;

fn main() {
    // Cargo adds arguments of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let source = arguments.next().map_or(Source::Demo, |path| Source::Path(PathBuf::from(path)));
    let wanted = arguments.next();
    let view = View::ALL.into_iter().find(|view| wanted.as_deref() == Some(view.key()));
    let settings = Settings {
        view: view.unwrap_or(View::Table),
        device: CPU.to_owned(),
        ..Settings::default()
    };
    let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
    let started = Instant::now();
    let mut harness = Harness::builder().with_size(SIZE).build_ui_state(
        |ui, app: &mut Option<App>| {
            let new = || {
                let mut app = App::new(ui.ctx(), settings.clone(), None, None);
                app.open_with(source.clone(), recipe.clone());
                app
            };
            app.get_or_insert_with(new).show(ui);
        },
        None,
    );
    let mut first_table = None;
    let opening = frames(usize::MAX, || {
        let done = harness.state().as_ref().is_some_and(|app| !app.is_busy());
        let shown = harness.state().as_ref().is_some_and(App::shows_numbers);
        if shown && first_table.is_none() {
            first_table = Some(started.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
        let start = Instant::now();
        (!done).then(|| harness.step()).map(|()| start.elapsed())
    });
    if let Some(first) = first_table {
        println!("first table after {:.2} s", first.as_secs_f64());
    }
    println!("all measured after {:.2} s", started.elapsed().as_secs_f64());
    said("opening and measuring", opening);
    harness.event(Event::PointerMoved(pos2(0.5 * SIZE.x, 0.6 * SIZE.y)));
    let wheel = |y: f32| Event::MouseWheel {
        unit: MouseWheelUnit::Point,
        delta: Vec2::new(0.0, y),
        phase: TouchPhase::Move,
        source: MouseWheelSource::Wheel,
        modifiers: Modifiers::NONE,
    };
    let still = frames(60, || Some(timed(|| harness.step())));
    said("standing still", still);
    // Sorted, every row has a line: none is folded away.
    if view.is_none_or(|view| view == View::Table) {
        harness.get_by_label("sort by amax").click();
        harness.run_steps(2);
        while harness.state().as_ref().is_some_and(App::is_busy) {
            std::thread::sleep(Duration::from_millis(5));
            harness.step();
        }
        // Where lines are.
        harness.event(Event::PointerMoved(pos2(0.5 * SIZE.x, 0.6 * SIZE.y)));
    }
    for (name, step) in [("scrolling a row a frame", -24.0), ("scrolling far", -5000.0)] {
        let scrolled = frames(SCROLLED, || {
            harness.event(wheel(step));
            Some(timed(|| harness.step()))
        });
        said(name, scrolled);
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The times of at most so many frames.
fn frames(most: usize, mut frame: impl FnMut() -> Option<Duration>) -> Vec<Duration> {
    (0..most).map_while(|_| frame()).collect()
}

fn said(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1e3;
    let at = |part: usize| times.get(times.len() * part / 100).or(times.last()).map_or(0.0, ms);
    println!(
        "{what:<24} {:>5} frames: median {:6.2} ms, 99 % {:6.2} ms, longest {:6.2} ms",
        times.len(),
        at(50),
        at(99),
        at(100),
    );
}
