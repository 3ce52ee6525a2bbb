//! The vision service beside this one, if its program is at hand.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use url::Url;

/// Signs its webhooks.
pub const WEBHOOK_SECRET: &str = "only for this machine";
const PROGRAM: &str = "dragunov";
/// Loading the bundled checkpoints takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Beside this program, above it where that is a test's, or on the path.
fn at_hand() -> Option<PathBuf> {
    let me = std::env::current_exe().unwrap_or_default();
    let beside = me.ancestors().skip(1).take(2).map(|folder| folder.join(PROGRAM));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    beside.chain(on_path).find(|program| program.is_file())
}

impl VisionService {
    /// The given program, or the one at hand, on a free port; `None` if there is none. `more` are further arguments of
    /// `serve`. Waits until it says where it listens.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or says nothing for a minute.
    pub fn start(program: Option<PathBuf>, more: &[&str]) -> anyhow::Result<Option<Self>> {
        let Some(program) = program.or_else(at_hand) else {
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
        let (send, receive) = mpsc::channel();
        let lines = child.stdout.take().map(BufReader::new);
        // Reads on to the end, so that the service never waits for us.
        std::thread::spawn(move || {
            for line in lines.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ").and_then(|u| u.parse().ok()) {
                    let _ = send.send(url);
                }
            }
        });
        match receive.recv_timeout(PATIENCE) {
            Ok(url) => Ok(Some(Self { url, child })),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("{} did not say where it listens", program.display())
            }
        }
    }
}
