//! What a killed engine leaves on the machine: processes, mounts, network links.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kills the containers that a containerd (by the path of its socket) still watches over, with their watchers.
pub(super) fn kill_shims(containerd: &str) {
    let shims: Vec<String> = processes()
        .filter(|(_, words)| {
            let named = words
                .first()
                .is_some_and(|name| name.contains("containerd-shim"));
            named && words.iter().any(|word| word == containerd)
        })
        .map(|(pid, _)| pid)
        .collect();
    let children = |parent: &String| {
        let all = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let all = all.unwrap_or_default();
        all.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // A container's first process takes all others with it. It may be frozen by its cgroup, where SIGKILL still works.
    let mut doomed: Vec<String> = shims.iter().flat_map(children).collect();
    doomed.extend(shims);
    if !doomed.is_empty() {
        quietly(Command::new("kill").arg("-KILL").args(doomed));
    }
}

fn processes() -> impl Iterator<Item = (String, Vec<String>)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.to_owned();
        pid.parse::<u32>().ok()?;
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let words = words.split(|byte| *byte == 0);
        let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
        Some((pid, words.collect()))
    })
}

/// Unmounts everything at or below a folder, the deepest first.
pub(super) fn unmount_below(folder: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<PathBuf> = points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(folder))
        .collect();
    points.sort();
    for point in points.iter().rev() {
        // Lazily: a dying process may still stand in it.
        quietly(Command::new("umount").arg("-l").arg(point));
    }
}

/// Removes the bridges of an engine's networks, which an engine leaves when it ends.
pub(super) fn remove_links(folder: &Path) {
    let networks = fs::read(folder.join("data/network/files/local-kv.db")).unwrap_or_default();
    let networks = String::from_utf8_lossy(&networks);
    let links = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    for link in links {
        let name = link.file_name().to_string_lossy().into_owned();
        // A bridge is called by the beginning of its network's id, which only this engine's file holds.
        let ours = name
            .strip_prefix("br-")
            .is_some_and(|id| networks.contains(id));
        if ours {
            quietly(Command::new("ip").args(["link", "delete", &name]));
        }
    }
}

fn quietly(command: &mut Command) {
    let command = command.stdin(Stdio::null());
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}
