//! Schedules as manifests of Chaos Mesh, for those who outgrow one machine.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{Event, Schedule};
use crate::{Error, Fault};

/// How long the workflow may take beyond its last fault.
const MARGIN: Duration = Duration::from_secs(60);

/// Where the targets of a schedule are in a cluster.
#[derive(Debug, Clone)]
#[must_use]
pub struct Cluster {
    namespace: String,
    label: String,
    pods: BTreeMap<String, BTreeMap<String, String>>,
    volumes: BTreeMap<String, String>,
}

/// A manifest, and what in it is not quite what the schedule says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// A `Workflow` as JSON, which is YAML as well: for `kubectl apply -f`.
    pub json: String,
    /// Which faults are only like those of the schedule, and how they differ.
    pub notes: Vec<String>,
}

impl Cluster {
    /// In this namespace, each target is the pods whose label `app` is its name.
    pub fn new(namespace: impl Into<String>) -> Self {
        let (pods, volumes) = (BTreeMap::new(), BTreeMap::new());
        Cluster { namespace: namespace.into(), label: "app".to_owned(), pods, volumes }
    }

    /// Each target is the pods whose label of this name is its name.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// This target is the pods with these labels.
    pub fn pods<'a>(mut self, target: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.pods.insert(target.to_owned(), labels.collect());
        self
    }

    /// Where the volume of this target's data is mounted in its pods: for a full disk.
    pub fn volume(mut self, target: &str, path: impl Into<String>) -> Self {
        self.volumes.insert(target.to_owned(), path.into());
        self
    }

    fn selector(&self, target: &str) -> Value {
        let labels = self.pods.get(target).cloned();
        let labels = labels.unwrap_or_else(|| BTreeMap::from([(self.label.clone(), target.to_owned())]));
        json!({ "namespaces": [self.namespace], "labelSelectors": labels })
    }
}

impl Schedule {
    /// This schedule as a `Workflow` of Chaos Mesh: all its events side by side, each after its own wait.
    ///
    /// # Errors
    ///
    /// [`Error::Schedule`] for a name that can't be one in Kubernetes, and for a full disk without a [`volume`](Cluster::volume).
    pub fn to_chaos_mesh(&self, name: &str, cluster: &Cluster) -> Result<Manifest, Error> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty()
            || name.len() > 51
            || !name.chars().all(plain)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            let why = format!(
                "`{name}` is no name of a workflow: 1 to 51 lowercase letters, digits and dashes, no dash at the ends"
            );
            return Err(Error::Schedule { why });
        }
        let whole = text(self.end() + MARGIN);
        let mut children = Vec::new();
        let mut templates = Vec::new();
        let mut notes = Vec::new();
        for (number, event) in (1..).zip(&self.events) {
            let id = format!("event-{number}");
            let (kind, field, spec, note) = chaos(event, cluster).map_err(|why| Error::Schedule {
                why: format!("event {number}, {} of `{}`: {why}", event.fault.name(), event.target),
            })?;
            notes.extend(
                note.map(|note| {
                    format!("event {number}, {} of `{}`: {note}", event.fault.name(), event.target)
                }),
            );
            let mut steps = Vec::new();
            if !event.at.is_zero() {
                steps.push(format!("{id}-waits"));
                templates.push(json!({ "name": format!("{id}-waits"), "templateType": "Suspend", "deadline": text(event.at) }));
            }
            steps.push(format!("{id}-happens"));
            // An experiment in a workflow lasts until its deadline.
            let lasts = text(event.lasts.max(Duration::from_millis(1)));
            templates.push(json!({ "name": format!("{id}-happens"), "templateType": kind, "deadline": lasts, field: spec }));
            templates
                .push(json!({ "name": id, "templateType": "Serial", "deadline": whole, "children": steps }));
            children.push(id);
        }
        let all =
            json!({ "name": "storm", "templateType": "Parallel", "deadline": whole, "children": children });
        templates.insert(0, all);
        let manifest = json!({
            "apiVersion": "chaos-mesh.org/v1alpha1",
            "kind": "Workflow",
            "metadata": { "name": name, "namespace": cluster.namespace },
            "spec": { "entry": "storm", "templates": templates },
        });
        Ok(Manifest { json: format!("{manifest:#}\n"), notes })
    }
}

