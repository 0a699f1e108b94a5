//! Ends the console when its terminal is gone.
//!
//! Neither reading keys nor drawing notices that in time, and a reader that is told "nothing" over
//! and over takes a whole core. A thread that does nothing but wait for the hang-up does.

use std::{thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

/// The status of a program that a hang-up ended: 128 and SIGHUP's number.
const HUNG_UP: i32 = 129;

/// Starts the guard.
///
/// # Errors
/// What starting a thread said.
pub(super) fn guard() -> std::io::Result<()> {
    drop(thread::Builder::new().name("hangup".to_owned()).spawn(watch)?);
    Ok(())
}

fn watch() {
    let input = std::io::stdin();
    loop {
        let mut watched = [PollFd::new(&input, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) => {
                let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
                if watched[0].revents().intersects(gone) {
                    // There is nothing left to restore, and nobody to tell.
                    std::process::exit(HUNG_UP);
                }
            }
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
        thread::sleep(Duration::from_millis(50));
    }
}
