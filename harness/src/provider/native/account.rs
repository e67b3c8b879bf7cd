//! The user that servers run as when we are root.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::Command,
};

use nix::unistd::{Uid, User};

use crate::Error;

/// An unprivileged user, when we are root: Postgres refuses to run as root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    ids: Option<(u32, u32)>,
}

impl Account {
    /// Whoever we are.
    pub(crate) const OURSELVES: Account = Account { ids: None };

    /// The user `postgres`, which Debian's package makes, else `nobody`; nobody special unless we are root.
    pub(crate) fn unprivileged() -> Result<Self, Error> {
        if !Uid::effective().is_root() {
            return Ok(Account::OURSELVES);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) =
                User::from_name(name).map_err(Error::nix(format!("looking up the user {name}")))?
            {
                return Ok(Account { ids: Some((user.uid.as_raw(), user.gid.as_raw())) });
            }
        }
        Err(Error::Start {
            service: "postgres".to_owned(),
            why: "it does not run as root, and there is neither a user `postgres` nor `nobody`".to_owned(),
            log: String::new(),
        })
    }

    pub(crate) fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        match self.ids {
            Some((user, group)) => command.uid(user).gid(group),
            None => command,
        }
    }

    /// Gives a file or folder to the user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        let Some((user, group)) = self.ids else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(Error::io(format!("giving {} away", path.display())))
    }

    /// Makes a folder that only the user can look into.
    pub(crate) fn make_folder(&self, path: &Path) -> Result<(), Error> {
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().mode(0o700).create(path);
        made.map_err(Error::io(format!("making the folder {}", path.display())))?;
        self.own(path)
    }

    /// Copies a folder, file by file; the copy belongs to the user. Entries for which `keep` says no stay out.
    pub(crate) fn copy_folder(
        &self,
        from: &Path,
        to: &Path,
        keep: &dyn Fn(&Path) -> bool,
    ) -> Result<(), Error> {
        if !to.is_dir() {
            self.make_folder(to)?;
        }
        let entries = fs::read_dir(from).map_err(Error::io(format!("reading {}", from.display())))?;
        for entry in entries {
            let from = entry.map_err(Error::io(format!("reading {}", from.display())))?.path();
            let Some(name) = from.file_name().filter(|_| keep(&from)) else { continue };
            let to = to.join(name);
            if from.is_dir() {
                self.copy_folder(&from, &to, keep)?;
            } else {
                fs::copy(&from, &to).map_err(Error::io(format!(
                    "copying {} to {}",
                    from.display(),
                    to.display()
                )))?;
                self.own(&to)?;
            }
        }
        Ok(())
    }
}
