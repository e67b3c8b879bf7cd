//! A native Redis.

use std::sync::Arc;

use super::{account::Account, process::Process, service::NativeService};
use crate::{
    Error, binaries,
    provider::{Instance, Site, port},
    spec::Redis,
};

pub(crate) fn start(site: &Site, name: &str, spec: &Redis) -> Result<Arc<dyn Instance>, Error> {
    let binary = spec.version.as_deref().map_or_else(binaries::redis, binaries::redis_of)?;
    let port = port::pick(name, spec.port)?;
    let account = Account::unprivileged()?;
    let home = site.guardian.folder().join(name);
    let data = home.join("data");
    account.make_folder(&home)?;
    account.make_folder(&data)?;
    // What is changed at runtime, as whom it follows, is written down here and so survives a restart.
    let notes = home.join("redis.conf");
    std::fs::write(&notes, "").map_err(Error::io(format!("writing {}", notes.display())))?;
    account.own(&notes)?;
    let process = Process::new(name, data, binary.path, account)
        .args([notes.display().to_string()])
        .args(arguments(port, spec));
    process.start(&site.guardian)?;
    Ok(Arc::new(NativeService::new(process, Some(port))))
}

fn arguments(port: u16, spec: &Redis) -> Vec<String> {
    let mut args = spec.arguments();
    args.extend(["--port".to_owned(), port.to_string(), "--bind".to_owned(), "127.0.0.1".to_owned()]);
    args.extend(["--daemonize".to_owned(), "no".to_owned()]);
    args
}
