//! Breadth-first search through every reachable world, then backwards from the whole ones. Worlds that differ in which node
//! is which are one, and known by their fingerprints.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::step::Step;
use crate::world::{Instance, Property, World};

/// What a search found.
pub struct Explored {
    /// Distinct worlds.
    pub states: usize,
    /// The shortest history that breaks the property that was asked for (or any, if none was).
    pub found: Option<(Property, Vec<Step>)>,
}

/// Looks at every world of the instance. With `only`, other properties may break unnoticed.
pub fn explore(instance: &Instance, only: Option<Property>) -> Explored {
    let mut search = Search::default();
    let begin = World::begin(instance);
    search.enter(begin, (0, Step::Begin));
    let mut steps = Vec::new();
    let mut at = 0;
    while at < search.worlds.len() {
        let world = &search.worlds[at];
        if let Some(property) = world.breaks(instance)
            && only.is_none_or(|only| only == property)
        {
            return Explored { states: search.worlds.len(), found: Some((property, search.history(at))) };
        }
        world.steps(instance, &mut steps);
        for (step, next) in steps.drain(..) {
            let to = search.enter(next, (at as u32, step));
            if step.heals(instance) && to != at as u32 {
                search.healing.push((to, at as u32));
            }
        }
        at += 1;
    }
    let stranded = match only {
        None | Some(Property::AlwaysHeals) => search.first_that_cannot_heal(instance),
        Some(_) => None,
    };
    let found = stranded.map(|at| (Property::AlwaysHeals, search.history(at)));
    Explored { states: search.worlds.len(), found }
}

#[derive(Default)]
struct Search {
    worlds: Vec<World>,
    /// The place among them of each fingerprint.
    places: HashMap<u64, u32, ahash::RandomState>,
    state: ahash::RandomState,
    /// From which world, and by which step, each was first reached.
    reached: Vec<(u32, Step)>,
    /// Healing steps, as (to, from).
    healing: Vec<(u32, u32)>,
}

impl Search {
    fn enter(&mut self, world: World, reached: (u32, Step)) -> u32 {
        match self.places.entry(world.fingerprint(&self.state)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let place = self.worlds.len() as u32;
                new.insert(place);
                self.worlds.push(world);
                self.reached.push(reached);
                place
            }
        }
    }

    fn history(&self, mut at: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while at != 0 {
            let (from, step) = self.reached[at];
            steps.push(step);
            at = from as usize;
        }
        steps.reverse();
        steps
    }

    /// The first world from which no sequence of healing steps leads to a whole one.
    fn first_that_cannot_heal(&mut self, instance: &Instance) -> Option<usize> {
        self.healing.sort_unstable();
        let mut heals: Vec<bool> = self.worlds.iter().map(|world| world.whole(instance)).collect();
        let mut waiting: Vec<u32> = (0..heals.len() as u32).filter(|&at| heals[at as usize]).collect();
        while let Some(to) = waiting.pop() {
            let first = self.healing.partition_point(|&(place, _)| place < to);
            for &(_, from) in self.healing[first..].iter().take_while(|&&(place, _)| place == to) {
                if !std::mem::replace(&mut heals[from as usize], true) {
                    waiting.push(from);
                }
            }
        }
        heals.iter().position(|&heals| !heals)
    }
}
