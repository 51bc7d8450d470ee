//! Room `app`: writes down what the books take in, for a process after this one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::clocks::Leaders;
use super::state::{Frame, Owner, Story, snapshot};
use crate::clock::Instant;
use crate::correlate::{Correlator, Leases, Observation, PartitionName, PublisherId, Row};
use crate::journal::{Log, Teller};
use crate::stats::{Clocks, Stats};

/// What is to be written down beside what was observed.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) story: Option<Story>,
    /// Publishers that are about to begin.
    pub(super) ready: Vec<PublisherId>,
    /// Partitions that are read from now on.
    pub(super) names: Vec<PartitionName>,
    pub(super) leaders: Vec<Leaders>,
}

/// What the books hold, of which a snapshot is made.
#[derive(Clone, Copy)]
pub(super) struct Holdings<'a> {
    pub(super) correlator: &'a Correlator,
    pub(super) stats: &'a Stats,
    pub(super) clocks: &'a Clocks,
}

/// The state of a run on its way to disk.
pub(super) struct Recorder {
    owner: Owner,
    leases: Arc<Leases>,
    names: Vec<PartitionName>,
    story: Story,
    teller: Teller,
    log: Log,
    /// Publishers that have begun.
    begun: BTreeSet<PublisherId>,
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
        of: Holdings<'_>,
        teller: Teller,
        begin: impl FnOnce(&[u8], Teller) -> io::Result<Log>,
    ) -> io::Result<Self> {
        let bytes = snapshot(&owner, &leases, (&names, &story), of).map_err(io::Error::other)?;
        let log = begin(&bytes, teller.clone())?;
        let (begun, trouble, bytes) = (BTreeSet::new(), None, Vec::new());
        Ok(Self { owner, leases, names, story, teller, log, begun, trouble, bytes })
    }

    /// Writes down what one tick takes in, before anything follows from it, and grants the leases that
    /// are due by it. After an error nothing more may be written before [`Recorder::renew`].
    pub(super) fn record(
        &mut self,
        (published, received): (&[Row], &[Observation]),
        judged: Option<Instant>,
        news: News,
        correlator: &Correlator,
    ) -> io::Result<()> {
        let leases = self.due(published, &news.ready, correlator);
        let News { story, names, leaders, .. } = &news;
        let story = story.as_ref();
        let frame = Frame { published, received, judged, leases: &leases, names, leaders, story };
        self.bytes.clear();
        let bytes = std::mem::take(&mut self.bytes);
        let written = postcard::to_extend(&frame, bytes).map_err(io::Error::other);
        let written = written.and_then(|bytes| {
            self.bytes = bytes;
            self.log.append(&self.bytes)
        });
        self.note(news);
        written?;
        for (publisher, end) in leases {
            self.leases.grant(publisher, end);
        }
        Ok(())
    }

    /// Leases that are due to who has given out sequences, or is about to begin.
    fn due(
        &mut self,
        published: &[Row],
        ready: &[PublisherId],
        correlator: &Correlator,
    ) -> Vec<(PublisherId, u64)> {
        let first = ready.iter().map(|&publisher| (publisher, correlator.next_sequence(publisher)));
        let mut next: BTreeMap<PublisherId, u64> = first.collect();
        for row in published {
            if let Observation::Offered { publisher, sequence, .. } = row.first {
                next.insert(publisher, sequence + u64::from(row.count()));
            }
        }
        let due = next.into_iter();
        due.filter_map(|(publisher, next)| Some((publisher, self.leases.due(publisher, next)?)))
            .collect()
    }

    /// Takes in what is told beside what was observed, for the next snapshot.
    pub(super) fn note(&mut self, news: News) {
        self.begun.extend(news.ready);
        self.names.extend(news.names);
        self.story = news.story.unwrap_or_else(|| std::mem::take(&mut self.story));
    }

    /// Whether it is time to begin anew behind a snapshot.
    pub(super) fn is_long(&self) -> bool {
        self.log.is_long()
    }

    /// Begins anew behind a snapshot.
    pub(super) fn renew(&mut self, of: Holdings<'_>) -> io::Result<()> {
        let told = (self.names.as_slice(), &self.story);
        let bytes = snapshot(&self.owner, &self.leases, told, of);
        self.log.renew(&bytes.map_err(io::Error::other)?)
    }

    /// What the disk says against state being forced to it, where that is news.
    pub(super) fn take_trouble(&mut self) -> Option<String> {
        let trouble = self.teller.take_trouble()?;
        let is_news = self.trouble.replace(trouble.clone()).as_ref() != Some(&trouble);
        is_news.then_some(trouble)
    }

    /// Removes the state and lets publishers go on without being granted leases.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        self.leases.suspend();
        self.log.abandon()
    }

    /// Begins anew after that: behind a snapshot, with publishers on leases that are kept. What the
    /// next frame has to say beside what it was told.
    pub(super) fn resume(&mut self, of: Holdings<'_>) -> io::Result<Vec<PublisherId>> {
        // From here on their ends bound what is given out, so that the snapshot may tell them.
        self.leases.resume();
        let renewed = self.renew(of);
        if renewed.is_err() {
            self.leases.suspend();
        }
        // One that is at its end would wait for a lease that nothing it sends asks for.
        renewed.map(|()| self.begun.iter().copied().collect())
    }
}
