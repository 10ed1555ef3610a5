//! Explores a model and reports what was found.
//!
//! `stateright` visits every reachable state, breadth first. Two of its habits are worked around here: it reports the
//! last counterexample that it met and not the shortest, and it stops only after it has visited some more states.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

/// The size of a completely explored model.
#[derive(Clone, Copy, Debug)]
pub struct Explored {
    pub distinct_states: usize,
    /// Including those that were reached again.
    pub states: usize,
    /// The number of states on the longest of the shortest paths.
    pub depth: usize,
    pub duration: Duration,
}

/// Visits all states. Panics if a property is violated, with the shortest way there, or if a situation that must be
/// possible is never reached.
pub fn explore<M>(model: M) -> Explored
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let begin = Instant::now();
    let checker =
        model.clone().checker().finish_when(HasDiscoveries::AnyFailures).threads(1).spawn_bfs().join();
    let duration = begin.elapsed();
    for property in model.properties() {
        let found = checker.discovery(property.name).is_some();
        if property.expectation.discovery_is_failure() {
            assert!(
                !found,
                "\"{}\" does not hold:\n{}",
                property.name,
                described(&shortest_counterexample(&model, property.name).unwrap_or_default())
            );
        }
    }
    for property in model.properties() {
        let found = checker.discovery(property.name).is_some();
        assert!(
            found || property.expectation.discovery_is_failure(),
            "\"{}\" is never reached",
            property.name
        );
    }
    Explored {
        distinct_states: checker.unique_state_count(),
        states: checker.state_count(),
        depth: checker.max_depth(),
        duration,
    }
}

/// The fewest steps to a state that violates the property; `None` if it holds.
pub fn shortest_counterexample<M>(model: &M, property: &'static str) -> Option<Vec<M::Action>>
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let mut shortest: Option<Vec<M::Action>> = None;
    loop {
        let wanted = HasDiscoveries::AnyOf(BTreeSet::from([property]));
        let checker = model.clone().checker().finish_when(wanted).threads(1);
        // A path of n steps has n + 1 states. Paths with as many states as the limit are not explored.
        let checker = match &shortest {
            Some(steps) => checker.target_max_depth(steps.len() + 1),
            None => checker,
        };
        match checker.spawn_bfs().join().discovery(property) {
            Some(path) => shortest = Some(path.into_actions()),
            None => return shortest,
        }
    }
}

/// The steps, one a line.
pub fn described<A: Debug>(steps: &[A]) -> String {
    let lines = steps.iter().zip(1..).map(|(step, number)| format!("{number:3}. {step:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distinct_states, states, depth, duration } = self;
        write!(f, "{distinct_states} distinct states of {states}, depth {depth}, in {duration:.1?}")
    }
}
