//! Gives a text to the desktop's clipboard, by the program that the desktop has for it.
//!
//! A terminal that follows OSC 52 takes a text by itself, over SSH too, but many do not and none
//! says so. Where the console runs on the machine with the screen, one of these programs can be
//! asked, and it says whether it took the text.

use std::{
    io::{self, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A program that took no text for so long is ended.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The longest text that a program is given.
pub(super) const TEXT_MAX: usize = 8 << 20;

/// A program, and what it is told to read its input into the clipboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    name: &'static str,
    arguments: &'static [&'static str],
}

const WAYLAND: &[Program] = &[Program { name: "wl-copy", arguments: &[] }];
const X11: &[Program] = &[
    Program { name: "xclip", arguments: &["-selection", "clipboard", "-in"] },
    Program { name: "xsel", arguments: &["--clipboard", "--input"] },
];
const MACOS: &[Program] = &[Program { name: "pbcopy", arguments: &[] }];

/// The programs to try, in their order, by what the environment says. None over SSH, where the
/// screen that they know is not the one that is looked at.
pub(super) fn programs(is_set: impl Fn(&str) -> bool) -> Vec<Program> {
    if is_set("SSH_CONNECTION") || is_set("SSH_TTY") {
        return Vec::new();
    }
    let of = |is_there: bool, programs: &[Program]| {
        if is_there { programs.to_vec() } else { Vec::new() }
    };
    [
        of(is_set("WAYLAND_DISPLAY"), WAYLAND),
        of(is_set("DISPLAY"), X11),
        of(cfg!(target_os = "macos"), MACOS),
    ]
    .concat()
}

/// Gives `text` to the first of `programs` that takes it, and says which.
pub(super) fn give(text: &str, programs: &[Program]) -> Option<&'static str> {
    let took = programs.iter().find(|program| give_to(text, program).is_ok())?;
    Some(took.name)
}

fn give_to(text: &str, program: &Program) -> io::Result<()> {
    let mut child = Command::new(program.name)
        .args(program.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // One that does not read must not hold the thread that waits for it: its end ends the writing.
    let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let text = text.to_owned();
    let writes = move || input.write_all(text.as_bytes());
    let writing = thread::Builder::new().name("copied".to_owned()).spawn(writes);
    let ended = ended(&mut child);
    writing?.join().map_err(|_panic| io::ErrorKind::Other)??;
    if ended? { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
}

/// Whether the program ended well, and in time.
fn ended(child: &mut Child) -> io::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_desktop_says_which_programs_there_may_be() {
        for (set, expected) in [
            (&["DISPLAY", "WAYLAND_DISPLAY"][..], &["wl-copy", "xclip", "xsel"][..]),
            (&["DISPLAY"], &["xclip", "xsel"]),
            (&["WAYLAND_DISPLAY"], &["wl-copy"]),
            (&["DISPLAY", "SSH_CONNECTION"], &[]),
            (&["WAYLAND_DISPLAY", "SSH_TTY"], &[]),
        ] {
            let programs = programs(|name| set.contains(&name));
            let names: Vec<&str> =
                programs.iter().map(|one| one.name).filter(|name| *name != "pbcopy").collect();
            assert_eq!(names, expected, "{set:?}");
        }
    }

    /// `cat` reads all, `false` reads nothing and fails, and what is not there is passed over.
    #[test]
    fn the_first_program_that_takes_the_text_is_told() {
        let program = |name, arguments| Program { name, arguments };
        let (cat, no) = (program("cat", &[]), program("false", &[]));
        let missing = program("walrus-has-no-such-program", &[]);
        let large = "x".repeat(1 << 20);
        for (programs, expected) in [
            (&[cat][..], Some("cat")),
            (&[missing, no, cat], Some("cat")),
            (&[missing, no], None),
            (&[], None),
        ] {
            assert_eq!(give(&large, programs), expected);
        }
        let text = program("sh", &["-c", "test \"$(cat)\" = orders/0"]);
        assert_eq!((give("orders/0", &[text]), give("orders/1", &[text])), (Some("sh"), None));
    }

    #[test]
    fn a_program_that_never_reads_is_ended() {
        let stuck = Program { name: "sleep", arguments: &["600"] };
        assert_eq!(give(&"x".repeat(1 << 20), &[stuck]), None);
    }
}
