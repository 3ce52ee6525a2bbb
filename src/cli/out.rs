//! Standard output. A reader that closes it (`| head`) ends the command quietly.
//!
//! The `print!` and `println!` of this module's macros stand in for the standard ones in every command: those panic
//! when the pipe breaks.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes to standard output. On a closed pipe the process ends with success: the reader has what it wanted. On any
/// other failure (a full disk) it says so and ends with 1.
pub(super) fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let done = out.write_fmt(text).and_then(|()| out.flush());
    if let Err(e) = done {
        if e.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("error[storage]: cannot write to standard output: {e}");
        std::process::exit(1);
    }
}

macro_rules! print {
    ($($arg:tt)*) => { $crate::cli::out::write(::std::format_args!($($arg)*)) };
}

macro_rules! println {
    () => { $crate::cli::out::write(::std::format_args!("\n")) };
    ($($arg:tt)*) => {
        $crate::cli::out::write(::std::format_args!("{}\n", ::std::format_args!($($arg)*)))
    };
}
