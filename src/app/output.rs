//! Room `app`: what a person sees while a run lasts.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::clock::Instant;
use crate::report::{LIVE_HEADER, Load, Row, live_rows, plain_line};
use crate::stats::Stats;

/// How often the table is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// How often lines are printed once there is something to say.
const LINES_EVERY: Duration = Duration::from_secs(5);
/// Columns of the table that hold words and not figures.
const WORDS: usize = 3;

/// The part of the terminal that is drawn anew; hidden until a run shows something there.
#[derive(Clone, Debug)]
pub struct Screen(ProgressBar);

impl Default for Screen {
    fn default() -> Self {
        Self(ProgressBar::hidden())
    }
}

impl Screen {
    /// Prints a line on standard output, above what is drawn.
    pub(super) fn print(&self, text: &str) {
        // Nobody reads a closed pipe; the measurement goes on.
        self.0.suspend(|| {
            let _ = writeln!(io::stdout(), "{text}");
        });
    }

    /// Begins to draw on standard error.
    pub(super) fn begin(&self) {
        // A template without a bar: the message is all there is.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            self.0.set_style(style);
        }
        self.0.set_draw_target(ProgressDrawTarget::stderr());
    }

    /// Draws this in the place of what was drawn before.
    pub(super) fn draw(&self, text: String) {
        self.0.set_message(text);
        self.0.tick();
    }

    /// Leaves nothing of what was drawn.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
        self.0.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Log lines go to standard error, above what is drawn.
impl<'a> MakeWriter<'a> for Screen {
    type Writer = Above;

    fn make_writer(&'a self) -> Above {
        Above(self.clone())
    }
}

/// Writes above what is drawn.
#[derive(Debug)]
pub struct Above(Screen);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// How a run shows how it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A table that is drawn anew.
    Table,
    /// Lines, now and then.
    Lines,
    /// Nothing before the summary.
    Quiet,
}

/// Shows how a run goes.
pub(super) struct Output {
    screen: Screen,
    progress: Progress,
    /// How the load of each path goes.
    loads: Vec<Load>,
    next: Instant,
    told: bool,
}

impl Output {
    pub(super) fn new(screen: Screen, progress: Progress, loads: Vec<Load>) -> Self {
        if progress == Progress::Table {
            screen.begin();
        }
        Self { screen, progress, loads, next: Instant::ZERO, told: false }
    }

    /// Whether it is time to show something, so that figures need not be added up in vain.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.progress != Progress::Quiet && now >= self.next
    }

    /// Shows the totals so far.
    pub(super) fn show(&mut self, stats: &Stats, elapsed: Duration, now: Instant) {
        match self.progress {
            Progress::Table => {
                self.next = now + DRAW_EVERY;
                self.screen.draw(table(&live_rows(stats, &self.loads), elapsed));
            }
            Progress::Lines => {
                let arrived = stats
                    .measured()
                    .any(|(path, qos, lane)| stats.lane(path, qos, lane).end_to_end().count() > 0);
                // The first arrival is news; until then there is nothing to say.
                if arrived || self.told {
                    self.screen.print(&plain_line(stats, &self.loads, elapsed));
                    self.next = now + LINES_EVERY;
                    self.told = true;
                } else {
                    self.next = now + DRAW_EVERY;
                }
            }
            Progress::Quiet => (),
        }
    }

    /// Says what the run waits for.
    pub(super) fn wait(&mut self, for_what: String, now: Instant) {
        if self.progress == Progress::Table {
            self.next = now + DRAW_EVERY;
            self.screen.draw(for_what);
        }
    }

    /// Leaves the last table where it is.
    pub(super) fn finish(&self) {
        if self.progress == Progress::Table {
            self.screen.0.abandon();
            self.screen.0.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

fn table(rows: &[Row], elapsed: Duration) -> String {
    let header: Row = LIVE_HEADER.map(str::to_owned);
    let all = || std::iter::once(&header).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = format!("{:.0} s", elapsed.as_secs_f64());
    for row in all() {
        text.push('\n');
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let cell =
                if column < WORDS { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            text.push_str(if column == 0 { "" } else { "  " });
            text.push_str(&cell);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |path: &str, slots: &str| {
            let mut row: Row = LIVE_HEADER.map(|_| "-".to_owned());
            row[0] = path.into();
            row[3] = slots.into();
            row
        };
        let text = table(&[row("a", "1"), row("a-longer-name", "100000000")], Duration::ZERO);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
    }
}
