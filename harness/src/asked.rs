//! What is refused before anything starts: names, versions and settings that no server could take.

use crate::{
    Error,
    readiness::Sign,
    software::Software,
    spec::{Postgres, Redis, Spec},
};

/// The longest name of a service. Names become folders, labels, and parts of the names of databases.
const LONGEST_NAME: usize = 40;
/// The longest value of a setting, in bytes.
const LONGEST_VALUE: usize = 1000;
/// What the guardian of a stack keeps beside the folders of its services.
const TAKEN_NAMES: [&str; 2] = ["alive", "told"];

/// Settings by which the harness finds a Postgres.
const POSTGRES_OURS: [&str; 9] = [
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
    "primary_slot_name",
    "unix_socket_directories",
];
/// Settings by which the harness finds a Redis, or without which it could not ask it anything.
const REDIS_OURS: [&str; 17] = [
    "aclfile",
    "bind",
    "daemonize",
    "dir",
    "include",
    "logfile",
    "masterauth",
    "pidfile",
    "port",
    "protected-mode",
    "replicaof",
    "requirepass",
    "slaveof",
    "supervised",
    "tls-port",
    "unixsocket",
    "user",
];

impl Spec {
    /// Refuses what no server could take.
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.replicas().iter().try_for_each(|replica| check_name(replica))?;
        let (version, settings, ours): (_, &[_], &[_]) = match self {
            Spec::Postgres(Postgres { version, settings, .. }) => (version, settings, &POSTGRES_OURS),
            Spec::Redis(Redis { version, settings, .. }) => (version, settings, &REDIS_OURS),
            Spec::Other(software) => return check_ports(name, &**software),
            Spec::App(_) => return Ok(()),
        };
        let wrong = |what, text: &str, why: &str| refuse(name, what, text, why);
        if let Some(version) = version.as_deref().filter(|version| !is_version(version)) {
            return wrong(
                "the version",
                version,
                "a version is numbers with dots between, `16` or `16.4` for example",
            );
        }
        for (setting, value) in settings {
            let text = format!("{setting} = {value}");
            let is_ours = ours.iter().any(|ours| ours.eq_ignore_ascii_case(setting));
            let why = if setting.split('.').any(|part| !is_plain(part)) || setting.starts_with('-') {
                "a setting's name has letters, digits, `-` and `_` only, and dots between"
            } else if is_ours {
                "the harness sets it itself, to find the server"
            } else if value.chars().any(char::is_control) {
                "its value has a line break or another control character in it"
            } else if value.len() > LONGEST_VALUE {
                "its value has more than 1000 bytes"
            } else if value.starts_with("--") {
                "its value begins with `--`, which servers read as the next setting"
            } else {
                continue;
            };
            return wrong("the setting", &text, why);
        }
        Ok(())
    }

    /// The names of its replicas.
    pub(crate) fn replicas(&self) -> &[String] {
        match self {
            Spec::Postgres(Postgres { replicas, .. }) | Spec::Redis(Redis { replicas, .. }) => replicas,
            Spec::App(_) | Spec::Other(_) => &[],
        }
    }
}

