//! Room `subscribe`: what the subscribers of a path listen to, and on which thread each is.

use std::sync::Arc;
use std::time::Duration;

use super::panel::Panel;
use super::subscriber::Subscriber;
use crate::correlate::{Audience, PathId, Qos, Receive};
use crate::wire::{Client, Endpoint, Mute, Sending, Session};

/// How often a judge pings the broker: so long a loss waits for its verdict at most.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// How often a witness does, only to stay connected.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How many topic filters go into one SUBSCRIBE at most, and how many bytes of them: brokers bound
/// both.
const FILTERS_MAX: usize = 64;
const FILTER_BYTES_MAX: usize = 4 * 1_024;

/// The subscribers of a path.
#[derive(Clone, Debug)]
pub struct Config {
    /// Their path.
    pub path: PathId,
    /// The broker.
    pub endpoint: Endpoint,
    /// The connection of the first one; the client ids of the others have a number behind, and they wait
    /// so often as long before they connect.
    pub session: Session,
    /// The topic filter that each of them subscribes to, unless they have topics of their own.
    pub filter: String,
    /// The topics of all publishers, by their indices, which subscribers that have their own share
    /// out; else none.
    pub topics: Arc<[String]>,
    /// The highest QoS of the publishers.
    pub qos: Qos,
    /// How many they are, and what each is sent.
    pub audience: Audience,
    /// How late at most they look at what has come, so that more of it is looked at together.
    pub tick: Duration,
}

impl Config {
    /// The same with one subscriber to everything that these are sent.
    #[must_use]
    pub fn alone(self) -> Self {
        let audience = Audience { count: 1, ..self.audience };
        Self { audience, topics: Arc::default(), ..self }
    }

    /// The filters of one of them.
    fn filters(&self, number: u32) -> impl Iterator<Item = &str> {
        let own = self.topics.iter().skip(number as usize).step_by(self.audience.count as usize);
        let whole = self.topics.is_empty().then_some(self.filter.as_str());
        own.map(String::as_str).chain(whole)
    }

    /// What is to go into one SUBSCRIBE of one of them, which has asked for so many filters already.
    pub(super) fn next_filters(&self, number: u32, asked: usize) -> Vec<&str> {
        let mut bytes = 0;
        let fit = self.filters(number).skip(asked).take(FILTERS_MAX).enumerate();
        fit.take_while(|(place, filter)| {
            bytes += filter.len();
            *place == 0 || bytes <= FILTER_BYTES_MAX
        })
        .map(|(_, filter)| filter)
        .collect()
    }

    /// Whether one of them judges the lane.
    pub(super) fn is_judge(&self, number: u32) -> bool {
        number < self.audience.judges()
    }

    fn session(&self, number: u32) -> Session {
        let mut session = self.session.clone();
        if number > 0 {
            session.client_id = format!("{}{number}", session.client_id);
        }
        session.connect_after *= number;
        session.keep_alive = if self.is_judge(number) { PING_EVERY } else { KEEP_ALIVE };
        session
    }
}

/// The subscribers of one thread.
#[derive(Debug, Default)]
pub struct Share(Vec<(Arc<Panel>, u32)>);

