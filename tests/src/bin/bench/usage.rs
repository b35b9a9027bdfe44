//! What processes have used, as the kernel counts it.

use std::path::Path;

use anyhow::{Context, Result};

/// The kernel tells times to programs in hundredths of a second on every machine that it runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

struct Stat {
    parent: u32,
    /// Ticks of the process, and of its children that have ended.
    own: u64,
    ended: u64,
}

/// `None` when the process is gone.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, brackets and blanks included.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        ended: number(13)? + number(14)?,
    })
}

/// Processor seconds of one process so far.
pub(crate) fn seconds(pid: u32) -> Result<f64> {
    let stat = stat(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(stat.own as f64 / TICKS_PER_SECOND)
}

/// Processor seconds so far of a server and all of its processes, those that have ended included, but for `without`.
pub(crate) fn server_seconds(postmaster: u32, without: &[u32]) -> Result<f64> {
    let server = stat(postmaster).context("the server is gone")?;
    let processes = Path::new("/proc").read_dir()?;
    let children = processes.flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let child = stat(pid).filter(|child| child.parent == postmaster)?;
        (!without.contains(&pid)).then_some(child.own)
    });
    let ticks = server.own + server.ended + children.sum::<u64>();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Memory of a process in MB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// Its share: what several processes use counts in parts.
    pub(crate) proportional: f64,
    /// The most that was resident since [`forget_peak`].
    pub(crate) peak: f64,
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{name}"))
            .with_context(|| format!("cannot read {name} of process {pid}"))
    };
    let status = read("status")?;
    Ok(Memory {
        resident: megabytes(&status, "VmRSS:")?,
        proportional: megabytes(&read("smaps_rollup")?, "Pss:")?,
        peak: megabytes(&status, "VmHWM:")?,
    })
}

/// From now on the peak is counted anew.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .with_context(|| format!("cannot reset the peak of process {pid}"))
}

fn megabytes(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
    let kilobytes: f64 = kilobytes
        .with_context(|| format!("there is no {name}"))?
        .parse()?;
    Ok(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{megabytes, memory, seconds, stat};

    #[test]
    fn a_process_is_read_whatever_its_name() -> Result<()> {
        let own = std::process::id();
        assert!(seconds(own)? >= 0.0);
        assert_eq!(
            stat(own).map(|stat| stat.parent),
            Some(std::os::unix::process::parent_id())
        );
        let memory = memory(own)?;
        assert!(memory.proportional > 0.0 && memory.proportional <= memory.resident);
        assert!(memory.resident <= memory.peak + 1.0);
        assert_eq!(megabytes("Name: a\nPss:    2048 kB\n", "Pss:")?, 2.0);
        assert!(megabytes("Name: a\n", "Pss:").is_err());
        Ok(())
    }
}
