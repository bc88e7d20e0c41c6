//! The ports that replicas listen on.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Gives each replica a port of its own.
#[derive(Debug, Clone)]
pub struct Ports(Arc<Mutex<Given>>);

#[derive(Debug)]
struct Given {
    range: RangeInclusive<u16>,
    /// Where is looked next: a port is not given again soon, since clients may still know it by its last owner.
    next: u16,
    taken: BTreeSet<u16>,
}

/// A port; dropping it gives it back.
#[derive(Debug)]
pub struct Port {
    number: u16,
    given: Arc<Mutex<Given>>,
}

/// All ports are in use, by replicas or by others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no port from {} to {} is free for another replica; give a wider range (--replica-ports)",
    range.start(),
    range.end()
)]
pub struct NoPort {
    /// The range that was searched.
    pub range: RangeInclusive<u16>,
}

impl Ports {
    /// The ports of `range`, both ends included.
    #[must_use]
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let next = *range.start();
        Self(Arc::new(Mutex::new(Given { range, next, taken: BTreeSet::new() })))
    }

    /// A port that nobody listens on.
    ///
    /// # Errors
    /// If there is none.
    pub fn take(&self) -> Result<Port, NoPort> {
        let mut given = lock(&self.0);
        for _ in given.range.clone() {
            let number = given.next;
            given.next = if number == *given.range.end() { *given.range.start() } else { number + 1 };
            if !given.taken.contains(&number) && is_free(number) {
                given.taken.insert(number);
                return Ok(Port { number, given: self.0.clone() });
            }
        }
        Err(NoPort { range: given.range.clone() })
    }
}

impl Port {
    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        lock(&self.given).taken.remove(&self.number);
    }
}

fn lock(given: &Mutex<Given>) -> MutexGuard<'_, Given> {
    given.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Others may take it in the moment after; the replica then fails to listen and is started anew, on another.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A range of free ports, as far as one can know.
    fn free(count: u16) -> RangeInclusive<u16> {
        let start =
            (40_000..60_000).step_by(usize::from(count)).find(|start| (*start..start + count).all(is_free));
        let start = start.unwrap();
        start..=start + count - 1
    }

    #[test]
    fn each_port_is_given_once_and_again_when_it_came_back() {
        let range = free(3);
        let ports = Ports::new(range.clone());
        let taken: Vec<_> = (0..3).map(|_| ports.take().unwrap()).collect();
        let numbers: BTreeSet<_> = taken.iter().map(Port::number).collect();
        assert_eq!(numbers, range.clone().collect());
        assert_eq!(ports.take().unwrap_err(), NoPort { range });
        let back = taken[1].number();
        drop(taken.into_iter().nth(1));
        assert!(numbers.contains(&back));
        assert!(ports.take().is_ok());
    }

    #[test]
    fn a_port_of_somebody_else_is_left_alone() {
        let range = free(2);
        let _others = TcpListener::bind((Ipv4Addr::LOCALHOST, *range.start())).unwrap();
        let ports = Ports::new(range.clone());
        assert_eq!(ports.take().unwrap().number(), *range.end());
    }
}
