//! The account book: what was accepted, what a subscriber got, and whether the two agree.

use std::collections::{HashMap, HashSet};

use crate::producer::Message;
use crate::subscriber::Receipt;

/// What the book says about one trigger.
#[derive(Debug, Default)]
pub struct Balance {
    /// Accepted events that the subscriber never took.
    pub lost: Vec<Message>,
    /// Events taken that nobody sent.
    pub invented: Vec<String>,
    /// How many times events were taken again after they had been taken.
    pub repeated: u64,
    /// First deliveries that came before the predecessor of the same key, as `predecessor < event`.
    pub out_of_order: Vec<(Message, Message)>,
}

/// Balances `receipts` (in order of arrival) against what was `accepted` and what is `unknown`. A receipt counts as taken
/// when it was answered with success.
#[must_use]
pub fn balance<'a>(
    accepted: impl IntoIterator<Item = &'a Message>,
    unknown: impl IntoIterator<Item = &'a Message>,
    receipts: &[Receipt],
) -> Balance {
    let accepted: HashSet<&Message> = accepted.into_iter().collect();
    let unknown: HashSet<&Message> = unknown.into_iter().collect();
    let mut balance = Balance::default();
    let mut taken: HashMap<Message, u64> = HashMap::new();
    let mut last: HashMap<String, u64> = HashMap::new();
    for receipt in receipts {
        let Some(message) = Message::parse(receipt.id()) else {
            balance.invented.push(receipt.id().to_owned());
            continue;
        };
        if !accepted.contains(&message) && !unknown.contains(&message) {
            balance.invented.push(receipt.id().to_owned());
            continue;
        }
        if let Some(&highest) = last.get(&message.key)
            && message.number < highest
            && !taken.contains_key(&message)
        {
            let predecessor = Message { key: message.key.clone(), number: highest };
            balance.out_of_order.push((predecessor, message.clone()));
        }
        let highest = last.entry(message.key.clone()).or_default();
        *highest = (*highest).max(message.number);
        if (200..300).contains(&receipt.answered) {
            *taken.entry(message).or_default() += 1;
        }
    }
    balance.repeated = taken.values().map(|times| times - 1).sum();
    balance.lost = accepted.into_iter().filter(|message| !taken.contains_key(*message)).cloned().collect();
    balance
}

#[cfg(test)]
mod tests {
    use super::balance;
    use crate::producer::Message;
    use crate::subscriber::Receipt;

    fn message(number: u64) -> Message {
        Message { key: "k".to_owned(), number }
    }

    fn receipt(number: u64, answered: u16) -> Receipt {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("ce-id", message(number).id().parse().unwrap());
        let at = std::time::SystemTime::UNIX_EPOCH;
        Receipt { path: "/".to_owned(), headers, body: bytes::Bytes::new(), answered, at }
    }

    #[test]
    fn a_clean_run_balances() {
        let sent = [message(0), message(1)];
        let balance = balance(&sent, &[], &[receipt(0, 204), receipt(1, 204)]);
        assert!(balance.lost.is_empty() && balance.invented.is_empty() && balance.out_of_order.is_empty());
        assert_eq!(balance.repeated, 0);
    }

    #[test]
    fn each_fault_shows() {
        let sent = [message(0), message(1), message(2)];
        let receipts = [receipt(0, 204), receipt(2, 204), receipt(1, 500), receipt(0, 204), receipt(7, 204)];
        let balance = balance(&sent, &[], &receipts);
        assert_eq!(balance.lost, [message(1)]);
        assert_eq!(balance.invented, ["k-7"]);
        assert_eq!(balance.repeated, 1);
        assert_eq!(balance.out_of_order, [(message(2), message(1))]);
    }
}
