//! The man page: clap's view of the flags, and every setting of the file.

use std::io;

use clap::CommandFactory as _;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{Args, Config, print::shown};

/// Writes `walrusd.1`.
///
/// # Errors
/// What writing said.
pub fn man_page(out: &mut dyn io::Write) -> io::Result<()> {
    let man = Man::new(Args::command()).source(concat!("walrusd ", env!("CARGO_PKG_VERSION")));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    man.render_subcommands_section(out)?;
    settings().to_writer(out)?;
    man.render_extra_section(out)?;
    man.render_version_section(out)?;
    out.flush()
}

fn settings() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["SETTINGS"]);
    roff.text([roman(
        "The file given with --config is YAML. A setting's name is section and key, joined by a \
         point here and by a line break and two blanks there.",
    )]);
    for one in Config::default().listed() {
        roff.control("TP", []);
        roff.text([bold(one.key)]);
        let names: Vec<&str> = [one.flag, one.env].into_iter().flatten().collect();
        let names =
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let text = format!(
            "{}{names}. Must be {}. Default: {}.",
            one.about,
            one.allowed,
            shown(&one.default)
        );
        roff.text([roman(text)]);
    }
    roff
}
