//! A small filesystem for a data folder, and the ballast that fills it.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use crate::Error;

/// A filesystem of limited size.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    ballast: PathBuf,
}

impl SmallDisk {
    /// Mounts a `tmpfs` of this size over an existing folder; the stack's guardian unmounts it.
    #[cfg(target_os = "linux")]
    pub(crate) fn mount(service: &str, folder: &Path, mib: u64) -> Result<Self, Error> {
        use nix::mount::{MsFlags, mount};
        let options = format!("size={mib}m,mode=0700");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).map_err(|errno| {
            Error::Unsupported {
                fault: "a full disk",
                service: service.to_owned(),
                why: format!(
                    "a filesystem of limited size can't be mounted ({errno}): run as root, or with `--provider docker`"
                ),
            }
        })?;
        Ok(SmallDisk { ballast: folder.join("ballast") })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn mount(service: &str, _folder: &Path, _mib: u64) -> Result<Self, Error> {
        Err(Error::Unsupported {
            fault: "a full disk",
            service: service.to_owned(),
            why: "a filesystem of limited size can't be mounted on this system: run with `--provider docker`"
                .to_owned(),
        })
    }

    /// Writes ballast until nothing more fits.
    pub(crate) fn fill(&self) -> Result<(), Error> {
        let fail = || format!("filling the disk with {}", self.ballast.display());
        let mut file = File::create(&self.ballast).map_err(Error::io(fail()))?;
        let mut piece = &[0_u8; 64 * 1024][..];
        loop {
            match file.write_all(piece) {
                Ok(()) => {}
                // The last bytes in small pieces, so that no page is left.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull && piece.len() > 512 => {
                    piece = &piece[..piece.len() / 2];
                }
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(Error::io(fail())(error)),
            }
        }
    }

    /// Removes the ballast.
    pub(crate) fn free(&self) -> Result<(), Error> {
        match fs::remove_file(&self.ballast) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("removing {}", self.ballast.display()))(error))
            }
            _ => Ok(()),
        }
    }
}
