//! The vision service beside this one, if its program is at hand.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use url::Url;

/// Signs its webhooks.
pub const WEBHOOK_SECRET: &str = "only for this machine";

/// A running one; it ends with this.
#[derive(Debug)]
pub struct VisionService {
    pub url: Url,
    child: Child,
}

impl Drop for VisionService {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl VisionService {
    /// The given program, or the one beside ours; `None` if there is none. `more` are further arguments of `serve`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(program: Option<PathBuf>, more: &[&str]) -> anyhow::Result<Option<Self>> {
        let beside = std::env::current_exe()
            .ok()
            .map(|me| me.with_file_name("dragunov"));
        let Some(program) = program.or_else(|| beside.filter(|p| p.is_file())) else {
            return Ok(None);
        };
        let mut child = Command::new(&program)
            .args([
                "serve",
                "--port",
                "0",
                "--allow-private-urls",
                "--private-webhooks",
            ])
            .args(more)
            .env("DRAGUNOV_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let stdout = child.stdout.take().context("its output")?;
        let mut lines = BufReader::new(stdout).lines();
        let said = lines.next().transpose()?.unwrap_or_default();
        let url = said.strip_prefix("listening on ").and_then(|u| u.parse().ok());
        // What it prints later must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        match url {
            Some(url) => Ok(Some(Self { url, child })),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("{} ended before it listened", program.display())
            }
        }
    }
}
