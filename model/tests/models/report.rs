//! Explores a model and prints what was found.

use std::fmt::Debug;
use std::hash::Hash;
use std::io::{Write, stderr};

use hamro_model::check::{described, explore, shortest_counterexample};
use stateright::Model;

/// Every property holds in every state.
pub fn holds<M>(name: &str, model: M)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    print(&format!("{name}: {}", explore(model)));
}

/// There is a way to violate the property.
pub fn breaks<M>(model: M, property: &'static str)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let steps = shortest_counterexample(&model, property);
    let steps = steps.unwrap_or_else(|| panic!("\"{property}\" still holds"));
    print(&format!("\"{property}\" is violated in {} steps:\n{}", steps.len(), described(&steps)));
}

/// There is a way to violate the property without both rules, and none without one of them.
pub fn breaks_only_together<M, R>(model: impl Fn(&[R]) -> M, rules: [R; 2], property: &'static str)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
    R: Copy + Debug,
{
    for rule in rules {
        let steps = shortest_counterexample(&model(&[rule]), property);
        assert!(steps.is_none(), "without {rule:?} alone, \"{property}\" is violated");
    }
    breaks(model(&rules), property);
}

fn print(line: &str) {
    // Not `eprintln!`, which panics if the descriptor is closed.
    let _ = writeln!(stderr(), "{line}");
}
