//! Whose process listens on a port.

use std::collections::{BTreeMap, BTreeSet};

use procfs::process::{FDTarget, Process, all_processes};
use procfs::{ProcResult, net::TcpState};

/// Who listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listens {
    /// A process below the one asked about.
    Family,
    /// Somebody else.
    Other,
    /// Nobody.
    Nobody,
}

/// Whether a descendant of `ancestor` listens on `port`: a connection alone does not tell whose it is. Reads `/proc`.
pub(super) fn who_listens(port: u16, ancestor: i32) -> ProcResult<Listens> {
    let sockets = listening(port)?;
    if sockets.is_empty() {
        return Ok(Listens::Nobody);
    }
    let processes: Vec<Process> = all_processes()?.flatten().collect();
    let parents: BTreeMap<i32, i32> =
        processes.iter().filter_map(|process| Some((process.pid, process.stat().ok()?.ppid))).collect();
    let is_ours = processes
        .iter()
        .filter(|process| descends(process.pid, ancestor, &parents))
        .any(|process| holds(process, &sockets));
    Ok(if is_ours { Listens::Family } else { Listens::Other })
}

/// The inodes of sockets that listen on a port.
fn listening(port: u16) -> ProcResult<BTreeSet<u64>> {
    let (ipv4, ipv6) = (procfs::net::tcp()?, procfs::net::tcp6().unwrap_or_default());
    let on_port = ipv4
        .into_iter()
        .chain(ipv6)
        .filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port);
    Ok(on_port.map(|entry| entry.inode).collect())
}

fn descends(mut pid: i32, ancestor: i32, parents: &BTreeMap<i32, i32>) -> bool {
    // Ids may be given anew while they are read, so that the chain may be a ring.
    for _ in 0..parents.len() {
        match parents.get(&pid) {
            Some(&parent) if parent == ancestor => return true,
            Some(&parent) => pid = parent,
            None => return false,
        }
    }
    false
}

/// A process that ends meanwhile holds nothing.
fn holds(process: &Process, sockets: &BTreeSet<u64>) -> bool {
    let Ok(files) = process.fd() else { return false };
    files.flatten().any(|file| matches!(file.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_listener_is_its_processs_and_its_ancestors() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = Process::myself().unwrap();
        let parent = me.stat().unwrap().ppid;
        assert_eq!(who_listens(port, parent).unwrap(), Listens::Family);
        assert_eq!(who_listens(port, me.pid).unwrap(), Listens::Other, "nobody below us");
        drop(listener);
        assert_eq!(who_listens(port, parent).unwrap(), Listens::Nobody);
    }
}