impl Share {
    /// How often their thread wakes at most: as the most exact of them wants it.
    pub(super) fn tick(&self) -> Duration {
        self.0.iter().map(|(panel, _)| panel.config().tick).min().unwrap_or_default()
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = Client<Mute>> {
        self.0.iter().map(|(panel, number)| {
            let config = panel.config();
            let sending = Sending { topic: String::new(), qos: Qos::AtMostOnce, source: Mute };
            Client::new(config.endpoint.clone(), config.session(*number), sending)
        })
    }

    pub(super) fn into_subscribers(self) -> impl Iterator<Item = Subscriber> {
        self.0.into_iter().map(|(panel, number)| Subscriber::new(panel, number))
    }
}

/// Deals subscribers to threads: those that judge a lane alone to one, those of loads to another, and the
/// others to as many more as are given at most.
#[must_use]
pub fn deal(configs: Vec<Config>, threads: usize) -> Vec<Share> {
    // A judge at a low rate must not wait for what comes of a load.
    let (mut exact, mut loud, mut crowd) = (Share::default(), Share::default(), Vec::new());
    for config in configs {
        let panel = Arc::new(Panel::new(config));
        let Audience { count, receive } = panel.config().audience;
        let first = u32::from(receive == Receive::All || count == 1).min(count);
        let alone = if panel.config().tick.is_zero() { &mut exact } else { &mut loud };
        alone.0.extend((0..first).map(|number| (Arc::clone(&panel), number)));
        crowd.extend((first..count).map(|number| (Arc::clone(&panel), number)));
    }
    let share = crowd.len().div_ceil(threads.max(1)).max(1);
    let mut shares: Vec<Share> = crowd.chunks(share).map(|chunk| Share(chunk.to_vec())).collect();
    shares.extend([loud, exact].into_iter().filter(|share| !share.0.is_empty()));
    shares
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::samples;

    fn config(path: u8, clients: u32, audience: Audience) -> Config {
        let topics = match audience.receive {
            Receive::Own => (0..clients).map(|client| format!("t/{client}")).collect(),
            Receive::All | Receive::Share => Arc::default(),
        };
        let filter = "t/+".to_owned();
        Config {
            path: PathId(path),
            endpoint: samples::endpoint("localhost", 1_883),
            session: samples::session("s"),
            filter,
            topics,
            qos: Qos::AtMostOnce,
            audience,
            tick: Duration::ZERO,
        }
    }

    /// All filters of one of them, packet by packet.
    fn asked(config: &Config, number: u32) -> Vec<Vec<String>> {
        let (mut packets, mut asked) = (Vec::new(), 0);
        loop {
            let next = config.next_filters(number, asked);
            if next.is_empty() {
                return packets;
            }
            asked += next.len();
            packets.push(next.into_iter().map(str::to_owned).collect());
        }
    }

    proptest! {
        #[test]
        fn each_client_has_exactly_one_subscriber_of_its_own(
            clients in 1_u32..1_000,
            share in 0.0..1.0_f64,
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 1,000")]
            let count = (f64::from(clients) * share) as u32 + 1;
            let count = count.min(clients);
            let config = config(0, clients, Audience { count, receive: Receive::Own });
            let mut heard = Vec::new();
            for number in 0..count {
                let packets = asked(&config, number);
                prop_assert!(!packets.is_empty(), "{number} has nothing to listen to");
                prop_assert!(packets.iter().all(|packet| packet.len() <= FILTERS_MAX));
                heard.extend(packets.concat());
            }
            heard.sort_unstable();
            let mut all: Vec<String> = config.topics.to_vec();
            all.sort_unstable();
            prop_assert_eq!(heard, all);
        }

        #[test]
        fn everybody_is_on_one_thread(
            paths in prop::collection::vec((0_u8..3, 1_u32..50), 1..5),
            threads in 0_usize..6,
        ) {
            let receive = |kind| [Receive::All, Receive::Share, Receive::Own][usize::from(kind)];
            let audiences = paths.iter().map(|&(kind, count)| Audience { count, receive: receive(kind) });
            let configs: Vec<Config> =
                (0..).zip(audiences).map(|(path, audience)| config(path, 50, audience)).collect();
            let all: BTreeSet<(u8, u32)> = configs
                .iter()
                .flat_map(|it| (0..it.audience.count).map(|number| (it.path.0, number)))
                .collect();
            let shares = deal(configs, threads);
            prop_assert!(shares.len() <= threads.max(1) + 2);
            prop_assert!(shares.iter().all(|share| !share.0.is_empty()));
            let dealt = shares.iter().flat_map(|share| &share.0);
            let dealt: Vec<(u8, u32)> =
                dealt.map(|(panel, number)| (panel.config().path.0, *number)).collect();
            prop_assert_eq!(dealt.len(), all.len());
            prop_assert_eq!(dealt.into_iter().collect::<BTreeSet<_>>(), all);
        }
    }

    #[test]
    fn long_topics_share_fewer_packets() {
        let mut config = config(0, 3, Audience { count: 1, receive: Receive::Own });
        config.topics = ["a".repeat(5_000), "b".repeat(3_000), "c".repeat(2_000)].into();
        let lengths = |packet: Vec<String>| packet.iter().map(String::len).collect::<Vec<_>>();
        let packets: Vec<_> = asked(&config, 0).into_iter().map(lengths).collect();
        assert_eq!(packets, [vec![5_000], vec![3_000], vec![2_000]]);
    }

    #[test]
    fn who_judges_alone_has_nobody_beside_it_that_does_not() {
        let all = config(0, 9, Audience { count: 9, receive: Receive::All });
        let one = config(1, 9, Audience::default());
        let loud = Config { tick: Duration::from_micros(250), ..one.clone() };
        assert_eq!(deal(vec![loud.clone()], 2)[0].tick(), loud.tick);
        let ticks = deal(vec![loud.clone(), one.clone()], 2);
        let ticks: Vec<Duration> = ticks.iter().map(Share::tick).collect();
        assert_eq!(ticks, [loud.tick, Duration::ZERO]);
        let shares = deal(vec![all.clone(), one], 2);
        let numbers = |share: &Share| {
            share
                .0
                .iter()
                .map(|(panel, number)| (panel.config().path.0, *number))
                .collect::<Vec<_>>()
        };
        assert_eq!(shares.len(), 3);
        assert_eq!(numbers(&shares[2]), [(0, 0), (1, 0)]);
        assert!(all.is_judge(0) && !all.is_judge(1));
        let sessions = [0, 8].map(|number| all.session(number));
        assert_eq!(sessions.each_ref().map(|it| it.client_id.as_str()), ["s", "s8"]);
        assert_eq!(sessions.map(|it| it.keep_alive), [PING_EVERY, KEEP_ALIVE]);
        assert_eq!(deal(vec![all.alone()], 2).len(), 1);
    }
}
