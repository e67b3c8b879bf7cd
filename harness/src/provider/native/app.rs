//! The application under test, as a process.

use std::sync::Arc;

use super::{account::Account, process::Process, service::NativeService};
use crate::{
    Error,
    provider::{Instance, Site, port},
    spec::App,
};

pub(crate) fn start_app(site: &Site, name: &str, app: &App) -> Result<Arc<dyn Instance>, Error> {
    let command = app.program(name)?;
    let port = app.listens().then(|| port::pick(name, None)).transpose()?;
    let app = app.clone().on_port(port.unwrap_or(0));
    // The application is the user's own: it runs as the user does.
    let account = Account::OURSELVES;
    let home = site.guardian.folder().join(name);
    let folder = home.join("data");
    account.make_folder(&home)?;
    account.make_folder(&folder)?;
    let process = Process::new(name, folder, command, account).args(app.args).env(&app.env);
    process.start(&site.guardian)?;
    Ok(Arc::new(NativeService::new(process, port)))
}
