//! README and docs tell the truth: their commands parse, the marked ones run, their links and JSON lead somewhere.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::CommandFactory;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README, CONTRIBUTING and everything under docs/, by path from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = Path::new("docs").join(entry.unwrap().file_name());
        if path.extension().is_some_and(|e| e == "md") {
            paths.push(path);
        }
    }
    assert!(paths.len() >= 5, "{paths:?}");
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap()))
        .collect()
}

/// A fenced block.
struct Block {
    language: String,
    /// What the comment `<!-- ... -->` on the line before says.
    mark: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut out = Vec::new();
    let mut before = "";
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|l| !l.starts_with("```")).collect();
            let mark = before.strip_prefix("<!-- ").and_then(|m| m.strip_suffix(" -->"));
            out.push(Block {
                language: language.into(),
                mark: mark.unwrap_or_default().into(),
                text: text.join("\n"),
            });
        }
        before = line;
    }
    out
}

/// The commands of a shell block: comments, assignments before them and redirections after them dropped, continued lines
/// joined, the parts of a pipe apart.
fn commands(block: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    for line in block.replace("\\\n", " ").lines() {
        let mut words: Vec<Vec<String>> = vec![Vec::new()];
        let (mut word, mut quote, mut begun) = (String::new(), None, false);
        for c in format!("{line} ").chars() {
            match (quote, c) {
                (Some(q), c) if c == q => quote = None,
                (None, '\'' | '"') => (quote, begun) = (Some(c), true),
                (None, '#') if !begun => break,
                (None, ' ') if begun => {
                    let done = std::mem::take(&mut word);
                    begun = false;
                    if matches!(done.as_str(), "|" | "&&" | ";" | "&") {
                        words.push(Vec::new());
                    } else if let Some(last) = words.last_mut() {
                        last.push(done);
                    }
                }
                (None, ' ') => {}
                (_, c) => {
                    word.push(c);
                    begun = true;
                }
            }
        }
        for mut command in words {
            while command.first().is_some_and(|w| {
                w.split_once('=')
                    .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            }) {
                command.remove(0);
            }
            if let Some(at) = command.iter().position(|w| w.starts_with('>')) {
                command.truncate(at);
            }
            if !command.is_empty() {
                out.push(command);
            }
        }
    }
    out
}

/// The arguments of `dragunov` in a command, however it is started: by name, through Cargo, or in the image.
fn ours(command: &[String]) -> Option<Vec<String>> {
    let at = |program: &[&str]| {
        (command.len() > program.len() && command.iter().zip(program).all(|(a, b)| a == b))
            .then(|| command[program.len()..].to_vec())
    };
    at(&["dragunov"]).or_else(|| at(&["cargo", "run", "--release", "--"]))
}

#[test]
fn every_command_of_the_docs_parses() {
    let mut checked = 0;
    for (path, text) in documents() {
        for block in blocks(&text).iter().filter(|b| b.language == "sh") {
            for command in commands(&block.text) {
                let said = command.join(" ");
                if let Some(arguments) = ours(&command) {
                    let line = std::iter::once("dragunov".to_owned()).chain(arguments);
                    if let Err(error) = dragunov::cli::Cli::command().try_get_matches_from(line) {
                        panic!("{}: {said}\n{error}", path.display());
                    }
                    checked += 1;
                }
                // Files and Cargo targets that a command names exist.
                for word in &command {
                    let file = word.trim_start_matches('@');
                    if [
                        "scripts/",
                        "fixtures/",
                        "benches/",
                        "models/",
                        "packaging/",
                        "examples/",
                    ]
                    .iter()
                    .any(|folder| file.starts_with(folder))
                    {
                        assert!(
                            root().join(file).exists(),
                            "{}: {said}: no {file}",
                            path.display()
                        );
                    }
                }
                for (flag, folder) in [("--test", "tests"), ("--example", "examples")] {
                    if let Some(name) = command.iter().position(|w| w == flag).map(|i| &command[i + 1]) {
                        let exists = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/main.rs")]
                            .iter()
                            .any(|file| root().join(file).exists());
                        assert!(exists, "{}: {said}: no {flag} {name}", path.display());
                    }
                }
            }
        }
    }
    assert!(
        checked > 15,
        "{checked} commands: the check would pass on nothing"
    );
}

