//! The word of readiness between a service and whoever started it: sd_notify(3), both ends.

use std::{
    env, io,
    os::unix::net::{SocketAddr, UnixDatagram},
    time::Duration,
};

/// Names the service manager's socket to a service.
pub(super) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// How long the service manager may take to make room for a message.
const SEND_DEADLINE: Duration = Duration::from_secs(1);

/// Tells the service manager, if there is one that wants to know.
pub(super) fn tell(message: &str) -> io::Result<()> {
    let Some(name) = env::var_os(NOTIFY_SOCKET) else { return Ok(()) };
    let name = name.into_string().map_err(|_| io::ErrorKind::InvalidInput)?;
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_DEADLINE))?;
    socket.send_to_addr(message.as_bytes(), &address(&name)?)?;
    Ok(())
}

/// `@name` is a name outside of any filesystem, which goes with its last holder; Linux alone has such names.
fn address(name: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}

/// Where the processes of a supervisor say that they are ready.
#[derive(Debug)]
pub(super) struct Inbox {
    socket: tokio::net::UnixDatagram,
    name: String,
}

impl Inbox {
    pub(super) fn open() -> io::Result<Self> {
        let name = fresh_name();
        let socket = UnixDatagram::bind_addr(&address(&name)?)?;
        socket.set_nonblocking(true)?;
        // An abstract name is open to every user of the machine, so the kernel is asked who sent what.
        #[cfg(target_os = "linux")]
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::PassCred, &true)?;
        Ok(Inbox { socket: tokio::net::UnixDatagram::from_std(socket)?, name })
    }

    /// What the processes get as `NOTIFY_SOCKET`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next process that says that it is ready; 0 where the system does not tell who that is.
    pub(super) async fn ready(&self) -> io::Result<u32> {
        loop {
            let (message, sender) =
                self.socket.async_io(tokio::io::Interest::READABLE, || receive(&self.socket)).await?;
            if message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(sender);
            }
        }
    }
}

/// Longer than what anybody says here.
const LONGEST_MESSAGE: usize = 4096;

#[cfg(target_os = "linux")]
fn fresh_name() -> String {
    format!("@seaworthy-supervisor-{:032x}", rand::random::<u128>())
}

#[cfg(target_os = "linux")]
fn receive(socket: &tokio::net::UnixDatagram) -> io::Result<(Vec<u8>, u32)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};
    use std::os::fd::AsRawFd;
    let mut bytes = [0; LONGEST_MESSAGE];
    let mut pieces = [io::IoSliceMut::new(&mut bytes)];
    let mut room = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut room), flags)?;
    let sender = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmCredentials(sender) => u32::try_from(sender.pid()).ok(),
        _ => None,
    });
    let length = message.bytes;
    Ok((bytes[..length].to_vec(), sender.unwrap_or(0)))
}

#[cfg(not(target_os = "linux"))]
fn fresh_name() -> String {
    let name = format!("supervisor-{:016x}", rand::random::<u64>());
    env::temp_dir().join(name).display().to_string()
}

#[cfg(not(target_os = "linux"))]
fn receive(socket: &tokio::net::UnixDatagram) -> io::Result<(Vec<u8>, u32)> {
    let mut bytes = [0; LONGEST_MESSAGE];
    let length = socket.try_recv(&mut bytes)?;
    Ok((bytes[..length].to_vec(), 0))
}

#[cfg(not(target_os = "linux"))]
impl Drop for Inbox {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.name);
    }
}
