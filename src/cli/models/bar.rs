//! The progress of a pull on standard error: a bar on a terminal, one line a file elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::weights_pull::Event;

pub(super) struct Bar {
    bar: ProgressBar,
    terminal: bool,
}

impl Bar {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = "  {msg:32} {bar:28} {bytes:>10} of {total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, terminal }
    }

    pub(super) fn note(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn show(&self, event: Event<'_>) {
        match event {
            Event::Start { file, total, have } => {
                self.bar.reset();
                self.bar.set_message(file.to_owned());
                self.bar.set_length(total.unwrap_or(0));
                self.bar.set_position(have);
                // The rate is of this attempt, not of what an earlier one brought.
                self.bar.reset_eta();
                if have > 0 {
                    self.note(&format!("  {file}: going on after {have} bytes"));
                }
            }
            Event::At(bytes) => self.bar.set_position(bytes),
            Event::Retry { reason } => self.note(&format!("  connection broken ({reason}), trying again")),
            Event::Damaged { file } => {
                self.note(&format!("  {file} in the cache is damaged, fetching it anew"))
            }
            Event::Checking { file } => self.bar.set_message(format!("hashing {file}")),
            Event::Done { file, fetched, .. } => {
                if !self.terminal {
                    eprintln!("  {file}: {}", if fetched { "fetched" } else { "already here" });
                }
            }
        }
    }
}
