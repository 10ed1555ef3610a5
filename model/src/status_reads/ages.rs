//! The passing of time. Ages stop at the value after which they make no difference.

use super::{AHEAD, LookUp, OLDEST, OVER_A_SECOND, Rule, State, StatusReads, USELESS};

impl State {
    pub(super) fn tick(&mut self, model: &StatusReads) {
        let older = |age: u8, max: u8| (age + 1).min(max);
        if model.is_ticket_ahead {
            self.now = older(self.now, AHEAD - 2);
        }
        self.settled = self.settled.map(|age| older(age, OVER_A_SECOND));
        for instance in &mut self.instances {
            instance.cached = instance.cached.map(|age| older(age, OLDEST));
            instance.reported = instance.reported.map(|age| older(age, OVER_A_SECOND));
            if instance.is_suspended {
                continue;
            }
            let older_look_up =
                |look_up: LookUp| LookUp { age: older(look_up.age, OVER_A_SECOND), ..look_up };
            instance.reading = instance.reading.map(older_look_up);
            instance.looking_up = instance.looking_up.map(older_look_up);
            // A reading that can no longer be used is as good as none.
            let is_useful = |look_up: &LookUp| look_up.age < USELESS || !model.has(Rule::ReadingsEnd);
            instance.reading = instance.reading.filter(is_useful);
            if model.has(Rule::AgesCountFromBeginning) {
                instance.looking_up = instance.looking_up.filter(is_useful);
            }
        }
    }
}
