//! Work that has to be done in an order.

use crate::{Error, NewJob};

/// Jobs of which some wait until others are completed.
///
/// A job whose parents were given up waits until they are replayed. What waits for a job that is cancelled or that expires is cancelled.
///
/// ```
/// use seaworthy_queue::{Flow, NewJob};
///
/// let mut flow = Flow::new();
/// let fetch = flow.add(NewJob::new("fetch", &"list.csv")?);
/// let users = flow.add(NewJob::new("import", &"users")?);
/// let orders = flow.add(NewJob::new("import", &"orders")?);
/// let report = flow.add(NewJob::new("report", &())?);
/// flow.after(fetch, users).after(fetch, orders).after(users, report).after(orders, report);
/// # Ok::<(), seaworthy_queue::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Flow {
    pub(crate) jobs: Vec<NewJob>,
    /// Parent and child.
    edges: Vec<(usize, usize)>,
}

/// A job of a [`Flow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step(usize);

impl Flow {
    /// Without jobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Jobs of which each waits for the one before it.
    pub fn chain(jobs: impl IntoIterator<Item = NewJob>) -> Self {
        let jobs: Vec<NewJob> = jobs.into_iter().collect();
        let edges = (1..jobs.len()).map(|child| (child - 1, child)).collect();
        Flow { jobs, edges }
    }

    /// Adds a job that waits for nothing yet.
    pub fn add(&mut self, job: NewJob) -> Step {
        self.jobs.push(job);
        Step(self.jobs.len() - 1)
    }

    /// Lets `child` wait until `parent` is completed.
    ///
    /// # Panics
    ///
    /// When one of them is a step of another flow, with more jobs than this one.
    pub fn after(&mut self, parent: Step, child: Step) -> &mut Self {
        assert!(parent.0.max(child.0) < self.jobs.len(), "a step of another flow");
        self.edges.push((parent.0, child.0));
        self
    }

    /// Whether it can be enqueued; [`Queue::enqueue_flow`](crate::Queue::enqueue_flow) looks itself, before it writes anything.
    ///
    /// # Errors
    ///
    /// [`Error::Cycle`] when jobs wait for each other; [`Error::UniqueInFlow`]; [`Error::Together`] when one of them is debounced.
    pub fn check(&self) -> Result<(), Error> {
        self.edges().map(drop)
    }

    /// Who waits for whom, each pair once.
    pub(crate) fn edges(&self) -> Result<Vec<(usize, usize)>, Error> {
        if let Some(job) = self.jobs.iter().find(|job| job.unique.is_some()) {
            return Err(Error::UniqueInFlow { kind: job.kind.clone() });
        }
        self.jobs.iter().try_for_each(|job| job.check_alone("a part of a flow"))?;
        let mut edges = self.edges.clone();
        edges.sort_unstable();
        edges.dedup();
        let mut waits = vec![0_usize; self.jobs.len()];
        edges.iter().for_each(|(_, child)| waits[*child] += 1);
        let mut free: Vec<usize> = (0..self.jobs.len()).filter(|job| waits[*job] == 0).collect();
        let mut done = 0;
        while let Some(parent) = free.pop() {
            done += 1;
            let from = edges.partition_point(|(other, _)| *other < parent);
            for (_, child) in edges[from..].iter().take_while(|(other, _)| *other == parent) {
                waits[*child] -= 1;
                if waits[*child] == 0 {
                    free.push(*child);
                }
            }
        }
        if done == self.jobs.len() {
            return Ok(edges);
        }
        let waiting = (0..self.jobs.len()).filter(|job| waits[*job] > 0);
        Err(Error::Cycle { kinds: waiting.map(|job| self.jobs[job].kind.clone()).collect() })
    }
}
