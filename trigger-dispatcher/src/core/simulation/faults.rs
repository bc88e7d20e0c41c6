//! What the outside does: events, crashes, edits, commands.

use std::sync::Arc;

use pelton_event::{Envelope, Origin, Record, Step, Timestamp};
use pelton_event_log::Content;
use pelton_resources::{Order, Start, Trigger};

use super::book::Replay;
use super::people;
use super::world::{Answer, Happening, RECORD_BYTES_MAX, START, World, config};
use crate::core::BrokerCore;

impl World {
    pub(super) fn publish(&mut self) {
        let partition = self.rng.usize(..self.log.events.len());
        let content = people::content(self.published, Timestamp::from_millis(self.now), &mut self.rng);
        self.published += 1;
        self.log.events[partition].contents.push(content);
        self.wake_readers();
    }

    /// Everything that is not saved and everything in flight is gone; what was on its way to the disk may be there or not.
    pub(super) fn crash(&mut self) {
        self.tell(|| "crashes".to_owned());
        self.crashed = true;
        let life = self.life;
        for (_, happening) in std::mem::take(&mut self.queue) {
            match happening {
                Happening::Answer(of, Answer::Saved(save, batch)) if of == life => {
                    let size = |record: &Record| record.event.as_ref().map_or(0, pelton_event::Event::size);
                    let fits = batch.records.iter().all(|(_, _, record)| size(record) < RECORD_BYTES_MAX);
                    if fits && self.rng.bool() {
                        self.store(save.partition, &batch);
                    } else if fits {
                        self.store_part(save.partition, &batch);
                    }
                }
                Happening::Answer(..) | Happening::Gain(_) => {}
                other => {
                    self.sequence += 1;
                    let at = self.now + self.rng.u64(..5_000);
                    self.queue.insert((at, self.sequence), other);
                }
            }
        }
        self.core = BrokerCore::new(config(1, &self.budget, self.sizes, 0), Arc::default());
        self.begin_life();
    }

    /// A partition is given up and gained again.
    pub(super) fn handover(&mut self) {
        let partition = self.rng.u32(..u32::try_from(self.owned.len()).unwrap());
        if !self.owned[&partition] {
            return;
        }
        self.tell(|| format!("stops {partition}"));
        self.turn(|core, turn| core.stop(partition, turn));
        if self.rng.bool() {
            // What was given back may have been taken outside.
            self.crashed = true;
            self.turn(|core, turn| core.abandon(partition, turn));
        }
    }

    pub(super) fn edit(&mut self) {
        let number = self.rng.usize(..self.book.known.len());
        let known = &mut self.book.known[number];
        let trigger: &mut Trigger = &mut known.trigger;
        match self.rng.u8(..7) {
            0 => trigger.paused = !trigger.paused,
            1 => {
                trigger.delivery = people::policy(&mut self.rng);
                known.policy_changed = true;
            }
            2 => {
                trigger.order = [Order::Unordered, Order::Ordered, Order::Keyed][self.rng.usize(..3)];
                known.order_changed = true;
            }
            3 => trigger.max_concurrency = [None, Some(1), Some(4)][self.rng.usize(..3)],
            4 => {
                self.exists[number] = !self.exists[number];
                // What is added while it is gone it knows nothing of.
                known.from_start.retain(|partition| known.registered.contains_key(partition));
            }
            5 if self.plan.moves => {
                known.moved = true;
                trigger.start_text = format!("s{}", self.rng.u8(..3));
                let then = Timestamp::from_millis(START + self.rng.u64(..10_000));
                trigger.start = [Start::Latest, Start::Earliest, Start::At(then)][self.rng.usize(..3)];
            }
            _ => trigger.max_rate = [None, Some(5.0), Some(100.0)][self.rng.usize(..3)],
        }
        self.tell(|| format!("edits trigger {number}, exists {}", self.exists[number]));
        self.change_triggers();
    }

