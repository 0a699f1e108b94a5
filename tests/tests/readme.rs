//! Runs the fenced blocks of the README, as a newcomer would, against a node of its own.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use walrus_tests::{Node, NodeSettings};

/// A fenced block: what its info string says, and its text.
struct Block {
    info: String,
    text: String,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), true) => inside = false,
            (Some(info), false) => {
                found.push(Block { info: info.trim().to_owned(), text: String::new() });
                inside = true;
            }
            (None, true) => {
                let block = found.last_mut().expect("a line inside has its block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    found
}

fn readme() -> Result<Vec<Block>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    Ok(blocks(&std::fs::read_to_string(path)?))
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("-h").output().is_ok()
}

/// Runs a block's text and answers what it printed.
fn run(program: &str, text: &str) -> Result<String> {
    let output = Command::new(program).arg("-c").arg(text).output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{text}\n-- printed:\n{printed}\n-- errors:\n{errors}");
    Ok(printed)
}

#[test]
fn the_two_commands_are_the_documented_ones() -> Result<()> {
    let blocks = readme()?;
    let text = |info: &str| {
        let block = blocks.iter().find(|block| block.info == info);
        block.map(|block| block.text.trim()).with_context(|| format!("the README has no {info}"))
    };
    assert_eq!(text("sh run")?, "cargo run --release -p walrusd");
    assert_eq!(text("sh test")?, "cargo test --workspace");
    Ok(())
}

#[test]
fn the_tour_works_as_it_is_written() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let client = node.client_address();
    let mut ran = 0;
    for block in readme()?.into_iter().filter(|block| block.info.ends_with(" tour")) {
        // The node of this test has ports of its own.
        let text = block
            .text
            .replace("127.0.0.1:9091", &client.to_string())
            .replace("(\"127.0.0.1\", 9091)", &format!("(\"{}\", {})", client.ip(), client.port()))
            .replace("127.0.0.1:7071", &node.admin_address().to_string());
        let program = if block.info.starts_with("python") { "python3" } else { "sh" };
        let needs = ["kcat", "curl", "python3"];
        let missing = needs
            .iter()
            .find(|tool| (text.contains(**tool) || program == **tool) && !is_there(tool));
        if let Some(missing) = missing {
            println!("skipped a block: {missing} is not on this machine");
            continue;
        }
        let printed = run(program, &text)?;
        println!("{printed}");
        if text.contains("kcat") {
            ensure!(printed.contains("hello, log"), "the record did not come back: {printed}");
        }
        if text.contains("PUT jobs") {
            ensure!(printed.contains("b'OK first job'"), "GET did not answer it: {printed}");
        }
        ran += 1;
    }
    println!("{ran} blocks ran");
    Ok(())
}
