//! Room `app`: what of the news about connections and troubles goes into the log, and what is held back.
//!
//! # Design
//!
//! One outage is one line when it begins, for each reason, and one when it is over, however many
//! clients it hits. What flaps may not flood the log: only so many lines about one thing may come
//! close together. What is held back is counted, and the log's last word is made true as soon as
//! there is room for it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Instant;
use crate::telemetry::Component;

/// How many lines about the connections of one path to one system may come in a [`SPAN`].
const BURST: u32 = 4;
/// See [`BURST`]; also how long a warning is not repeated at first.
const SPAN: Duration = Duration::from_secs(30);
/// A warning that keeps coming is repeated ever more seldom, and this seldom at last.
const REPEAT_MAX: Duration = Duration::from_hours(1);
/// How many reasons of one outage are told apart from new ones.
const REASONS_MAX: usize = 16;

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Lines that were not written since the one before.
    pub(super) held_back: u64,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A system was there at once.
    Connected,
    /// Something is wrong.
    Trouble,
    /// A system is back after so long.
    Back(Duration),
}

/// Lets few lines through and counts the others.
#[derive(Debug, Default)]
struct Gate {
    since: Instant,
    lines: u32,
    held_back: u64,
}

impl Gate {
    /// Lets a line through where there is room: how many were held back before it.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if now >= self.since + SPAN {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines == BURST {
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

/// What the log says of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Up,
    Away,
}

/// The connections of one path to one system.
#[derive(Debug, Default)]
struct Connections {
    told: Told,
    gate: Gate,
    away_since: Option<Instant>,
    /// How long the last outage was.
    away_for: Duration,
    /// What was said of the outage that goes on.
    reasons: Vec<String>,
    /// What could not be said of it yet: whose connection it is, and what is wrong.
    unsaid: Option<(String, String)>,
}

impl Connections {
    fn down(&mut self, (who, reason): (String, String), now: Instant) -> Option<Line> {
        self.away_since.get_or_insert(now);
        if self.told == Told::Away && self.reasons.contains(&reason) {
            self.gate.held_back += 1;
            return None;
        }
        self.unsaid = Some((who, reason));
        let line = self.catch_up(now);
        self.gate.held_back += u64::from(line.is_none());
        line
    }

    fn up(&mut self, now: Instant) -> Option<Line> {
        self.unsaid = None;
        if let Some(since) = self.away_since.take() {
            self.away_for = now.saturating_since(since);
        }
        let line = self.catch_up(now);
        self.gate.held_back += u64::from(line.is_none() && self.told == Told::Away);
        line
    }

    /// Says what holds now, where that was not said and may be.
    fn catch_up(&mut self, now: Instant) -> Option<Line> {
        let is_away = self.away_since.is_some();
        if is_away {
            let unsaid = self.unsaid.take()?;
            let Some(held_back) = self.gate.pass(now) else {
                self.unsaid = Some(unsaid);
                return None;
            };
            let (who, reason) = unsaid;
            let text = format!("{who}: {reason}; trying again");
            if self.reasons.len() == REASONS_MAX {
                self.reasons.clear();
            }
            self.reasons.push(reason);
            self.told = Told::Away;
            return Some(Line { kind: Kind::Trouble, text, held_back });
        }
        if self.told != Told::Away {
            return None;
        }
        let held_back = self.gate.pass(now)?;
        self.told = Told::Up;
        self.reasons.clear();
        let text = format!("connected again after {:.1} s", self.away_for.as_secs_f64());
        Some(Line { kind: Kind::Back(self.away_for), text, held_back })
    }
}

/// A warning that was given.
#[derive(Debug)]
struct Warned {
    /// It is not repeated before.
    next: Instant,
    /// How long it is not repeated.
    pause: Duration,
    /// When there was cause for it last.
    last: Instant,
    held_back: u64,
}

/// What was said, and what is still to be.
#[derive(Debug, Default)]
pub(super) struct News {
    connections: BTreeMap<(u8, Component), Connections>,
    warned: BTreeMap<(u8, &'static str), Warned>,
}

impl News {
    /// A connection of a path to a system is gone or could not be made: whose, and why.
    pub(super) fn down(
        &mut self,
        of: (u8, Component),
        (who, reason): (String, String),
        now: Instant,
    ) -> Option<Line> {
        self.connections.entry(of).or_default().down((who, reason), now)
    }

    /// All connections of a path to a system stand.
    pub(super) fn up(&mut self, of: (u8, Component), now: Instant) -> Option<Line> {
        let connections = self.connections.entry(of).or_default();
        if connections.told == Told::Nothing && connections.away_since.is_none() {
            connections.told = Told::Up;
            let text = "connected".to_owned();
            return Some(Line { kind: Kind::Connected, text, held_back: 0 });
        }
        connections.up(now)
    }

    /// What was held back and may be said now.
    pub(super) fn catch_up(&mut self, now: Instant) -> Vec<((u8, Component), Line)> {
        let all = self.connections.iter_mut();
        all.filter_map(|(&of, connections)| Some((of, connections.catch_up(now)?))).collect()
    }