#[test]
fn every_link_of_the_docs_leads_somewhere() {
    let mut checked = 0;
    for (path, text) in documents() {
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = root().join(path.parent().unwrap()).join(target);
            assert!(file.exists(), "{}: {target}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} links: the check would pass on nothing");
}

/// A folder that looks like the repository, with the built program on PATH, for commands that write files.
struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["fixtures", "models", "docs", "scripts"] {
            std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
        }
        fs::create_dir(folder.path().join("bin")).unwrap();
        let program = folder.path().join("bin/dragunov");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dragunov"), program).unwrap();
        Self { folder }
    }

    fn run(&self, script: &str) -> String {
        let path = format!(
            "{}:{}",
            self.folder.path().join("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let script = script.replace("cargo run --release -- ", "dragunov ");
        let out = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{script}\n{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }
}

#[test]
fn marked_commands_run() {
    let mut ran = 0;
    for (_, text) in documents() {
        for block in blocks(&text).iter().filter(|b| b.mark == "run") {
            Sandbox::new().run(&block.text);
            ran += 1;
        }
    }
    assert!(ran >= 2, "{ran} blocks: the check would pass on nothing");
}

/// The README's curl works against `serve`, and the answer that it prints is the one that comes, within a tenth.
#[test]
fn the_readmes_request_gets_the_readmes_answer() {
    use std::io::BufRead;
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var("CI").is_err(), "CI must have curl");
        eprintln!("NOT RUN: no curl");
        return;
    }
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let all = blocks(&text);
    let request = all.iter().find(|b| b.mark == "run with serve").unwrap();
    let shown: Value =
        serde_json::from_str(&all.iter().find(|b| b.language == "json").unwrap().text).unwrap();
    let mut service = Command::new(env!("CARGO_BIN_EXE_dragunov"))
        .args(["serve", "--port", "0", "--log", "error"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(service.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let answered = std::panic::catch_unwind(|| {
        let url = line.trim().strip_prefix("listening on ").unwrap();
        let wait =
            format!("curl -s --retry 60 --retry-delay 1 --retry-all-errors -f -o /dev/null {url}/readyz\n");
        Sandbox::new().run(&(wait + &request.text.replace("http://127.0.0.1:8000", url)))
    });
    service.kill().unwrap();
    service.wait().unwrap();
    let answer: Value = serde_json::from_str(&answered.unwrap()).unwrap();
    compare("", &shown, &answer);
}

/// Every value of `shown` stands in `real`; lists may be shorter, and numbers a tenth off.
fn compare(at: &str, shown: &Value, real: &Value) {
    match (shown, real) {
        (Value::Object(shown), Value::Object(_)) => {
            for (key, value) in shown {
                compare(&format!("{at}/{key}"), value, &real[key]);
            }
        }
        (Value::Array(shown), Value::Array(real)) => {
            for (i, value) in shown.iter().enumerate() {
                compare(&format!("{at}/{i}"), value, real.get(i).unwrap_or(&Value::Null));
            }
        }
        (Value::Number(shown), Value::Number(real)) => {
            let (shown, real) = (shown.as_f64().unwrap(), real.as_f64().unwrap());
            assert!(
                (shown - real).abs() <= 0.1 * real.abs(),
                "{at}: {shown} is shown, {real} came"
            );
        }
        _ => assert_eq!(shown, real, "{at}"),
    }
}

#[test]
fn shell_text_is_read_as_a_shell_would() {
    let got = commands(
        "A=1 dragunov x 'two words' # no\n\n# comment\nfoo --at \\\n  b | dragunov y > z\nx=$(y) && w",
    );
    let want: [&[&str]; 5] = [
        &["dragunov", "x", "two words"],
        &["foo", "--at", "b"],
        &["dragunov", "y"],
        &["x=$(y)"],
        &["w"],
    ];
    assert_eq!(
        got,
        want.map(|c| c.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    );
    let found = blocks("a\n<!-- run -->\n```sh\nx\ny\n```\n```json\n{}\n```\n");
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].mark.as_str(), found[0].text.as_str()), ("run", "x\ny"));
    assert_eq!((found[1].mark.as_str(), found[1].language.as_str()), ("", "json"));
}