    pub(super) fn change_triggers(&mut self) {
        let table = self.table();
        let owned: Vec<_> =
            self.owned.iter().filter(|(_, owned)| **owned).map(|(partition, _)| *partition).collect();
        owned.iter().for_each(|partition| self.note_candidates(*partition, false));
        let bounds = owned.iter().map(|partition| (*partition, self.bounds(*partition))).collect();
        self.turn(|core, turn| core.triggers_changed(table, &bounds, turn));
    }

    /// Somebody replays events or a dead letter.
    pub(super) fn command(&mut self) {
        let partition = self.rng.u32(..u32::try_from(self.owned.len()).unwrap());
        let dead = &self.log.dead[partition as usize];
        let pick = self.rng.u64(..dead.end().max(1));
        let letter = dead.record(pick).filter(|record| record.event.is_some()).cloned();
        let record = match letter {
            Some(letter) if self.rng.bool() => {
                let origin = letter.envelope.origin.clone().unwrap();
                let trigger = self.book.trigger_of(&origin.trigger).unwrap();
                let offset = self.log.retry[partition as usize].end();
                let account = self.book.account((trigger, partition, origin.offset));
                account.again = true;
                account.durable_attempts = [0; 2];
                self.book.enters_retry((trigger, partition, origin.offset), offset);
                let step = Step::Retry { attempts: 0, due: Timestamp::from_millis(self.now), failure: None };
                Record {
                    envelope: Envelope { origin: Some(Origin { step, ..origin }), ..letter.envelope },
                    ..letter
                }
            }
            _ => {
                let trigger = self.rng.usize(..self.book.known.len());
                if !self.exists[trigger] {
                    return;
                }
                let end = self.log.events[partition as usize].end();
                let from = self.rng.u64(..=end);
                let to = self.rng.u64(from..=end);
                self.replay_ids += 1;
                let id = self.replay_ids;
                let seen = std::collections::HashSet::new();
                let replay = Replay { trigger, partition, from, to, seen, done: false };
                self.book.replays.insert(id, replay);
                for offset in from..to {
                    self.book.account((trigger, partition, offset)).again = true;
                }
                let name = self.book.known[trigger].trigger.name.as_str().into();
                let origin =
                    Origin { trigger: name, partition, offset: 0, step: Step::Replay { id, from, to } };
                Record::command(Envelope::new(Timestamp::from_millis(self.now)).with_origin(origin))
            }
        };
        self.tell(|| format!("commands {record:?}"));
        self.log.retry[partition as usize].contents.push(Content::Record(record));
        self.wake_readers();
    }

    /// An event cannot be read any more.
    pub(super) fn damage(&mut self) {
        let partition = self.rng.usize(..self.log.events.len());
        let kept = &mut self.log.events[partition];
        if kept.end() > kept.start {
            let offset = self.rng.u64(kept.start..kept.end());
            kept.damaged.insert(offset);
            self.tell(|| format!("spoils {offset} of {partition}"));
        }
    }

    /// There is one more partition; events come into it before anybody serves it.
    pub(super) fn grow(&mut self) {
        let partition = u32::try_from(self.owned.len()).unwrap();
        self.log.grow();
        self.owned.insert(partition, false);
        self.tenures.insert(partition, 0);
        // All there are miss nothing of it.
        for (known, _) in self.book.known.iter_mut().zip(&self.exists).filter(|(_, exists)| **exists) {
            known.from_start.insert(partition);
        }
        self.tell(|| format!("adds {partition}"));
        let after = self.rng.u64(1..3_000);
        self.answer_gain(after, partition);
    }

    pub(super) fn expire(&mut self) {
        let partition = self.rng.usize(..self.log.events.len());
        let topic = if self.rng.bool() { &mut self.log.events } else { &mut self.log.retry };
        let kept = &mut topic[partition];
        kept.start = self.rng.u64(kept.start..=kept.end());
        self.tell(|| {
            let (events, retry) = (&self.log.events[partition], &self.log.retry[partition]);
            format!("expires {partition} up to {}, retries up to {}", events.start, retry.start)
        });
    }
}
