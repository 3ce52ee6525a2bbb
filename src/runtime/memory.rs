//! How much memory there is and how much is used: of this process, of the machine, of a GPU.
//!
//! GPUs are asked through the driver's own tool, `nvidia-smi`, so that every build can tell, with or without CUDA.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::MemoryInfo;

/// For `nvidia-smi`: a second or two where it is slow, for ever where the driver hangs.
const TOOL_TIME: Duration = Duration::from_secs(20);

/// Bytes of this process in RAM now; none where the system does not tell.
pub fn resident() -> Option<u64> {
    of_status("VmRSS:")
}

/// The most this process ever had in RAM.
pub fn peak_resident() -> Option<u64> {
    of_status("VmHWM:")
}

/// Bytes that can be had without swapping.
pub fn available() -> Option<u64> {
    kib_after(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// RAM of the machine, or of the container if that is less.
pub fn total() -> Option<u64> {
    let machine = kib_after(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let container = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|path| {
        std::fs::read_to_string(Path::new(path))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    });
    Some(container.map_or(machine, |limit| limit.min(machine)))
}

fn of_status(field: &str) -> Option<u64> {
    kib_after(&std::fs::read_to_string("/proc/self/status").ok()?, field)
}

fn kib_after(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// One GPU as the driver shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub index: usize,
    pub uuid: String,
    pub name: String,
    pub used_bytes: u64,
    pub total_bytes: u64,
}

/// Every GPU of the machine; none if the driver's tool is not there or fails.
pub fn gpus() -> Option<Vec<Gpu>> {
    let fields = "--query-gpu=index,uuid,name,memory.used,memory.total";
    let text = nvidia_smi(&[fields, "--format=csv,noheader,nounits"])?;
    Some(read_gpus(&text))
}

/// The newest CUDA that the driver runs, as major and minor.
pub fn driver_cuda() -> Option<(u32, u32)> {
    read_cuda_version(&nvidia_smi(&[])?)
}

/// The N-th GPU that CUDA shows to this process, after `CUDA_VISIBLE_DEVICES`.
pub fn visible_gpu(gpus: &[Gpu], ordinal: usize, visible: Option<&str>) -> Option<Gpu> {
    let Some(list) = visible.map(str::trim).filter(|v| !v.is_empty()) else {
        return gpus.iter().find(|gpu| gpu.index == ordinal).cloned();
    };
    let wanted = list.split(',').nth(ordinal)?.trim();
    gpus.iter()
        .find(|gpu| match wanted.parse::<usize>() {
            Ok(index) => gpu.index == index,
            Err(_) => gpu.uuid.starts_with(wanted),
        })
        .cloned()
}

fn nvidia_smi(args: &[&str]) -> Option<String> {
    output_within(Command::new("nvidia-smi").args(args), TOOL_TIME)
}

/// What a command that ends well and in time prints.
fn output_within(command: &mut Command, limit: Duration) -> Option<String> {
    let piped = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = piped.spawn().ok()?;
    let mut stdout = child.stdout.take()?;
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.read_to_end(&mut bytes);
        let _ = send.send(read.map(|_| bytes));
    });
    let Ok(read) = receive.recv_timeout(limit) else {
        // Not waited for: with a driver that hangs it may not even die.
        let _ = child.kill();
        return None;
    };
    let ended = child.wait().ok()?;
    let bytes = read.ok().filter(|_| ended.success())?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_gpus(csv: &str) -> Vec<Gpu> {
    let mib = |text: &str| text.parse::<u64>().ok().map(|n| n << 20);
    csv.lines()
        .filter_map(|line| {
            let mut fields = line.split(',').map(str::trim);
            Some(Gpu {
                index: fields.next()?.parse().ok()?,
                uuid: fields.next()?.to_owned(),
                name: fields.next()?.to_owned(),
                used_bytes: mib(fields.next()?)?,
                total_bytes: mib(fields.next()?)?,
            })
        })
        .collect()
}

fn read_cuda_version(banner: &str) -> Option<(u32, u32)> {
    let (_, rest) = banner.split_once("CUDA Version:")?;
    let version = rest.split_whitespace().next()?;
    parse_version(version)
}

/// `12.4` or `12`.
pub fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().map_or(Some(0), |m| m.parse().ok())?;
    Some((major, minor))
}

/// Adds to an engine's own figures what its device says, right after the warm-up.
pub(super) fn measured(mut info: MemoryInfo, device: &str) -> MemoryInfo {
    if let Some(ordinal) = device.strip_prefix("cuda:").and_then(|n| n.parse().ok()) {
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        if let Some(gpu) = gpus().and_then(|all| visible_gpu(&all, ordinal, visible.as_deref())) {
            // The driver's view, of all processes, where the engine cannot tell what it holds itself.
            info.peak_bytes = info.peak_bytes.or(Some(gpu.used_bytes));
            info.total_bytes = info.total_bytes.or(Some(gpu.total_bytes));
        }
    } else {
        info.peak_bytes = peak_resident();
        info.total_bytes = total();
    }
    info
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The tool's own words on a machine with driver 580.
    const BANNER: &str =
        "| NVIDIA-SMI 580.159.04             Driver Version: 580.159.04     CUDA Version: 13.0     |";
    const CSV: &str = "0, GPU-9895d9be-c8e8-9b7e-8c51-d2b491403d1a, NVIDIA H100 80GB HBM3, 512, 81559\n\
                       1, GPU-11112222-c8e8-9b7e-8c51-d2b491403d1a, NVIDIA H100 80GB HBM3, 0, 81559\n\
                       2, GPU-3, Broken, [N/A], [N/A]\n";

    #[test]
    fn the_drivers_tool_is_read() {
        assert_eq!(read_cuda_version(BANNER), Some((13, 0)));
        assert_eq!(read_cuda_version("no driver"), None);
        let gpus = read_gpus(CSV);
        assert_eq!(gpus.len(), 2, "a GPU that tells nothing is left out");
        assert_eq!(gpus[0].name, "NVIDIA H100 80GB HBM3");
        assert_eq!(
            (gpus[0].used_bytes, gpus[0].total_bytes),
            (512 << 20, 81559 << 20)
        );
    }

    #[test]
    fn a_tool_that_hangs_or_fails_says_nothing() {
        let run = |script: &str, ms| {
            output_within(Command::new("sh").args(["-c", script]), Duration::from_millis(ms))
        };
        assert_eq!(run("echo hello", 60_000).unwrap(), "hello\n");
        assert_eq!(run("echo hello; exit 9", 60_000), None);
        assert_eq!(run("exec sleep 60", 100), None);
        assert_eq!(output_within(&mut Command::new("/no/such/tool"), TOOL_TIME), None);
    }

    #[test]
    fn visible_devices_rename_gpus() {
        let gpus = read_gpus(CSV);
        let index = |ordinal, visible| visible_gpu(&gpus, ordinal, visible).map(|g| g.index);
        assert_eq!(index(1, None), Some(1));
        assert_eq!(index(0, Some("1,0")), Some(1));
        assert_eq!(index(0, Some("GPU-9895d9be")), Some(0));
        assert_eq!(index(1, Some("1")), None);
        assert_eq!(index(7, Some("")), None);
    }

    #[test]
    fn this_process_has_memory() {
        let (now, peak, all) = (resident().unwrap(), peak_resident().unwrap(), total().unwrap());
        assert!(now > 1 << 20 && peak >= now && all > peak, "{now} {peak} {all}");
        assert!(available().unwrap() > 0);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse_version("11.8").unwrap() < parse_version("12").unwrap());
        assert_eq!(parse_version("x"), None);
    }
}
