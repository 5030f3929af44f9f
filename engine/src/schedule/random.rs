//! Who goes on: choices that follow from a seed alone.

use std::collections::HashMap;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}

/// How one schedule is chosen. Rare changes find what needs one task to come far while another stands
/// still, frequent ones what needs many of them to meet.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Another task, or the same one, after one step in so many.
    Change { one_in: u64 },
    /// Each task has a rank and the highest that can goes on; after one step in so many it comes to be the
    /// lowest (Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs",
    /// 2010, with changes at a rate, because the length is not known before).
    Ranks { one_in: u64 },
}

const WAYS: [Way; 8] = [
    Way::Change { one_in: 1 },
    Way::Change { one_in: 4 },
    Way::Change { one_in: 16 },
    Way::Change { one_in: 64 },
    Way::Ranks { one_in: 32 },
    Way::Ranks { one_in: 128 },
    Way::Ranks { one_in: 512 },
    Way::Ranks { one_in: 2048 },
];

/// The choices of one schedule.
#[derive(Debug)]
pub(super) struct Choices {
    way: Way,
    random: Random,
    /// Ranks of tasks that were seen; lower numbers go first.
    ranks: HashMap<usize, u64>,
    lowest: u64,
    pub steps: u64,
    /// Of all choices so far, so that two schedules can be compared.
    pub trace: u64,
}

/// Above all ranks that tasks begin with.
const LOWERED: u64 = 1 << 32;

impl Choices {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let way = WAYS[random.below(WAYS.len())];
        Choices { way, random, ranks: HashMap::new(), lowest: LOWERED, steps: 0, trace: 0 }
    }

    /// Which of the tasks that can goes on. `is_idle`: the one that ran has nothing to do but wait.
    fn choose(&mut self, tasks: &[usize], current: Option<usize>, is_idle: bool) -> usize {
        let current = current.filter(|current| tasks.contains(current));
        match self.way {
            _ if tasks.len() == 1 => tasks[0],
            Way::Change { one_in } => match current {
                Some(current) if !is_idle && !self.random.is_one_in(one_in) => current,
                Some(current) if is_idle => {
                    let others: Vec<usize> = tasks.iter().copied().filter(|task| *task != current).collect();
                    others[self.random.below(others.len())]
                }
                _ => tasks[self.random.below(tasks.len())],
            },
            Way::Ranks { one_in } => {
                if let Some(current) = current
                    && (is_idle || self.random.is_one_in(one_in))
                {
                    self.lowest += 1;
                    self.ranks.insert(current, self.lowest);
                }
                let (random, ranks) = (&mut self.random, &mut self.ranks);
                let rank = |task: &usize| *ranks.entry(*task).or_insert_with(|| random.next() % LOWERED);
                tasks.iter().copied().min_by_key(rank).expect("there is a task")
            }
        }
    }

    fn note(&mut self, task: usize) {
        self.steps += 1;
        self.trace = Random::new(self.trace ^ task as u64).next();
    }
}

/// Gives schedule after schedule as `next` says; `done` gets what each came to.
pub(super) struct Seeded<N> {
    choices: Option<Choices>,
    next: N,
    tasks: Vec<usize>,
}

impl<N: FnMut(Option<Choices>) -> Option<u64>> Seeded<N> {
    /// `next` gets the schedule that is over, if any, and gives the seed of the next one.
    pub fn new(next: N) -> Self {
        Seeded { choices: None, next, tasks: Vec::new() }
    }
}

impl<N: FnMut(Option<Choices>) -> Option<u64>> Scheduler for Seeded<N> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let seed = (self.next)(self.choices.take())?;
        self.choices = Some(Choices::new(seed));
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let choices = self.choices.as_mut()?;
        self.tasks.clear();
        self.tasks.extend(runnable.iter().map(|task| usize::from(task.id())));
        let chosen = choices.choose(&self.tasks, current.map(usize::from), is_yielding);
        choices.note(chosen);
        Some(TaskId::from(chosen))
    }

    fn next_u64(&mut self) -> u64 {
        self.choices.as_mut().map_or(0, |choices| choices.random.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(seed: u64) -> Vec<usize> {
        let mut choices = Choices::new(seed);
        let mut current = None;
        (0..200)
            .map(|step| {
                let chosen = choices.choose(&[1, 3, 4], current, step % 7 == 0);
                current = Some(chosen);
                chosen
            })
            .collect()
    }

    #[test]
    fn choices_of_schedules_follow_from_their_seed() {
        for seed in 0..50 {
            assert_eq!(trace(seed), trace(seed));
            let all = trace(seed);
            assert!([1, 3, 4].iter().all(|task| all.contains(task)), "nobody is left out by {seed}: {all:?}");
        }
    }
}
