//! What happened last, for whoever looks into a seed that failed.

use std::collections::VecDeque;

/// So many lines are kept.
const LINES_MAX: usize = 60;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: VecDeque<String>,
    /// Tell each line at once as well.
    aloud: bool,
}

impl Trace {
    pub(crate) fn new(aloud: bool) -> Self {
        Self { aloud, ..Self::default() }
    }

    #[expect(clippy::print_stdout, reason = "whoever asked for a trace reads it there")]
    pub(crate) fn note(&mut self, line: String) {
        if self.aloud {
            println!("{line}");
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.into()
    }
}
