//! Experiments of the Chaos Toolkit, out of schedules and into them.
//!
//! Faults of the network are actions of its extension for Toxiproxy, whose API our fault proxy speaks; those of processes are commands of Docker, with the target as
//! the container's name. Times are the pauses between the actions.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{Event, Schedule};
use crate::{Error, Fault};

/// A schedule that was read from an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The schedule.
    pub schedule: Schedule,
    /// What the experiment has beside its faults and we don't do: its probes, for one.
    pub notes: Vec<String>,
}

impl Schedule {
    /// This schedule as an experiment of the Chaos Toolkit (JSON), against the Toxiproxy server at this URL.
    ///
    /// # Errors
    ///
    /// [`Error::Schedule`] for a fault that has no counterpart there: a full disk.
    pub fn to_chaos_toolkit(&self, title: &str, toxiproxy_url: &str) -> Result<String, Error> {
        let mut steps: Vec<(Duration, bool, usize)> = Vec::new();
        for (number, event) in self.events.iter().enumerate() {
            steps.push((event.at, true, number));
            steps.push((event.at + event.lasts, false, number));
        }
        // What ends comes before what begins at the same time, but not before its own beginning.
        steps.sort_by_key(|(at, begins, number)| {
            (*at, *begins && !self.events[*number].lasts.is_zero(), *number)
        });
        let (mut method, mut rollbacks, mut now) = (Vec::new(), Vec::new(), Duration::ZERO);
        for (at, begins, number) in steps {
            let mut action = action(&self.events[number], number, begins)?;
            if at > now {
                action["pauses"] = json!({ "before": (at - now).as_secs_f64() });
            }
            now = at;
            method.push(action);
        }
        for (number, event) in self.events.iter().enumerate() {
            rollbacks.push(action(event, number, false)?);
        }
        let experiment = json!({
            "version": "1.0.0",
            "title": title,
            "description": format!("{} faults in {:.1} s", self.events.len(), self.end().as_secs_f64()),
            "configuration": { "toxiproxy_url": toxiproxy_url },
            "method": method,
            "rollbacks": rollbacks,
        });
        Ok(format!("{experiment:#}\n"))
    }

    /// Reads an experiment of the Chaos Toolkit (JSON) whose actions are those that [`to_chaos_toolkit`](Self::to_chaos_toolkit) writes, or others of the same extension that
    /// say the same. Times count from the first action, and actions take no time themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Schedule`], which names the activity that is not understood.
    pub fn from_chaos_toolkit(text: &str) -> Result<Imported, Error> {
        let wrong = |why: String| Error::Schedule { why };
        let experiment: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let method = experiment["method"]
            .as_array()
            .ok_or_else(|| wrong("the experiment has no list `method`".to_owned()))?;
        let mut reading = Reading::default();
        if !experiment["steady-state-hypothesis"].is_null() {
            reading.notes.push(
                "the steady-state hypothesis is left out: checks of a scenario say what must hold".to_owned(),
            );
        }
        for (number, activity) in (1..).zip(method) {
            let name = activity["name"].as_str().unwrap_or("without a name");
            let place = format!("activity {number} of the method, `{name}`");
            reading.now += pause(activity, "before").map_err(|why| wrong(format!("{place}: {why}")))?;
            match activity["type"].as_str() {
                Some("probe") => reading.notes.push(format!("{place}, is a probe and is left out")),
                Some("action") => reading.take(activity).map_err(|why| wrong(format!("{place}: {why}")))?,
                _ => return Err(wrong(format!("{place}: its type is neither action nor probe"))),
            }
            reading.now += pause(activity, "after").map_err(|why| wrong(format!("{place}: {why}")))?;
        }
        let Reading { now, mut events, open, mut notes } = reading;
        for ((target, _), (at, fault)) in open {
            notes.push(format!(
                "{} of `{target}` is not taken back by the method: it lasts until its end",
                fault.name()
            ));
            events.push(Event { at, lasts: now.saturating_sub(at), target, fault });
        }
        events.sort_by_key(|event| event.at);
        let schedule = Schedule { events };
        // As a file of ours, so that both have the same rules.
        let schedule = Schedule::from_json(&schedule.to_json())?;
        Ok(Imported { schedule, notes })
    }
}

