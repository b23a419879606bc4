//! How far a long step is: on a terminal, and nowhere else.

use core::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar with rate and remaining time.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(what: &'static str, all: Option<u64>, shown: bool) -> Self {
        let bar = match all {
            Some(all) => ProgressBar::new(all),
            None => ProgressBar::no_length(),
        };
        // indicatif draws nothing where there is no terminal.
        bar.set_draw_target(match shown {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        let template = match all {
            Some(_) => "{msg} {wide_bar} {pos}/{len}, {per_sec}, {eta} left",
            None => "{msg} {spinner} {pos}, {per_sec}, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        if shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    /// So many are done.
    pub(crate) fn done(&self, count: u64) {
        self.0.inc(count);
    }

    /// So many of so many are done.
    pub(crate) fn at(&self, done: u64, all: u64) {
        self.0.set_length(all.max(done));
        self.0.set_position(done);
    }

    /// A handle for callbacks.
    pub(crate) fn handle(&self) -> Self {
        Self(self.0.clone())
    }

    /// What is waited for.
    pub(crate) fn says(&self, what: String) {
        self.0.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
