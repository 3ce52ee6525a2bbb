//! The vision service beside this one, if its program is at hand.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PROGRAM: &str = "dragunov";
/// Loading the bundled checkpoints takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running vision service; ends with this.
#[derive(Debug)]
pub struct Vision {
    child: Child,
    pub url: String,
}

impl Drop for Vision {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its program: the one told, the one beside this program, or one on the path.
pub fn program(told: Option<&Path>) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().map(|me| me.with_file_name(PROGRAM));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    match told {
        Some(told) => Some(told.to_owned()),
        None => beside.into_iter().chain(on_path).find(|p| p.is_file()),
    }
}

impl Vision {
    /// Starts it on a free port and waits until it says where.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or says nothing for a minute.
    pub fn start(program: &Path) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .args(["serve", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (send, receive) = mpsc::channel();
        let lines = child.stdout.take().map(BufReader::new);
        // Reads on to the end, so that the service never waits for us.
        std::thread::spawn(move || {
            for line in lines.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    let _ = send.send(url.to_owned());
                }
            }
        });
        match receive.recv_timeout(PATIENCE) {
            Ok(url) => Ok(Self { child, url }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(std::io::Error::other("the vision service did not start"))
            }
        }
    }
}
