//! Replays: a second lane that delivers a trigger's events of the past once more, while the live one goes on.

use std::ops::Range;

use pelton_event_log::Offset;

use super::action::{LaneKey, Turn};
use super::partition::Partition;
use super::shared::Shared;

impl Partition {
    /// Registers a replay of the events in `range` by the command at `command` of the retry topic, whose saved head must not
    /// pass it before the replay has a row. One that is known already is not begun again.
    pub(super) fn begin_replay(
        &mut self,
        key: LaneKey,
        command: Offset,
        range: Range<Offset>,
        shared: &Shared,
        turn: &Turn<'_>,
    ) {
        let Range { start: from, end: to } = range;
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.command = Some(command);
            return;
        }
        if !shared.trigger(key.trigger).exists {
            return;
        }
        // Without an end: what was accepted before now; what comes later is delivered live.
        let end = if to == Offset::MAX { self.head.max(self.end_when_gained) } else { to };
        if from >= end {
            return;
        }
        let lane = self.lane(key, shared);
        lane.detach(from, None);
        lane.replay_end = Some(end);
        lane.command = Some(command);
        lane.saving.retry_unsaved_from = Some(command);
        self.mark_dirty(key, turn.now);
        self.saver.hurry();
        self.queue_sweep(key);
        self.touch(key);
    }

    /// A replay that has delivered everything goes, once its command is not read again.
    pub(super) fn finish_replay(&mut self, key: LaneKey, shared: &Shared, turn: &Turn<'_>) {
        let Some(lane) = self.lanes.get(&key) else { return };
        let done = lane.replay_end.is_some_and(|end| lane.next.is_some_and(|next| next >= end));
        let begins_again = lane.command.is_some_and(|command| self.saver.saved_retry_head() <= command);
        if done && !begins_again && lane.events.is_empty() && lane.is_still() {
            self.remove_lane(key, shared);
            self.saver
                .remove_row(super::partition::row_name(key, &shared.trigger(key.trigger).name), turn.now);
        }
    }
}
