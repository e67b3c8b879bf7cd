//! Any other server, natively.

use std::sync::Arc;

use super::{account::Account, process::Process, service::NativeService};
use crate::{
    Error, binaries,
    provider::{Instance, Site, port},
    software::{Placeholders, Software},
};

pub(crate) fn start(site: &Site, name: &str, software: &dyn Software) -> Result<Arc<dyn Instance>, Error> {
    let program = software.program();
    let binary = binaries::of_program(&program)?;
    let port = port::pick(name, None)?;
    let account = Account::unprivileged()?;
    let home = site.guardian.folder().join(name);
    let data = home.join("data");
    account.make_folder(&home)?;
    account.make_folder(&data)?;
    let more_ports = software
        .more_ports()
        .into_iter()
        .map(|more| Ok((more.name, port::pick(name, None)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let placeholders = Placeholders::new(port, &more_ports, &data.display().to_string());
    let process = Process::new(name, data, binary, account)
        .args(program.args.iter().map(|arg| placeholders.fill(arg)))
        .env(&placeholders.fill_env(&program.env));
    process.start(&site.guardian)?;
    Ok(Arc::new(NativeService { more_ports, ..NativeService::new(process, Some(port)) }))
}
