//! Waiting for what comes true in its time, without a sleep: polling with a deadline, and a message that tells what was
//! seen until then.

use std::{
    collections::VecDeque,
    fmt::{self, Display},
    future::Future,
    panic::Location,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

/// The pause after the first attempt; it doubles from attempt to attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long after the end an attempt of [`consistently`] may still answer.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Different answers that are kept besides the last one.
const KEPT_ANSWERS: usize = 8;
/// What is kept of an answer, in characters.
const ANSWER_LENGTH: usize = 1000;

/// Polls until the attempt gives what is waited for, and gives that. Pauses grow from 1 ms to 50 ms.
///
/// An attempt gives a `Result`, an `Option` or a `bool` (see [`Answer`]). It is made at least once, and has the time that is
/// left: one that hangs is cut off and reported. An attempt that blocks its thread can't be cut off.
///
/// The attempt's future may borrow from around it, and not change it, so that the wait can be spawned: change things before the `async`.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_harness::eventually;
///
/// # #[tokio::main]
/// # async fn main() {
/// let mut orders = vec!["placed", "packed", "fulfilled"].into_iter();
/// let order = eventually("the order is fulfilled", Duration::from_secs(5), || {
///     let status = orders.next();
///     async move { status.filter(|it| *it == "fulfilled").ok_or(format!("it is {status:?}")) }
/// })
/// .await;
/// assert_eq!(order, "fulfilled");
/// # }
/// ```
///
/// # Panics
///
/// When the time is over. The message says what was waited for and where, how long, in how many attempts, and what they saw.
#[track_caller]
pub fn eventually<A: Answer, F: Future<Output = A>>(
    what: impl Into<String>,
    within: Duration,
    attempt: impl FnMut() -> F,
) -> impl Future<Output = A::Value> {
    let waiting = wait_until(what, within, attempt);
    async move { waiting.await.unwrap_or_else(|missed| panic!("{missed}")) }
}

/// What [`eventually`] does, with an error instead of a panic.
///
/// # Errors
///
/// [`NotInTime`] when the time is over.
#[track_caller]
pub fn wait_until<A: Answer, F: Future<Output = A>>(
    what: impl Into<String>,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> impl Future<Output = Result<A::Value, NotInTime>> {
    let mut waiting = Waiting::begin(what, within, Location::caller());
    async move {
        loop {
            let left = waiting.left();
            let refused = match timeout(left, attempt()).await {
                Ok(answer) => match answer.judge() {
                    Ok(value) => return Ok(value),
                    Err(refused) => refused,
                },
                Err(_) => return Err(waiting.over(Some(left))),
            };
            waiting.saw(&refused);
            let left = waiting.left();
            if left.is_zero() {
                return Err(waiting.over(None));
            }
            sleep(waiting.pause().min(left)).await;
        }
    }
}

/// Polls for the whole time, and gives the last answer if every attempt said yes. An attempt that began in time may answer up to 5 s
/// after the end.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_harness::consistently;
///
/// # #[tokio::main]
/// # async fn main() {
/// let jobs: Vec<u32> = Vec::new();
/// consistently("no job is enqueued twice", Duration::from_millis(50), || async { jobs.is_empty() }).await;
/// # }
/// ```
///
/// # Panics
///
/// As soon as an attempt says no, or does not answer.
#[track_caller]
pub fn consistently<A: Answer, F: Future<Output = A>>(
    what: impl Into<String>,
    throughout: Duration,
    mut attempt: impl FnMut() -> F,
) -> impl Future<Output = A::Value> {
    let mut waiting = Waiting::begin(what, throughout, Location::caller());
    async move {
        loop {
            let allowed = waiting.left() + LAST_ANSWER;
            let value = match timeout(allowed, attempt()).await {
                Ok(answer) => answer.judge().unwrap_or_else(|refused| panic!("{}", waiting.broken(&refused))),
                Err(_) => panic!("{}", waiting.broken(&format!("no answer in {}", Shown(allowed)))),
            };
            waiting.attempts += 1;
            let left = waiting.left();
            if left.is_zero() {
                return value;
            }
            sleep(waiting.pause().min(left)).await;
        }
    }
}

/// What an attempt of [`eventually`] gives: yes with a value, or no with what was seen instead.
///
/// `Ok`, `Some` and `true` say yes. Mind nested answers: `Ok(false)` and `Ok(None)` say yes too, since `Ok` is looked at alone.
pub trait Answer {
    /// What yes comes with.
    type Value;

    /// The value, or what was seen instead, as a text.
    ///
    /// # Errors
    ///
    /// When the answer is no.
    fn judge(self) -> Result<Self::Value, String>;
}

impl<T, E: Display> Answer for Result<T, E> {
    type Value = T;

    fn judge(self) -> Result<T, String> {
        // With its causes where the type writes them so, as anyhow does.
        self.map_err(|error| format!("{error:#}"))
    }
}

impl<T> Answer for Option<T> {
    type Value = T;

    fn judge(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl Answer for bool {
    type Value = ();

    fn judge(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

/// What was waited for did not come in its time.
#[derive(Debug, Clone)]
pub struct NotInTime {
    what: String,
    at: &'static Location<'static>,
    within: Duration,
    waited: Duration,
    attempts: u64,
    /// The time that an attempt had when it was cut off.
    cut_off: Option<Duration>,
    seen: Seen,
}

impl NotInTime {
    /// What was waited for.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How long it was waited for.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// What the last attempt that answered saw; `None` when none did.
    pub fn last_seen(&self) -> Option<&str> {
        self.seen.answers.back().map(|run| run.answer.as_str())
    }

    /// The time that the last attempt had without giving an answer; `None` when it gave one.
    pub fn cut_off(&self) -> Option<Duration> {
        self.cut_off
    }
}

impl std::error::Error for NotInTime {}

impl Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotInTime { what, at, within, waited, attempts, .. } = self;
        writeln!(f, "not within {}: {what}", Shown(*within))?;
        write!(f, "  waited at {at}: {} in {}", counted(*attempts, "attempt"), Shown(*waited))?;
        if let Some(time) = self.cut_off {
            write!(f, "\n  the last attempt hung: no answer in the {} that were left", Shown(time))?;
        }
        let mut answers = self.seen.answers.iter().rev();
        if let Some(last) = answers.next() {
            write!(f, "\n  last seen: {}", last.answer)?;
        }
        for run in answers {
            write!(f, "\n  before that, {}: {}", counted(run.times, "time"), run.answer)?;
        }
        match self.seen.forgotten {
            0 => Ok(()),
            forgotten => write!(f, "\n  before that, {}", counted(forgotten, "other answer")),
        }
    }
}

/// A wait that is under way.
struct Waiting {
    what: String,
    at: &'static Location<'static>,
    within: Duration,
    /// From the first poll on: a future may lie about before.
    began: Option<Instant>,
    next_pause: Duration,
    attempts: u64,
    seen: Seen,
}

impl Waiting {
    fn begin(what: impl Into<String>, within: Duration, at: &'static Location<'static>) -> Self {
        let (began, seen) = (None, Seen::default());
        Waiting { what: what.into(), at, within, began, next_pause: FIRST_PAUSE, attempts: 0, seen }
    }

    fn left(&mut self) -> Duration {
        self.within.saturating_sub(self.began.get_or_insert_with(Instant::now).elapsed())
    }

    fn lasted(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    fn pause(&mut self) -> Duration {
        let pause = self.next_pause;
        self.next_pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    fn saw(&mut self, answer: &str) {
        self.attempts += 1;
        self.seen.push(answer);
    }

    fn over(&mut self, cut_off: Option<Duration>) -> NotInTime {
        NotInTime {
            what: std::mem::take(&mut self.what),
            at: self.at,
            within: self.within,
            waited: self.lasted(),
            attempts: self.attempts + u64::from(cut_off.is_some()),
            cut_off,
            seen: std::mem::take(&mut self.seen),
        }
    }

    fn broken(&self, refused: &str) -> String {
        format!(
            "did not hold for {}: {}\n  watched at {}; it held {}, until {} after the start\n  seen then: {}",
            Shown(self.within),
            self.what,
            self.at,
            counted(self.attempts, "time"),
            Shown(self.lasted()),
            shortened(refused),
        )
    }
}

/// The answers so far, the same ones in a row as one.
#[derive(Debug, Clone, Default)]
struct Seen {
    answers: VecDeque<Run>,
    forgotten: u64,
}

#[derive(Debug, Clone)]
struct Run {
    answer: String,
    times: u64,
}

impl Seen {
    fn push(&mut self, answer: &str) {
        let answer = shortened(answer);
        match self.answers.back_mut() {
            Some(last) if last.answer == answer => last.times += 1,
            _ => self.answers.push_back(Run { answer, times: 1 }),
        }
        if self.answers.len() > KEPT_ANSWERS + 1 {
            self.answers.pop_front();
            self.forgotten += 1;
        }
    }
}

fn shortened(answer: &str) -> String {
    match answer.char_indices().nth(ANSWER_LENGTH) {
        Some((end, _)) => format!("{}…", &answer[..end]),
        None => answer.to_owned(),
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A time in three digits or so: nobody asks for the nanoseconds of a wait.
struct Shown(Duration);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0..1000 => write!(f, "{} ms", self.0.as_millis()),
            _ => write!(f, "{} s", (self.0.as_secs_f64() * 10.0).round() / 10.0),
        }
    }
}