/// The kind of experiment, its field in a template, its specification, and how it differs from the fault.
type Chaos = (&'static str, &'static str, Value, Option<&'static str>);

fn chaos(event: &Event, cluster: &Cluster) -> Result<Chaos, String> {
    let selector = cluster.selector(&event.target);
    let network = |action: &str, field: &str, spec: Value, note| {
        let all = json!({ "action": action, "mode": "all", "selector": selector.clone(), "direction": "to", field: spec });
        ("NetworkChaos", "networkChaos", all, note)
    };
    let pod = |action: &str, note| {
        let spec = json!({ "action": action, "mode": "all", "selector": selector.clone(), "gracePeriod": 0 });
        ("PodChaos", "podChaos", spec, note)
    };
    Ok(match event.fault {
        Fault::Latency { latency, jitter } => {
            let spec = json!({ "latency": text(latency), "jitter": text(jitter), "correlation": "0" });
            network("delay", "delay", spec, None)
        }
        Fault::Down => {
            let note =
                "packets are lost instead of connections being refused, so clients meet their timeouts";
            network("loss", "loss", json!({ "loss": "100", "correlation": "0" }), Some(note))
        }
        Fault::Reset => {
            let note =
                "packets are lost instead of connections being reset: there is no reset of TCP connections";
            network("loss", "loss", json!({ "loss": "100", "correlation": "0" }), Some(note))
        }
        Fault::Kill => {
            pod("pod-kill", Some("Kubernetes starts the pod again at once, not when the event ends"))
        }
        Fault::Pause => pod(
            "pod-failure",
            Some("the pods' containers are replaced by ones that only wait, so their memory is lost"),
        ),
        Fault::Restart => pod("pod-kill", Some("the pods are killed, and not told to restart")),
        Fault::DiskFull => {
            let path = cluster.volumes.get(&event.target);
            let path = path.ok_or("it is not known where its volume is mounted: see `Cluster::volume`")?;
            const NO_SPACE_LEFT: u32 = 28;
            let spec = json!({
                "action": "fault", "mode": "all", "selector": selector, "volumePath": path, "path": format!("{path}/**/*"),
                "errno": NO_SPACE_LEFT, "methods": ["WRITE", "CREATE", "FALLOCATE"], "percent": 100,
            });
            ("IOChaos", "ioChaos", spec, None)
        }
    })
}

/// A duration as Go writes them.
fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn every_fault() -> Schedule {
        let latency = Fault::Latency { latency: ms(150), jitter: ms(50) };
        let faults =
            [latency, Fault::Down, Fault::Reset, Fault::Kill, Fault::Pause, Fault::DiskFull, Fault::Restart];
        (0..).zip(faults).fold(Schedule::quiet(), |schedule, (number, fault)| {
            schedule.fault(ms(number * 500), ms(300), "postgres", fault)
        })
    }

    /// What the definitions of the resources require, as of Chaos Mesh 2.7: fields that must be there, and values of which one must be.
    #[test]
    fn every_fault_is_an_experiment_as_the_definitions_of_chaos_mesh_want_it() {
        let cluster = Cluster::new("shop").volume("postgres", "/var/lib/postgresql/data");
        let Manifest { json, notes } = every_fault().to_chaos_mesh("storm-7", &cluster).unwrap();
        let manifest: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(notes.len(), 5, "{notes:?}");
        assert_eq!((&manifest["kind"], &manifest["spec"]["entry"]), (&json!("Workflow"), &json!("storm")));
        let templates = manifest["spec"]["templates"].as_array().unwrap();
        let names: Vec<&str> = templates.iter().map(|template| template["name"].as_str().unwrap()).collect();
        let required = BTreeMap::from([
            (
                "NetworkChaos",
                (
                    "networkChaos",
                    &["action", "mode", "selector"][..],
                    &["netem", "delay", "loss", "duplicate", "corrupt", "partition", "bandwidth"][..],
                ),
            ),
            (
                "PodChaos",
                ("podChaos", &["action", "mode", "selector"], &["pod-kill", "pod-failure", "container-kill"]),
            ),
            (
                "IOChaos",
                (
                    "ioChaos",
                    &["action", "mode", "selector", "volumePath"],
                    &["latency", "fault", "attrOverride", "mistake"],
                ),
            ),
        ]);
        let mut experiments = 0;
        for template in templates {
            let kind = template["templateType"].as_str().unwrap();
            let deadline = template["deadline"].as_str().unwrap();
            assert!(deadline.strip_suffix("ms").is_some_and(|ms| ms.parse::<u64>().is_ok()), "{deadline}");
            if let Some((field, fields, actions)) = required.get(kind) {
                experiments += 1;
                let spec = &template[field];
                assert!(fields.iter().all(|field| !spec[field].is_null()), "{template:#}");
                assert!(actions.contains(&spec["action"].as_str().unwrap()), "{template:#}");
                assert!(
                    ["one", "all", "fixed", "fixed-percent", "random-max-percent"]
                        .contains(&spec["mode"].as_str().unwrap())
                );
                assert_eq!(spec["selector"]["labelSelectors"], json!({ "app": "postgres" }));
            } else if kind != "Suspend" {
                let children = template["children"].as_array().unwrap();
                assert!(
                    children.iter().all(|child| names.contains(&child.as_str().unwrap())),
                    "{template:#}"
                );
            }
        }
        assert_eq!(experiments, 7);
    }

    #[test]
    fn an_event_waits_and_then_happens() {
        let schedule = Schedule::quiet().fault(ms(1_500), ms(300), "redis", Fault::Kill);
        let cluster = Cluster::new("shop").label("service").pods("redis", [("role", "cache")]);
        let manifest = schedule.to_chaos_mesh("storm", &cluster).unwrap();
        let manifest: Value = serde_json::from_str(&manifest.json).unwrap();
        let expected = json!([
            { "name": "storm", "templateType": "Parallel", "deadline": "61800ms", "children": ["event-1"] },
            { "name": "event-1-waits", "templateType": "Suspend", "deadline": "1500ms" },
            { "name": "event-1-happens", "templateType": "PodChaos", "deadline": "300ms", "podChaos": {
                "action": "pod-kill", "mode": "all", "gracePeriod": 0,
                "selector": { "namespaces": ["shop"], "labelSelectors": { "role": "cache" } } } },
            { "name": "event-1", "templateType": "Serial", "deadline": "61800ms", "children": ["event-1-waits", "event-1-happens"] },
        ]);
        assert_eq!(manifest["spec"]["templates"], expected);
    }

    #[test]
    fn what_can_not_be_said_is_named() {
        let cluster = Cluster::new("shop");
        let error = every_fault().to_chaos_mesh("storm", &cluster).unwrap_err().to_string();
        assert!(
            error.contains("event 6, disk full of `postgres`: it is not known where its volume"),
            "{error}"
        );
        for name in ["", "Storm", "-storm", "a name", &"x".repeat(52)] {
            assert!(Schedule::quiet().to_chaos_mesh(name, &cluster).is_err(), "{name}");
        }
    }
}
