//! The `quantscope` program.

use std::process::ExitCode;

use quantscope::batch::{self, Args};

fn main() -> ExitCode {
    silence_device_select_layer();
    have_writes_tell_of_file_size_limits();
    let args = match batch::parse() {
        Ok(args) => args,
        Err(ended) => return ended,
    };
    if args.batch || args.formats || args.command.is_some() {
        batch::main(&args)
    } else {
        window(&args)
    }
}

#[cfg(feature = "gui")]
fn window(args: &Args) -> ExitCode {
    match quantscope::gui::main(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => batch::fail(&error),
    }
}

#[cfg(not(feature = "gui"))]
fn window(_: &Args) -> ExitCode {
    batch::fail(&batch::UsageError::NoWindow.into())
}

/// Mesa's device-select layer looks for a Wayland display and complains on standard error where
/// there is none, once for every adapter. This program picks its adapter itself.
#[cfg(target_os = "linux")]
fn silence_device_select_layer() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread has been started yet, so none reads the environment meanwhile.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

#[cfg(not(target_os = "linux"))]
fn silence_device_select_layer() {}

/// A file that grows beyond `ulimit -f` is an error of the write then, and not the end of the program.
#[cfg(unix)]
fn have_writes_tell_of_file_size_limits() {
    // SAFETY: no handler is installed, so no code of ours runs when the signal comes.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn have_writes_tell_of_file_size_limits() {}
