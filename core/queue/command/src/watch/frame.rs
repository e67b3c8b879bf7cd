//! The picture on a terminal.

use crate::{
    table::{
        Column::{Name, Number, Rest, Word},
        table,
    },
    watch::look::{FailureNow, Look, QueueNow, WorkerNow},
    words::{age, count, many, rate},
    workers::jobs,
};

/// Lines of the head and between the parts.
const BETWEEN: usize = 4;

/// The lines of a look, as many and as wide as fit. A problem is said where it can't be overlooked.
pub(crate) fn draw(
    look: &Look,
    database: &str,
    problem: Option<&str>,
    width: u16,
    height: u16,
) -> Vec<String> {
    let fit = |text: String| text.chars().take(usize::from(width)).collect::<String>();
    let time = humantime::format_rfc3339_seconds(look.at);
    let mut lines = vec![fit(format!("{database}  {time}  q ends"))];
    lines.push(problem.map_or_else(String::new, |problem| fit(format!("no news: {problem}"))));

    // Each part has what the others leave, and something at least: a title and a row.
    let room = usize::from(height).saturating_sub(BETWEEN);
    let failures = look.failures.len().min(5) + 1;
    let workers = (look.workers.len() + 1).min((room / 3).max(2));
    let queues = room.saturating_sub(workers + failures).max(2);
    lines.extend(part(queues_table(look, width), queues, "queue"));
    lines.push(String::new());
    let left = room.saturating_sub((look.queues.len() + 1).min(queues) + failures).max(2);
    lines.extend(part(workers_table(&look.workers, width), left, "worker"));
    lines.push(String::new());
    let left = usize::from(height).saturating_sub(lines.len());
    lines.extend(failures_table(look, width).lines().take(left).map(str::to_owned));
    lines.truncate(usize::from(height));
    lines
}

/// So many lines of a table; the last one says what is left out.
fn part(table: String, most: usize, what: &str) -> Vec<String> {
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    if lines.len() > most {
        let out = lines.len() - (most - 1);
        lines.truncate(most - 1);
        lines.push(format!("… and {}", many(out as u64, &format!("more {what}"))));
    }
    lines
}

fn queues_table(look: &Look, width: u16) -> String {
    let columns = [
        Name("queue"),
        Number("ready"),
        Number("sched"),
        Number("limit"),
        Number("leased"),
        Number("dead"),
        Number("done/s"),
        Number("fail/s"),
        Number("oldest"),
        Number("workers"),
    ];
    let more = if look.more_leased { "+" } else { "" };
    let row = |one: &QueueNow| {
        [
            // The width is known: a word of its own would take a column.
            if one.is_paused { format!("‖ {}", one.name) } else { one.name.clone() },
            count(one.ready),
            count(one.scheduled),
            count(one.limited),
            format!("{}{more}", one.leased),
            count(one.dead),
            rate(one.done_per_second),
            rate(one.failed_per_second),
            one.oldest.map_or_else(String::new, age),
            one.workers.to_string(),
        ]
    };
    if look.queues.is_empty() {
        return "no queue: nothing waits, and no worker is there".to_owned();
    }
    table(width, columns, look.queues.iter().map(row))
}

fn workers_table(workers: &[WorkerNow], width: u16) -> String {
    if workers.is_empty() {
        return "no worker".to_owned();
    }
    let columns = [
        Word("worker"),
        Name("host"),
        Number("process"),
        Number("jobs"),
        Number("heartbeat"),
        Word(""),
        Rest("queues"),
    ];
    let row = |one: &WorkerNow| {
        [
            one.name.clone(),
            one.host.clone(),
            one.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            jobs(one.jobs, one.concurrency),
            format!("{} ago", age(one.silent_for)),
            one.mark.to_owned(),
            one.queues.clone(),
        ]
    };
    table(width, columns, workers.iter().map(row))
}

fn failures_table(look: &Look, width: u16) -> String {
    if look.failures.is_empty() {
        return "no failure lately".to_owned();
    }
    let columns = [Number("failed"), Number("job"), Name("queue"), Name("kind"), Word("then"), Rest("error")];
    let row = |one: &FailureNow| {
        let ago = look.at.duration_since(one.at).unwrap_or_default();
        [
            format!("{} ago", age(ago)),
            one.job.to_string(),
            one.queue.clone(),
            one.kind.clone(),
            one.outcome.clone(),
            one.why.clone(),
        ]
    };
    table(width, columns, look.failures.iter().map(row))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn look(queues: u64, workers: u32, failures: i64) -> Look {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let queue = |number: u64| QueueNow {
            name: format!("queue-{number}"),
            is_paused: number == 1,
            ready: number * 4_000,
            scheduled: 7,
            limited: 3,
            leased: 16,
            dead: number,
            done_per_second: 123.4 * number as f64,
            failed_per_second: 0.25,
            oldest: Some(Duration::from_secs(number * 100)),
            workers: 2,
        };
        let worker = |number: u32| WorkerNow {
            name: format!("{:08x}", number * 0x0101_0101),
            host: "a-machine-with-a-long-name".to_owned(),
            pid: Some(4_000 + number),
            jobs: 16,
            concurrency: Some(16),
            queues: "default, mail, reports".to_owned(),
            silent_for: Duration::from_secs(u64::from(number) * 9),
            mark: ["leads", "", "lost"][number as usize % 3],
        };
        let failure = |number: i64| FailureNow {
            job: 1_000 - number,
            queue: "mail".to_owned(),
            kind: "welcome".to_owned(),
            outcome: "retried".to_owned(),
            at: at - Duration::from_secs(number.unsigned_abs()),
            why: "no such host: the name `mail.example.com` has no address".to_owned(),
        };
        Look {
            at,
            queues: (0..queues).map(queue).collect(),
            workers: (0..workers).map(worker).collect(),
            failures: (0..failures).map(failure).collect(),
            more_leased: false,
        }
    }

    #[test]
    fn a_picture_shows_queues_workers_and_failures() {
        let lines = draw(&look(4, 3, 20), "db:5432/shop", None, 80, 24);
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_picture_of_nothing_says_so_and_a_problem_is_seen() {
        let lines = draw(&look(0, 0, 0), "db:5432/shop", Some("the connection was refused"), 80, 24);
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_picture_fits_whatever_is_to_be_seen() {
        for (queues, workers, failures) in [(0, 0, 0), (1, 1, 1), (40, 1, 20), (1, 40, 20), (40, 40, 20)] {
            for (width, height) in [(80, 24), (80, 10), (100, 60), (200, 5), (80, 1)] {
                let lines =
                    draw(&look(queues, workers, failures), "db:5432/shop", Some("away"), width, height);
                let told = lines.join("\n");
                assert!(lines.len() <= usize::from(height), "{width}x{height}:\n{told}");
                let widest = lines.iter().map(|line| line.chars().count()).max();
                assert!(widest <= Some(usize::from(width)), "{width}x{height}:\n{told}");
            }
        }
        let told = draw(&look(40, 40, 20), "db:5432/shop", None, 80, 24).join("\n");
        for part in ["queue-0", "more queues", "01010101", "more workers", "no such host"] {
            assert!(told.contains(part), "no {part}:\n{told}");
        }
    }
}