/// Refuses services of one stack of which two have the same name, or what one of them alone could not take.
pub(crate) fn check_all(services: &[(String, Spec)]) -> Result<(), Error> {
    let mut names: Vec<&str> = Vec::new();
    for (name, spec) in services {
        spec.check(name)?;
        for name in [name].into_iter().chain(spec.replicas()) {
            // Not every filesystem tells capital letters from small ones.
            if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(Error::ServiceExists { name: name.clone() });
            }
            names.push(name);
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    if TAKEN_NAMES.contains(&name) {
        return refuse(name, "the name", name, "the stack itself has a file of this name");
    }
    if is_plain(name) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    refuse(
        name,
        "the name",
        name,
        "a service's name has letters, digits, `-` and `_` only, and at most 40 of them",
    )
}

fn check_ports(service: &str, software: &dyn Software) -> Result<(), Error> {
    let ports = software.more_ports();
    for (at, port) in ports.iter().enumerate() {
        if !is_plain(&port.name) || port.name.len() > LONGEST_NAME {
            return refuse(
                service,
                "the port",
                &port.name,
                "a port's name has letters, digits, `-` and `_` only, and at most 40 of them",
            );
        }
        if ports[..at].iter().any(|other| other.name == port.name) {
            return refuse(service, "the port", &port.name, "it has another one of this name");
        }
    }
    match software.readiness().sign {
        Sign::Path { port: Some(wanted), .. } if ports.iter().all(|port| port.name != wanted) => {
            refuse(service, "a readiness on the port", &wanted, "it is none of `Software::more_ports`")
        }
        _ => Ok(()),
    }
}

fn refuse(service: &str, what: &'static str, text: &str, why: &str) -> Result<(), Error> {
    // Long enough to be recognised.
    let short = |text: &str| text.chars().flat_map(char::escape_debug).take(80).collect::<String>();
    Err(Error::Malformed { service: short(service), what, text: short(text), why: why.to_owned() })
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn is_version(text: &str) -> bool {
    text.len() <= 20
        && text.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::Nats;

    fn postgres(name: &str, value: &str) -> Spec {
        Spec::Postgres(Postgres::new().setting(name, value))
    }

    fn redis(name: &str, value: &str) -> Spec {
        Spec::Redis(Redis::new().setting(name, value))
    }

    #[test]
    fn what_no_server_could_take_is_refused_with_the_reason() {
        let version = |version: &str| Spec::Postgres(Postgres::new().version(version));
        let cases = [
            (postgres("work_mem", "1MB"), None),
            (postgres("pg_stat_statements.max", "100"), None),
            (postgres("search_path", "a, \"b c\""), None),
            (redis("client-output-buffer-limit", "pubsub 1mb 1mb 10"), None),
            (redis("notify-keyspace-events", ""), None),
            (postgres("work_mem; drop", "1MB"), Some("letters, digits")),
            (postgres("", "1MB"), Some("letters, digits")),
            (postgres("a..b", "1MB"), Some("letters, digits")),
            (redis("--port", "1"), Some("letters, digits")),
            (postgres("work_mem", "1MB\nport = 1"), Some("line break")),
            (postgres("application_name", &"x".repeat(1001)), Some("1000 bytes")),
            (postgres("Port", "1"), Some("sets it itself")),
            (redis("requirepass", "x"), Some("sets it itself")),
            (redis("maxmemory", "--port"), Some("next setting")),
            (version("16"), None),
            (version("16.4"), None),
            (version(""), Some("numbers with dots")),
            (version("16;rm"), Some("numbers with dots")),
            (version("16."), Some("numbers with dots")),
            (version("latest"), Some("numbers with dots")),
        ];
        for (spec, refused) in cases {
            let checked = spec.check("service");
            match refused {
                None => assert!(checked.is_ok(), "{spec:?}: {checked:?}"),
                Some(why) => {
                    let error = checked.expect_err("refused").to_string();
                    assert!(error.contains(why), "{spec:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn no_two_services_have_one_name_not_even_a_replica() {
        let named = |name: &str, spec| (name.to_owned(), spec);
        let nats = || Spec::Other(Arc::new(Nats));
        let replicated = || Spec::Postgres(Postgres::new().replica("standby"));
        let cases = [
            (vec![named("a", nats()), named("b", replicated())], true),
            (vec![named("a", nats()), named("A", nats())], false),
            (vec![named("standby", nats()), named("b", replicated())], false),
            (vec![named("a", replicated()), named("b", replicated())], false),
            (vec![named("standby", replicated())], false),
        ];
        for (services, fine) in cases {
            assert_eq!(check_all(&services).is_ok(), fine, "{services:?}");
        }
        let bad_replica = Spec::Redis(Redis::new().replica("../up"));
        assert!(matches!(bad_replica.check("redis"), Err(Error::Malformed { .. })));
        assert!(nats().check("told").is_err());
    }

    proptest! {
        #[test]
        fn a_name_that_is_taken_is_one_plain_component_of_a_path(name in ".*") {
            if check_name(&name).is_ok() {
                let components: Vec<_> = std::path::Path::new(&name).components().collect();
                prop_assert_eq!(components, [std::path::Component::Normal(name.as_ref())]);
                prop_assert!(name.len() <= LONGEST_NAME);
            }
        }
    }
}
