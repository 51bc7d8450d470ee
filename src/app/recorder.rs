//! Room `app`: writes down what the books take in, for a process after this one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::state::{Frame, Owner, Story, snapshot};
use crate::clock::Instant;
use crate::correlate::{Correlator, Leases, Observation, PartitionName, PublisherId};
use crate::journal::{Log, Teller};
use crate::stats::Stats;

/// What is to be written down beside what was observed.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) story: Option<Story>,
    /// Publishers that are about to begin, and the sequence that each gives out next.
    pub(super) ready: Vec<(PublisherId, u64)>,
}

/// The state of a run on its way to disk.
pub(super) struct Recorder {
    owner: Owner,
    leases: Arc<Leases>,
    names: Vec<PartitionName>,
    story: Story,
    teller: Teller,
    log: Log,
    /// What the disk said last, which is not said again.
    trouble: Option<String>,
    bytes: Vec<u8>,
}

impl Recorder {
    /// Begins a log behind a snapshot, which `begin` writes. Nobody is leased anything yet: a process that
    /// is killed before it sends leaves nothing in doubt.
    pub(super) fn begin(
        (owner, leases): (Owner, Arc<Leases>),
        (names, story): (Vec<PartitionName>, Story),
        of: (&Correlator, &Stats),
        teller: Teller,
        begin: impl FnOnce(&[u8], Teller) -> io::Result<Log>,
    ) -> io::Result<Self> {
        let bytes = snapshot(&owner, &leases, (&names, &story), of).map_err(io::Error::other)?;
        let log = begin(&bytes, teller.clone())?;
        Ok(Self { owner, leases, names, story, teller, log, trouble: None, bytes: Vec::new() })
    }

    /// Writes down what one tick takes in, before anything follows from it, and grants the leases that
    /// are due by it.
    pub(super) fn record(
        &mut self,
        (published, received): (&[Observation], &[Observation]),
        judged: Option<Instant>,
        (names, news): (Vec<PartitionName>, News),
    ) -> io::Result<()> {
        let News { story, ready } = news;
        let mut next: BTreeMap<PublisherId, u64> = ready.into_iter().collect();
        for observation in published {
            if let &Observation::Offered { publisher, sequence, .. } = observation {
                next.insert(publisher, sequence + 1);
            }
        }
        let due = next.into_iter();
        let leases: Vec<_> = due
            .filter_map(|(publisher, next)| Some((publisher, self.leases.due(publisher, next)?)))
            .collect();
        let frame = Frame {
            published,
            received,
            judged,
            leases: &leases,
            names: &names,
            story: story.as_ref(),
        };
        self.bytes.clear();
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(&frame, bytes).map_err(io::Error::other)?;
        self.log.append(&self.bytes)?;
        for (publisher, end) in leases {
            self.leases.grant(publisher, end);
        }
        self.names.extend(names);
        self.story = story.unwrap_or_else(|| std::mem::take(&mut self.story));
        Ok(())
    }

    /// Whether it is time to begin anew behind a snapshot.
    pub(super) fn is_long(&self) -> bool {
        self.log.is_long()
    }

    /// Begins anew behind a snapshot.
    pub(super) fn renew(&mut self, correlator: &Correlator, stats: &Stats) -> io::Result<()> {
        let told = (self.names.as_slice(), &self.story);
        let bytes = snapshot(&self.owner, &self.leases, told, (correlator, stats));
        self.log.renew(&bytes.map_err(io::Error::other)?)
    }

    /// What the disk says against state being forced to it, where that is news.
    pub(super) fn take_trouble(&mut self) -> Option<String> {
        let trouble = self.teller.take_trouble()?;
        let is_news = self.trouble.replace(trouble.clone()).as_ref() != Some(&trouble);
        is_news.then_some(trouble)
    }

    /// Removes the state and lets publishers go on without leases.
    pub(super) fn abandon(self) -> io::Result<()> {
        self.leases.end();
        self.log.abandon()
    }
}
