//! Where the processor time of this process goes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use pprof::{ProfilerGuard, ProfilerGuardBuilder, Report};

use super::{ProfileError, bounded, flame_graph, protobuf};

/// Samples a second unless another number is asked for: not in step with what happens every 10 ms.
pub const DEFAULT_FREQUENCY: u32 = 99;

/// Where a sampled thread must not be unwound: it may hold what unwinding needs.
const NOT_UNWOUND: &[&str] = &["libc", "libgcc", "pthread", "vdso", "ld-linux"];

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes a CPU profile of this process: samples of what its threads run, so many a second of processor time. What waits is not seen.
///
/// Dropping the future ends the profile early.
///
/// # Errors
///
/// When another profile is being taken, when `time` is not 1 to 60 seconds or `frequency` not 1 to 1,000, or when the profiler
/// fails.
pub async fn cpu(time: Duration, frequency: u32) -> Result<CpuProfile, ProfileError> {
    let time = bounded(time)?;
    if !(1..=1000).contains(&frequency) {
        return Err(ProfileError::Frequency(frequency));
    }
    let turn = Turn::take()?;
    let began = SystemTime::now();
    // Starting and reading look up debug information, which takes its time.
    let (profiler, turn) = blocking(move || start(frequency).map(|profiler| (profiler, turn))).await?;
    tokio::time::sleep(time).await;
    blocking(move || {
        let report = profiler.report().build()?;
        drop(profiler);
        drop(turn);
        Ok(CpuProfile::new(&report, began, time, frequency))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProfileError> + Send + 'static,
) -> Result<T, ProfileError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ProfileError::Rendering(std::io::Error::other(error))),
    }
}

fn start(frequency: u32) -> Result<ProfilerGuard<'static>, ProfileError> {
    let builder = ProfilerGuardBuilder::default().frequency(frequency.cast_signed());
    match builder.blocklist(NOT_UNWOUND).build() {
        Ok(profiler) => Ok(profiler),
        // Something else in the process uses the profiler.
        Err(pprof::Error::Running) => Err(ProfileError::Busy),
        Err(error) => Err(error.into()),
    }
}

/// The right to take the one profile.
struct Turn;

impl Turn {
    fn take() -> Result<Self, ProfileError> {
        if TAKEN.swap(true, Ordering::AcqRel) { Err(ProfileError::Busy) } else { Ok(Turn) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// A function on a stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// A stack that was seen, the outermost function first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stack {
    pub(super) thread: String,
    pub(super) frames: Vec<Frame>,
}

/// What a CPU profile has seen.
#[derive(Debug, Clone)]
pub struct CpuProfile {
    pub(super) stacks: BTreeMap<Stack, u64>,
    pub(super) began: SystemTime,
    pub(super) time: Duration,
    pub(super) frequency: u32,
}

impl CpuProfile {
    fn new(report: &Report, began: SystemTime, time: Duration, frequency: u32) -> Self {
        let mut stacks = BTreeMap::new();
        for (sample, count) in &report.data {
            let frames = sample.frames.iter().rev().flat_map(|frame| frame.iter().rev());
            let frames = frames.map(|symbol| Frame {
                function: symbol.name(),
                file: symbol.filename().into_owned(),
                line: symbol.lineno(),
            });
            let stack = Stack { thread: sample.thread_name_or_id(), frames: frames.collect() };
            *stacks.entry(stack).or_default() += count.unsigned_abs() as u64;
        }
        CpuProfile { stacks, began, time, frequency }
    }

    /// How many samples there are; none where the process did nothing.
    pub fn samples(&self) -> u64 {
        self.stacks.values().sum()
    }

    /// One line for each stack, `thread;outermost;…;innermost count`: what flame graph tools read.
    pub fn folded(&self) -> String {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for (stack, count) in &self.stacks {
            let mut line = separated(&stack.thread);
            for frame in &stack.frames {
                line.push(';');
                line.push_str(&separated(&frame.function));
            }
            *lines.entry(line).or_default() += count;
        }
        let mut text = String::new();
        for (line, count) in lines {
            // Writing to a string can't fail.
            _ = writeln!(text, "{line} {count}");
        }
        text
    }

    /// A flame graph, as an SVG that a browser shows.
    pub fn flame_graph(&self) -> String {
        flame_graph::draw(self)
    }

    /// The format of `pprof` and its viewers (profile.proto, compressed with gzip).
    ///
    /// # Errors
    ///
    /// When it can't be compressed.
    pub fn pprof(&self) -> Result<Vec<u8>, ProfileError> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&protobuf::encode(self))?;
        Ok(gzip.finish()?)
    }
}

/// Without what separates functions and lines.
fn separated(name: &str) -> String {
    name.chars().map(|letter| if letter == ';' || letter.is_control() { ' ' } else { letter }).collect()
}
