//! Root at the data of another user, as an administrator is at those of a service.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

/// Whose `directory` is, where this is root's process and it is not root's.
pub fn other(directory: &Path) -> Option<(u32, u32)> {
    let found = directory.metadata().ok().filter(|_| geteuid().is_root())?;
    (found.uid() != 0).then(|| (found.uid(), found.gid()))
}

/// Goes on as the one whose `directory` is: what root made there, the owner could not read. To be called while the process
/// has one thread, as those that it makes later become what this one is.
pub fn become_other(directory: &Path) -> io::Result<()> {
    let Some((user, group)) = other(directory) else {
        return Ok(());
    };
    let group = Gid::from_raw(group);
    set_thread_groups(&[group])?;
    set_thread_gid(group)?;
    set_thread_uid(Uid::from_raw(user))?;
    Ok(())
}
