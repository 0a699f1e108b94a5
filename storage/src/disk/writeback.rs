//! `sync_file_range`, which no safe crate offers: the kernel begins to write dirty pages back and
//! nobody waits for it.

#![expect(unsafe_code, reason = "one system call that takes numbers")]

use std::{fs::File, os::fd::AsRawFd as _};

/// Begins to write `bytes` bytes from `at` on back to the disk. Whether that fails is told by the
/// next flush of the file.
pub(super) fn begin(file: &File, at: u64, bytes: u64) {
    let (Ok(at), Ok(bytes)) = (libc::off64_t::try_from(at), libc::off64_t::try_from(bytes)) else {
        return;
    };
    let fd = file.as_raw_fd();
    // SAFETY: the call takes three numbers and a descriptor, which `file` keeps open for as long
    // as it lasts; it touches no memory of this process.
    let _hint = unsafe { libc::sync_file_range(fd, at, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}
