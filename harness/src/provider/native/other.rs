//! Any other server, natively.

use std::sync::Arc;

use super::{account::Account, process::Process, service::NativeService};
use crate::{
    Error, binaries,
    provider::{Instance, Site, port},
    software::Software,
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
    let fill =
        |arg: String| arg.replace("{port}", &port.to_string()).replace("{data}", &data.display().to_string());
    let args: Vec<String> = program.args.into_iter().map(fill).collect();
    let process = Process::new(name, data, binary, account).args(args);
    process.start(&site.guardian)?;
    Ok(Arc::new(NativeService::new(process, Some(port))))
}
