//! Who may come in: the shares of the bytes in flight.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pelton_resources::NamespacedName;
use prometheus::IntGauge;

use crate::refusal::Refusal;

/// A number of bytes that may be taken and given back.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    fn take(&self, bytes: u64) -> bool {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed);
        let granted = used.checked_add(bytes).is_some_and(|used| used <= self.limit);
        if !granted {
            self.give_back(bytes);
        }
        granted
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// The budgets that a request draws on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares<'a> {
    pub(crate) client: &'a Budget,
    pub(crate) broker: &'a Budget,
    pub(crate) total: &'a Budget,
    pub(crate) gauge: &'a IntGauge,
    pub(crate) name: &'a NamespacedName,
}

/// Bytes held by one request; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    shares: Shares<'a>,
    bytes: u64,
}

impl<'a> Reservation<'a> {
    pub(crate) const fn new(shares: Shares<'a>) -> Self {
        Self { shares, bytes: 0 }
    }

    /// Takes `bytes` more from every share, or from none.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let Shares { client, broker, total, gauge, name } = self.shares;
        if !client.take(bytes) {
            return Err(Refusal::ClientShare);
        }
        if !broker.take(bytes) {
            client.give_back(bytes);
            return Err(Refusal::BrokerShare(name.clone()));
        }
        if !total.take(bytes) {
            client.give_back(bytes);
            broker.give_back(bytes);
            return Err(Refusal::Overload);
        }
        gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let Shares { client, broker, total, gauge, .. } = self.shares;
        client.give_back(self.bytes);
        broker.give_back(self.bytes);
        total.give_back(self.bytes);
        gauge.sub(i64::try_from(self.bytes).unwrap_or(i64::MAX));
    }
}

/// The clients that have connections, each with its share. Asked once per connection, not per request.
#[derive(Debug)]
pub(crate) struct Clients {
    limit: u64,
    known: Mutex<HashMap<IpAddr, (usize, Arc<Budget>)>>,
}

impl Clients {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, known: Mutex::default() })
    }

    pub(crate) fn connect(self: &Arc<Self>, address: IpAddr) -> Client {
        let address = address.to_canonical();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (connections, budget) =
            known.entry(address).or_insert_with(|| (0, Arc::new(Budget::new(self.limit))));
        *connections += 1;
        Client { clients: self.clone(), address, budget: budget.clone() }
    }

    fn disconnect(&self, address: IpAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((connections, _)) = known.get_mut(&address) else { return };
        *connections -= 1;
        if *connections == 0 {
            known.remove(&address);
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.known.lock().unwrap().len()
    }
}

/// One connection of a client. All connections from one address share one budget.
#[derive(Debug)]
pub struct Client {
    clients: Arc<Clients>,
    address: IpAddr,
    pub(crate) budget: Arc<Budget>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.disconnect(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares<'a>(
        client: &'a Budget,
        broker: &'a Budget,
        total: &'a Budget,
        rest: &'a (IntGauge, NamespacedName),
    ) -> Shares<'a> {
        Shares { client, broker, total, gauge: &rest.0, name: &rest.1 }
    }

    #[test]
    fn a_refused_reservation_takes_nothing_from_anybody_and_a_dropped_one_gives_all_back() {
        let rest = (IntGauge::new("a", "b").unwrap(), NamespacedName::new("n", "b"));
        let cases = [
            ((9, 99, 99), Refusal::ClientShare),
            ((99, 9, 99), Refusal::BrokerShare(rest.1.clone())),
            ((99, 99, 9), Refusal::Overload),
        ];
        for ((client, broker, total), refusal) in cases {
            let (client, broker, total) = (Budget::new(client), Budget::new(broker), Budget::new(total));
            let mut reservation = Reservation::new(shares(&client, &broker, &total, &rest));
            reservation.grow(5).unwrap();
            assert_eq!(reservation.grow(5), Err(refusal));
            assert_eq!([client.used(), broker.used(), total.used()], [5, 5, 5]);
            assert_eq!(rest.0.get(), 5);
            drop(reservation);
            assert_eq!([client.used(), broker.used(), total.used()], [0, 0, 0]);
            assert_eq!(rest.0.get(), 0);
        }
    }

    #[test]
    fn connections_of_one_address_share_a_budget_that_goes_with_the_last() {
        let clients = Clients::new(10);
        let one = clients.connect("192.0.2.1".parse().unwrap());
        let two = clients.connect("::ffff:192.0.2.1".parse().unwrap());
        let other = clients.connect("192.0.2.2".parse().unwrap());
        assert!(Arc::ptr_eq(&one.budget, &two.budget));
        assert!(!Arc::ptr_eq(&one.budget, &other.budget));
        drop((one, other));
        assert_eq!(clients.count(), 1);
        drop(two);
        assert_eq!(clients.count(), 0);
    }
}
