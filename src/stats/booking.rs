//! Room `stats`: how events become totals.

use crate::clock::Instant;
use crate::correlate::{Arrival, Event, Lane, LateSend, Leg, NotSent, Outcome, PublisherId};

use super::{PathTotals, Stats, series};

impl Stats {
    /// Books what the correlator concluded.
    pub fn apply(&mut self, events: &[Event]) {
        for event in events {
            self.book(event);
            self.remember(event);
            self.note_delivery(event);
        }
    }

    /// Remembers the message of an event, if it went wrong without coming out in its slot's time.
    #[inline]
    fn remember(&mut self, event: &Event) {
        if let Event::Resolved { publisher, arrival: None, .. }
        | Event::Duplicate { publisher, .. }
        | Event::Corrupt { publisher, .. }
        | Event::LateRecovery { publisher, .. } = *event
        {
            self.path_of(publisher).worst.note(event);
        }
    }

    fn book(&mut self, event: &Event) {
        match *event {
            Event::Woken { nanos, .. } => {
                self.lag.record(nanos);
                self.window_lag.record(nanos);
            }
            Event::Offered { publisher, count } => {
                self.publish_of(publisher).offered += u64::from(count);
            }
            Event::Skipped { publisher, cause } => {
                self.publish_of(publisher).not_sent[cause as usize] += 1;
                let refused = u64::from(cause == NotSent::QueueFull);
                self.path_of(publisher).window_refused += refused;
            }
            Event::Published { publisher, count, .. }
            | Event::SentLate { publisher, count, .. } => {
                self.book_sent(publisher, count.into(), event);
            }
            Event::Acknowledged { publisher, .. } => self.publish_of(publisher).acknowledged += 1,
            Event::Resolved { .. } => self.book_outcome(event),
            Event::Timed { publisher, leg, nanos } => {
                self.publish_of(publisher).legs[leg.index()].record(nanos);
            }
            Event::DurabilityGap { publisher, gap } => {
                self.publish_of(publisher).durability_gap.record(gap.nanos());
            }
            Event::Duplicate { publisher, lane, cause, copy, .. } => {
                let totals = self.lane_of(publisher, lane);
                totals.duplicates[cause.index()] += 1;
                totals.note_copy(copy);
            }
            Event::Reordered { publisher, lane, depth } => {
                let totals = self.lane_of(publisher, lane);
                totals.reordered += 1;
                totals.reorder_depth_max = totals.reorder_depth_max.max(depth);
            }
            Event::Corrupt { publisher, lane, .. } => self.lane_of(publisher, lane).corrupt += 1,
            Event::LateRecovery { publisher, lane, was, end_to_end, .. } => {
                let totals = self.lane_of(publisher, lane);
                totals.recovered[was.index()] += 1;
                if let Some(nanos) = end_to_end {
                    totals.window.record(nanos);
                }
            }
            Event::Recovered { publisher, lane } => {
                self.lane_of(publisher, lane).recovered_after_restart += 1;
            }
            // Its outcome follows where there is a lane.
            Event::Rejected { publisher, .. } => self.publish_of(publisher).rejected += 1,
            // A delivery is noted beside.
            Event::Witnessed { .. } => {}
            Event::Negative { publisher, lane } => self.lane_of(publisher, lane).negative += 1,
            Event::Stamp { publisher, carrier, survived } => {
                let index = usize::from(!survived);
                self.publish_of(publisher).stamps[carrier.index()][index] += 1;
            }
            Event::Polled { path, .. }
            | Event::Connected { path, .. }
            | Event::Worked { path, .. }
            | Event::Consumed { path, .. }
            | Event::Foreign { path, .. } => self.paths[usize::from(path.0)].book(event),
            Event::Overflow { publisher } => self.path_of(publisher).overflow += 1,
            Event::Missed { publisher, .. } => self.path_of(publisher).missed += 1,
            Event::Unconfirmed { publisher, .. } => self.path_of(publisher).unconfirmed += 1,
        }
    }

    fn book_sent(&mut self, publisher: PublisherId, count: u64, event: &Event) {
        let totals = self.publish_of(publisher);
        match *event {
            Event::Published { delay, .. } => {
                totals.published += count;
                if let Some(nanos) = delay.nanos() {
                    totals.legs[Leg::PublishDelay.index()].record_many(nanos, count);
                }
                self.path_of(publisher).window_sends.0 += count;
            }
            Event::SentLate { cause, .. } => {
                totals.sent_late[cause as usize] += count;
                if cause == LateSend::Probe {
                    self.path_of(publisher).window_sends.1 += count;
                }
            }
            _ => (),
        }
    }

    fn book_outcome(&mut self, event: &Event) {
        let Event::Resolved { publisher, lane, outcome, ref departure, ref arrival, .. } = *event
        else {
            return;
        };
        if let Some(arrival) = arrival {
            let at = departure.intended.offset(arrival.end_to_end);
            self.book_arrival(publisher, (lane, outcome), arrival, (at, event));
        } else {
            self.lane_of(publisher, lane).announced[outcome.index()] += 1;
        }
    }

    fn book_arrival(
        &mut self,
        id: PublisherId,
        (lane, outcome): (Lane, Outcome),
        arrival: &Arrival,
        (at, event): (Instant, &Event),
    ) {
        let publisher = self.roster.publisher(id);
        let path = &mut self.paths[usize::from(publisher.path.0)];
        path.consume(lane, arrival.place.slot);
        if outcome != Outcome::Delivered || path.worst.may_be_slow(at, arrival.end_to_end) {
            path.worst.note(event);
        }
        let totals = &mut self.lanes[series(publisher.path, publisher.qos, lane)];
        totals.announced[outcome.index()] += 1;
        totals.window.record(arrival.end_to_end);
        if let Some(nanos) = arrival.service.nanos() {
            totals.service.record(nanos);
        }
        let totals = self.publish_of(id);
        for (leg, nanos) in arrival.legs() {
            if let Some(nanos) = nanos.nanos() {
                totals.legs[leg.index()].record(nanos);
            }
        }
        if let Some(nanos) = arrival.durability_gap.nanos() {
            totals.durability_gap.record(nanos);
        }
        for (counts, survived) in totals.stamps.iter_mut().zip(arrival.stamps) {
            if let Some(survived) = survived {
                counts[usize::from(!survived)] += 1;
            }
        }
    }
}

impl PathTotals {
    /// Books what is nobody's message.
    fn book(&mut self, event: &Event) {
        match *event {
            Event::Polled { reader, nanos, .. } => self.note_poll(reader, nanos),
            Event::Connected { tcp_nanos, tls_nanos, connack_nanos, .. } => {
                self.connects.tcp.record(tcp_nanos);
                if let Some(nanos) = tls_nanos {
                    self.connects.tls.record(nanos);
                }
                self.connects.connack.record(connack_nanos);
            }
            Event::Worked { share, .. } => self.work.note(share),
            Event::Consumed { lane, partition, .. } => self.consume(lane, partition),
            Event::Foreign { count, .. } => self.foreign += u64::from(count),
            _ => {}
        }
    }
}
