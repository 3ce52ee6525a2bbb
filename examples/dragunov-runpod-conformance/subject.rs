//! The worker under test, as a process.

use std::collections::HashMap;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

/// A running worker; it and all it started are killed when this is dropped.
pub(crate) struct Subject {
    child: Child,
    pid: u32,
    /// Its working directory, which holds its output.
    dir: tempfile::TempDir,
}

/// The command with its relative paths made absolute, because each worker gets an empty folder of its own.
pub(crate) fn absolute(command: &[String]) -> Vec<String> {
    let full = |word: &String| match Path::new(word) {
        path if path.is_relative() && word.contains('/') && path.exists() => {
            std::path::absolute(path).map_or_else(|_| word.clone(), |p| p.to_string_lossy().into_owned())
        }
        _ => word.clone(),
    };
    command.iter().map(full).collect()
}

impl Subject {
    pub(crate) fn start(
        command: &[String],
        args: &[&str],
        env: &HashMap<String, String>,
    ) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| format!("no folder: {e}"))?;
        let file = |name: &str| {
            std::fs::File::create(dir.path().join(name)).map_err(|e| format!("no file for its output: {e}"))
        };
        let (program, rest) = command.split_first().ok_or("no command")?;
        let mut process = Command::new(program);
        process.args(rest).args(args);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUNPOD_")) {
            process.env_remove(name);
        }
        let child = process
            .envs(env)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(file("stdout")?)
            .stderr(file("stderr")?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("cannot start {program}: {e}"))?;
        let pid = child.id().ok_or("it ended at once")?;
        Ok(Self { child, pid, dir })
    }

    /// Sends a signal to the worker's first process.
    pub(crate) fn signal(&self, name: &str) {
        kill(name, &self.pid.to_string());
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self, within: Duration) -> Result<ExitStatus, String> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(e)) => Err(format!("its end cannot be seen: {e}")),
            Err(_) => Err(format!("still running after {within:?}")),
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it wrote so far.
    pub(crate) fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// Both outputs.
    pub(crate) fn output(&self) -> String {
        self.read("stdout") + &self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Some workers leave helpers behind.
        kill("-KILL", &format!("-{}", self.pid));
    }
}

fn kill(signal: &str, target: &str) {
    let _ = std::process::Command::new("kill")
        .args([signal, "--", target])
        .stderr(Stdio::null())
        .status();
}
