//! `watch`: a look, again and again.

mod frame;
mod lines;
mod look;
mod screen;

use std::{
    future::pending,
    io::{self, IsTerminal},
    time::Duration,
};

use clap::Args;
use seaworthy_queue::Queue;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{Exit, Problem, print::print};
use lines::Lines;
use look::Look;
use screen::Screen;

/// Look again and again: queues, workers, and what failed. On a terminal the picture changes in place, and `q` or Ctrl-C ends it; elsewhere there are lines.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// How often to look, at least every 100ms apart.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = pause)]
    every: Duration,
    /// End after this time.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,
    /// A line of JSON for each look.
    #[arg(long)]
    json: bool,
}

fn pause(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    let pause = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if pause < LEAST { Err("less than 100ms would be a load".to_owned()) } else { Ok(pause) }
}

/// What a look is shown on.
enum View {
    Screen(Screen),
    Lines(Lines),
    Json,
}

/// What happened instead of another look.
enum Event {
    Resized,
    Over(Exit),
}

impl Watch {
    pub(crate) async fn execute(self, queue: &Queue, database: &str) -> Result<Exit, Problem> {
        let end = self.length.and_then(|length| Instant::now().checked_add(length));
        let mut events = Events::new(end)?;
        // What can't be seen at all is said on the terminal that stays.
        let first = tokio::select! {
            look = Look::take(queue, self.every) => look?,
            exit = events.over() => return Ok(exit),
        };
        let mut view = match (self.json, io::stdout().is_terminal()) {
            (true, _) => View::Json,
            (false, false) => View::Lines(Lines::default()),
            (false, true) => {
                let screen = Screen::enter()
                    .map_err(|error| Problem::unreachable(format!("the terminal can't be used: {error}")))?;
                events.listen_to_keys();
                View::Screen(screen)
            }
        };
        let (mut last, mut problem, mut at) = (first, None, Instant::now());
        loop {
            if problem.is_none() {
                view.show(&last, database)?;
            }
            // A look that took long is not made up for.
            let next = (at + self.every).max(Instant::now());
            loop {
                let event = tokio::select! {
                    () = sleep_until(next) => break,
                    event = events.next() => event,
                };
                match event {
                    Event::Resized => view.redraw(&last, database, problem.as_ref())?,
                    Event::Over(Exit::Done) => return problem.map_or(Ok(Exit::Done), Err),
                    Event::Over(exit) => return Ok(exit),
                }
            }
            let since = at;
            at = Instant::now();
            let look = tokio::select! {
                look = Look::take(queue, at - since) => look,
                exit = events.over() => return Ok(exit),
            };
            match look {
                Ok(look) => (last, problem) = (look, None),
                Err(failed) => {
                    view.say(&last, database, &failed, problem.as_ref())?;
                    problem = Some(failed);
                }
            }
        }
    }
}

impl View {
    fn show(&mut self, look: &Look, database: &str) -> Result<(), Problem> {
        match self {
            View::Screen(_) => self.redraw(look, database, None),
            View::Lines(lines) => print(&lines.of(look)).map(drop),
            View::Json => print(&format!("{}\n", look.to_json())).map(drop),
        }
    }

    /// Draws the look again, where there is a screen.
    fn redraw(&mut self, look: &Look, database: &str, problem: Option<&Problem>) -> Result<(), Problem> {
        let View::Screen(screen) = self else { return Ok(()) };
        let (width, height) = screen.size();
        let problem = problem.map(|problem| problem.text.as_str());
        screen
            .draw(&frame::draw(look, database, problem, width, height))
            .map_err(|error| Problem::unreachable(format!("the terminal is gone: {error}")))
    }

    /// Says that there is nothing new to be seen, once where lines stay.
    fn say(
        &mut self,
        look: &Look,
        database: &str,
        problem: &Problem,
        before: Option<&Problem>,
    ) -> Result<(), Problem> {
        if let View::Screen(_) = self {
            return self.redraw(look, database, Some(problem));
        }
        if before != Some(problem) {
            problem.tell();
        }
        Ok(())
    }
}

/// What ends or disturbs the watch.
struct Events {
    end: Option<Instant>,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
    resize: Signal,
    keys: Option<mpsc::Receiver<()>>,
}

impl Events {
    fn new(end: Option<Instant>) -> Result<Self, Problem> {
        let on = |kind| {
            signal(kind).map_err(|error| Problem::unreachable(format!("signals can't be heard: {error}")))
        };
        Ok(Events {
            end,
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hang_up: on(SignalKind::hangup())?,
            quit: on(SignalKind::quit())?,
            resize: on(SignalKind::window_change())?,
            keys: None,
        })
    }

    fn listen_to_keys(&mut self) {
        self.keys = screen::listen_for_q();
    }

    async fn next(&mut self) -> Event {
        let Events { end, interrupt, terminate, hang_up, quit, resize, keys } = self;
        let over = async {
            match *end {
                Some(end) => sleep_until(end).await,
                None => pending().await,
            }
        };
        let key = async {
            // The end of the input is no wish to end.
            match keys {
                Some(keys) => match keys.recv().await {
                    Some(()) => {}
                    None => pending().await,
                },
                None => pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => Event::Over(Exit::Interrupted),
            _ = terminate.recv() => Event::Over(Exit::Interrupted),
            _ = hang_up.recv() => Event::Over(Exit::Interrupted),
            _ = quit.recv() => Event::Over(Exit::Interrupted),
            _ = resize.recv() => Event::Resized,
            () = key => Event::Over(Exit::Done),
            () = over => Event::Over(Exit::Done),
        }
    }

    /// Waits for the end only.
    async fn over(&mut self) -> Exit {
        loop {
            if let Event::Over(exit) = self.next().await {
                return exit;
            }
        }
    }
}