/// The action that begins or ends an event.
fn action(event: &Event, number: usize, begins: bool) -> Result<Value, Error> {
    let target = event.target.as_str();
    let toxic = format!("seaworthy-{number}");
    let name = format!("{} {} of {target}", if begins { "begin" } else { "end" }, event.fault.name());
    let toxiproxy = |module: &str, func: &str, arguments: Value| json!({ "type": "python", "module": format!("chaostoxi.{module}.actions"), "func": func, "arguments": arguments });
    let add = |kind: &str, attributes: Value| {
        let arguments =
            json!({ "for_proxy": target, "toxic_name": toxic, "toxic_type": kind, "attributes": attributes });
        toxiproxy("toxic", "create_toxic", arguments)
    };
    let remove = || toxiproxy("toxic", "delete_toxic", json!({ "for_proxy": target, "toxic_name": toxic }));
    let docker = |command: &str| json!({ "type": "process", "path": "docker", "arguments": format!("{command} {target}") });
    let provider = match (event.fault, begins) {
        (Fault::Latency { latency, jitter }, true) => {
            add("latency", json!({ "latency": millis(latency), "jitter": millis(jitter) }))
        }
        (Fault::Reset, true) => add("reset_peer", json!({ "timeout": 0 })),
        (Fault::Latency { .. } | Fault::Reset, false) => remove(),
        (Fault::Down, true) => toxiproxy("proxy", "disable_proxy", json!({ "proxy_name": target })),
        (Fault::Down, false) => toxiproxy("proxy", "enable_proxy", json!({ "proxy_name": target })),
        (Fault::Kill, true) => docker("kill"),
        (Fault::Kill, false) => docker("start"),
        (Fault::Pause, true) => docker("pause"),
        (Fault::Pause, false) => docker("unpause"),
        (Fault::Restart, true) => docker("kill --signal HUP"),
        (Fault::Restart, false) => docker("container inspect"),
        (Fault::DiskFull, _) => {
            let why = format!(
                "event {}, disk full of `{target}`, has no counterpart in the Chaos Toolkit",
                number + 1
            );
            return Err(Error::Schedule { why });
        }
    };
    Ok(json!({ "type": "action", "name": name, "provider": provider }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn pause(activity: &Value, when: &str) -> Result<Duration, String> {
    match &activity["pauses"][when] {
        Value::Null => Ok(Duration::ZERO),
        seconds => seconds
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            // Schedules count in milliseconds.
            .map(|pause| Duration::from_millis((pause.as_secs_f64() * 1000.0).round() as u64))
            .ok_or_else(|| format!("its pause {when} is no number of seconds: {seconds}")),
    }
}

/// What is known while an experiment is read.
#[derive(Default)]
struct Reading {
    now: Duration,
    events: Vec<Event>,
    /// Faults that are on: by target, and by what takes them back.
    open: BTreeMap<(String, String), (Duration, Fault)>,
    notes: Vec<String>,
}

impl Reading {
    fn take(&mut self, activity: &Value) -> Result<(), String> {
        let provider = &activity["provider"];
        match provider["type"].as_str() {
            Some("python") => self.take_toxiproxy(provider),
            Some("process") => self.take_docker(provider),
            other => {
                Err(format!("its provider is of type {other:?}, and only python and process are understood"))
            }
        }
    }

    fn take_toxiproxy(&mut self, provider: &Value) -> Result<(), String> {
        let (module, func) = (text(provider, "module")?, text(provider, "func")?);
        let arguments = &provider["arguments"];
        let number = |name: &str| arguments[name].as_u64().or(arguments["attributes"][name].as_u64());
        let toxic = || Ok::<_, String>((text(arguments, "for_proxy")?, text(arguments, "toxic_name")?));
        match (module.as_str(), func.as_str()) {
            ("chaostoxi.proxy.actions", "disable_proxy") => {
                self.begin((text(arguments, "proxy_name")?, "proxy".to_owned()), Fault::Down)
            }
            ("chaostoxi.proxy.actions", "enable_proxy") => {
                self.end(&(text(arguments, "proxy_name")?, "proxy".to_owned()))
            }
            ("chaostoxi.proxy.actions", "reset") => {
                let docker = |key: &(String, String)| key.1.starts_with("docker");
                let open: Vec<_> = self.open.keys().filter(|key| !docker(key)).cloned().collect();
                open.iter().for_each(|key| self.end(key));
            }
            ("chaostoxi.toxic.actions", "create_toxic" | "create_latency_toxic") => {
                let kind = if func == "create_toxic" {
                    text(arguments, "toxic_type")?
                } else {
                    "latency".to_owned()
                };
                let fault = match kind.as_str() {
                    "latency" => Fault::Latency {
                        latency: Duration::from_millis(
                            number("latency").ok_or("it has no latency in milliseconds")?,
                        ),
                        jitter: Duration::from_millis(number("jitter").unwrap_or(0)),
                    },
                    "reset_peer" => Fault::Reset,
                    other => return Err(format!("a schedule has no fault like the toxic `{other}`")),
                };
                self.begin(toxic()?, fault);
            }
            ("chaostoxi.toxic.actions", "delete_toxic") => self.end(&toxic()?),
            _ => return Err(format!("{func} of {module} is not understood")),
        }
        Ok(())
    }

    fn take_docker(&mut self, provider: &Value) -> Result<(), String> {
        let arguments = text(provider, "arguments")?;
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let key = |target: &str, what: &str| (target.to_owned(), format!("docker {what}"));
        match (text(provider, "path")?.as_str(), words.as_slice()) {
            ("docker", ["kill", target]) => self.begin(key(target, "kill"), Fault::Kill),
            ("docker", ["start", target]) => self.end(&key(target, "kill")),
            ("docker", ["pause", target]) => self.begin(key(target, "pause"), Fault::Pause),
            ("docker", ["unpause", target]) => self.end(&key(target, "pause")),
            ("docker", ["kill", "--signal", "HUP", target]) => {
                self.begin(key(target, "restart"), Fault::Restart)
            }
            ("docker", ["container", "inspect", target]) => self.end(&key(target, "restart")),
            (path, _) => return Err(format!("the command `{path} {arguments}` is not understood")),
        }
        Ok(())
    }

    fn begin(&mut self, key: (String, String), fault: Fault) {
        self.open.insert(key, (self.now, fault));
    }

    /// What is not on can be taken back as well: that is how experiments make sure.
    fn end(&mut self, key: &(String, String)) {
        if let Some((at, fault)) = self.open.remove(key) {
            let (target, lasts) = (key.0.clone(), self.now - at);
            self.events.push(Event { at, lasts, target, fault });
        }
    }
}

fn text(of: &Value, field: &str) -> Result<String, String> {
    of[field].as_str().map(str::to_owned).ok_or_else(|| format!("it has no text `{field}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Storm;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const URL: &str = "http://127.0.0.1:8474";

    #[test]
    fn an_experiment_has_an_action_for_each_beginning_and_end_with_the_pauses_between_them() {
        let schedule = Schedule::quiet()
            .fault(ms(500), ms(1000), "redis", Fault::Down)
            .fault(ms(800), ms(100), "postgres", Fault::Latency { latency: ms(150), jitter: ms(50) })
            .fault(ms(2000), ms(250), "worker-1", Fault::Kill);
        let text = schedule.to_chaos_toolkit("a storm", URL).unwrap();
        let experiment: Value = serde_json::from_str(&text).unwrap();
        let step = |activity: &Value| {
            let provider = &activity["provider"];
            let what = provider["func"].as_str().or(provider["arguments"].as_str()).unwrap().to_owned();
            (activity["pauses"]["before"].as_f64().unwrap_or(0.0), what)
        };
        let steps: Vec<(f64, String)> = experiment["method"].as_array().unwrap().iter().map(step).collect();
        let expected = [
            (0.5, "disable_proxy"),
            (0.3, "create_toxic"),
            (0.1, "delete_toxic"),
            (0.6, "enable_proxy"),
            (0.5, "kill worker-1"),
            (0.25, "start worker-1"),
        ];
        assert_eq!(steps, expected.map(|(pause, what)| (pause, what.to_owned())));
        assert_eq!(experiment["rollbacks"].as_array().unwrap().len(), 3);
        assert_eq!(experiment["configuration"]["toxiproxy_url"], URL);
        assert_eq!(Schedule::from_chaos_toolkit(&text).unwrap(), Imported { schedule, notes: Vec::new() });
        let full = Schedule::quiet().fault(ms(0), ms(1), "postgres", Fault::DiskFull);
        let error = full.to_chaos_toolkit("full", URL).unwrap_err().to_string();
        assert!(error.contains("event 1, disk full of `postgres`, has no counterpart"), "{error}");
    }

    #[test]
    fn an_experiment_of_somebody_else_is_read_and_what_is_left_out_is_said() {
        let text = r#"{"title": "t", "steady-state-hypothesis": {"title": "up", "probes": []}, "method": [
            {"type": "probe", "name": "is it up", "provider": {"type": "http", "url": "http://localhost"}},
            {"type": "action", "name": "slow", "pauses": {"before": 1, "after": 2.5}, "provider": {"type": "python",
                "module": "chaostoxi.toxic.actions", "func": "create_latency_toxic",
                "arguments": {"for_proxy": "db", "toxic_name": "slow", "latency": 200}}},
            {"type": "action", "name": "cut", "provider": {"type": "python", "module": "chaostoxi.proxy.actions",
                "func": "disable_proxy", "arguments": {"proxy_name": "db"}}, "pauses": {"after": 1}},
            {"type": "action", "name": "all well", "provider": {"type": "python",
                "module": "chaostoxi.proxy.actions", "func": "reset"}},
            {"type": "action", "name": "stop", "pauses": {"after": 1}, "provider": {"type": "process", "path": "docker", "arguments": "pause db"}}
        ]}"#;
        let Imported { schedule, notes } = Schedule::from_chaos_toolkit(text).unwrap();
        let slow = Fault::Latency { latency: ms(200), jitter: ms(0) };
        let expected = Schedule::quiet()
            .fault(ms(1000), ms(3500), "db", slow)
            .fault(ms(3500), ms(1000), "db", Fault::Down)
            .fault(ms(4500), ms(1000), "db", Fault::Pause);
        assert_eq!(schedule, expected);
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(
            notes[1].contains("`is it up`, is a probe") && notes[2].contains("pause of `db`"),
            "{notes:?}"
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let with = |activity: &str| format!(r#"{{"method": [{activity}]}}"#);
        let python = |module: &str, func: &str, arguments: &str| {
            with(&format!(
                r#"{{"type": "action", "name": "x", "provider": {{"type": "python", "module": "{module}", "func": "{func}", "arguments": {arguments}}}}}"#
            ))
        };
        for (text, why) in [
            ("[]".to_owned(), "no list `method`"),
            ("{".to_owned(), "EOF"),
            (with(r#"{"name": "x"}"#), "activity 1 of the method, `x`: its type is neither"),
            (
                python("chaosk8s.pod.actions", "terminate_pods", "{}"),
                "terminate_pods of chaosk8s.pod.actions is not understood",
            ),
            (python("chaostoxi.toxic.actions", "delete_toxic", "{}"), "it has no text `for_proxy`"),
            (
                python("chaostoxi.toxic.actions", "create_toxic", r#"{"toxic_type": "slicer"}"#),
                "no fault like the toxic `slicer`",
            ),
            (
                with(r#"{"type": "action", "name": "x", "pauses": {"before": "soon"}}"#),
                "its pause before is no number",
            ),
            (
                with(
                    r#"{"type": "action", "name": "x", "provider": {"type": "process", "path": "rm", "arguments": "-rf /"}}"#,
                ),
                "the command `rm -rf /`",
            ),
            (
                with(r#"{"type": "action", "name": "x", "provider": {"type": "http"}}"#),
                "only python and process",
            ),
        ] {
            let error = Schedule::from_chaos_toolkit(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_back(seed: u64) {
            let slow = Fault::Latency { latency: ms(200), jitter: ms(50) };
            let hazards = [("a", slow), ("a", Fault::Reset), ("b", Fault::Down), ("c", Fault::Kill), ("c", Fault::Pause), ("d", Fault::Restart)];
            let storm = Storm::over(ms(10_000)).events(1..=15).lasting(ms(20)..=ms(900)).at_once(5).swarm(false);
            let storm = hazards.into_iter().fold(storm, |storm, (target, fault)| storm.hazard(target, fault, 1));
            let mut schedule = storm.schedule(seed);
            let text = schedule.to_chaos_toolkit("storm", URL).unwrap();
            let mut imported = Schedule::from_chaos_toolkit(&text).unwrap();
            let key = |event: &Event| (event.at, event.target.clone(), event.fault.name());
            schedule.events.sort_by_key(key);
            imported.schedule.events.sort_by_key(key);
            prop_assert_eq!(imported, Imported { schedule, notes: Vec::new() });
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = Schedule::from_chaos_toolkit(&text);
        }
    }
}