    /// There is cause for a warning of this kind on a path.
    pub(super) fn warn(
        &mut self,
        of: (u8, &'static str),
        text: String,
        now: Instant,
    ) -> Option<Line> {
        let line = |held_back| Some(Line { kind: Kind::Trouble, text, held_back });
        let Some(warned) = self.warned.get_mut(&of) else {
            let warned = Warned { next: now + SPAN, pause: SPAN, last: now, held_back: 0 };
            self.warned.insert(of, warned);
            return line(0);
        };
        let quiet_for = now.saturating_since(warned.last);
        warned.last = now;
        if now < warned.next {
            warned.held_back += 1;
            return None;
        }
        let goes_on = quiet_for < warned.pause;
        warned.pause = if goes_on { (warned.pause * 2).min(REPEAT_MAX) } else { SPAN };
        warned.next = now + warned.pause;
        line(std::mem::take(&mut warned.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MQTT: (u8, Component) = (0, Component::Mqtt);
    const REFUSED: &str = "connection refused";

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn down(news: &mut News, reason: &str, now: Instant) -> Option<Line> {
        news.down(MQTT, ("publisher 0".into(), reason.into()), now)
    }

    fn texts<L: IntoIterator<Item = Line>>(lines: L) -> Vec<(String, u64)> {
        lines.into_iter().map(|line| (line.text, line.held_back)).collect()
    }

    fn said(text: &str, held_back: u64) -> Vec<(String, u64)> {
        vec![(text.to_owned(), held_back)]
    }

    #[test]
    fn an_outage_is_one_line_for_each_reason_and_one_when_it_is_over() {
        let mut news = News::default();
        assert_eq!(texts(news.up(MQTT, at(0))), said("connected", 0));
        assert_eq!(
            texts(down(&mut news, REFUSED, at(1))),
            said("publisher 0: connection refused; trying again", 0)
        );
        for second in 2..50 {
            assert_eq!(down(&mut news, REFUSED, at(second)), None);
        }
        assert_eq!(
            texts(down(&mut news, "no route", at(50))),
            said("publisher 0: no route; trying again", 48)
        );
        let other = ("publisher 7".into(), REFUSED.into());
        assert_eq!(news.down(MQTT, other, at(51)), None, "another client, the same outage");
        assert_eq!(texts(news.up(MQTT, at(61))), said("connected again after 60.0 s", 1));
        assert_eq!(news.catch_up(at(1_000)), []);
        assert!(down(&mut news, REFUSED, at(2_000)).is_some(), "the next one is news");
    }

    #[test]
    fn a_system_that_is_not_there_at_first_is_an_outage_too() {
        let mut news = News::default();
        assert!(down(&mut news, REFUSED, at(1)).is_some());
        let line = news.up(MQTT, at(5)).unwrap();
        assert_eq!(line.kind, Kind::Back(Duration::from_secs(4)));
    }

    #[test]
    fn what_flaps_writes_few_lines_and_the_last_one_is_true() {
        let mut news = News::default();
        let mut lines = Vec::new();
        lines.extend(news.up(MQTT, at(0)));
        for second in 1..=60 {
            for (of, line) in news.catch_up(at(second)) {
                assert_eq!(of, MQTT);
                lines.push(line);
            }
            lines.extend(down(&mut news, REFUSED, at(second)));
            lines.extend(news.up(MQTT, at(second) + Duration::from_millis(500)));
        }
        assert!(lines.len() <= 1 + 2 * BURST as usize + 2, "{lines:?}");
        lines.extend(news.catch_up(at(200)).into_iter().map(|(_, line)| line));
        assert!(lines.last().unwrap().text.starts_with("connected again after 0.5 s"), "{lines:?}");
        assert_eq!(news.catch_up(at(300)), []);
        let told = lines.iter().skip(1).map(|line| 1 + line.held_back).sum::<u64>();
        assert!((60..=120).contains(&told), "each of 60 outages is told or counted: {told}");
    }

    #[test]
    fn an_outage_that_goes_on_is_said_in_the_end() {
        let mut news = News::default();
        for second in 0..4 {
            down(&mut news, &format!("reason {second}"), at(second));
        }
        assert_eq!(down(&mut news, "bad password", at(4)), None, "no room");
        assert_eq!(news.catch_up(at(5)), []);
        let lines = news.catch_up(at(31));
        assert_eq!(
            texts(lines.into_iter().map(|(_, line)| line)),
            said("publisher 0: bad password; trying again", 1)
        );
    }

    #[test]
    fn a_warning_is_known_by_its_kind_and_repeated_ever_more_seldom() {
        let mut news = News::default();
        let of = (0, "gone");
        let mut written = Vec::new();
        for second in 0..7_200 {
            if let Some(line) = news.warn(of, format!("offset {second} is gone"), at(second)) {
                written.push((second, line.held_back));
            }
        }
        assert_eq!(
            written,
            [
                (0, 0),
                (30, 29),
                (90, 59),
                (210, 119),
                (450, 239),
                (930, 479),
                (1_890, 959),
                (3_810, 1_919)
            ]
        );
        assert!(news.warn((1, "gone"), String::new(), at(7_200)).is_some(), "another path");
        let after = at(7_200) + REPEAT_MAX * 2;
        assert_eq!(
            news.warn(of, "again".into(), after).map(|line| line.text),
            Some("again".into())
        );
        assert_eq!(news.warn(of, "again".into(), after + Duration::from_secs(1)), None);
        assert!(news.warn(of, "again".into(), after + SPAN).is_some());
    }
}
