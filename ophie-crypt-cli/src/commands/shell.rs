//! Completions and the manual page, from the command line as clap knows it.

use clap::CommandFactory;

use crate::{arguments::Arguments, output::Output};

pub(super) fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "ophie-crypt", &mut script);
    Output::raw(&script);
}

/// One page with all subcommands.
pub(super) fn man() {
    let mut page = Vec::new();
    let mut command = Arguments::command();
    command.build();
    add(&command, &mut page);
    Output::raw(&page);
}

fn add(command: &clap::Command, page: &mut Vec<u8>) {
    if command.get_name() == "help" {
        return;
    }
    let man = clap_mangen::Man::new(command.clone());
    man.render(page).ok(); // into memory, which takes all
    for sub in command.get_subcommands() {
        add(sub, page);
    }
}
