//! This executable again, as the service.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// `serve --engine stub` in a process of its own, on a free port; killed when dropped.
pub struct Service {
    child: Child,
    pub url: String,
}

impl Service {
    pub fn start(flags: &[&str]) -> Self {
        let mut child = command("serve")
            .args(["--engine", "stub", "--port", "0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    /// Memory of the process that is in RAM, MiB.
    pub fn resident(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        let kib = line.trim().trim_end_matches("kB").trim();
        kib.parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A subcommand of `dragunov`, with nothing of this process's own settings; its log goes nowhere.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (variable, _) in std::env::vars() {
        if ["DRAGUNOV_", "RUNPOD_", "OTEL_"]
            .iter()
            .any(|p| variable.starts_with(p))
        {
            command.env_remove(variable);
        }
    }
    command.arg(name).stderr(Stdio::null());
    command
}
