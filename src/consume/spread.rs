//! Room `consume`: which reader reads which partition.

use std::collections::BTreeMap;

use super::Partition;

/// Shares the partitions of a path and lane out among its readers.
///
/// # Design
///
/// A partition belongs to one reader for good: two that read the same one, and be it for a moment,
/// would make copies out of nothing. So one that was deleted and made anew goes to whom it was read by
/// before, and a partition that appears goes to who has the fewest of those that are there.
#[derive(Debug)]
pub(super) struct Spread {
    /// The reader of each partition that ever was.
    owners: BTreeMap<(String, i32), usize>,
    /// How many partitions each reader has that are there.
    loads: Vec<usize>,
}

impl Spread {
    /// Among so many readers, at least one.
    pub(super) fn new(readers: usize) -> Self {
        Self { owners: BTreeMap::new(), loads: vec![0; readers.max(1)] }
    }

    /// Shares out partitions that have just appeared: for each reader its own.
    pub(super) fn share_out(&mut self, fresh: Vec<Partition>) -> Vec<Vec<Partition>> {
        let mut shares = vec![Vec::new(); self.loads.len()];
        for of in fresh {
            let idlest = (0..self.loads.len()).min_by_key(|&reader| self.loads[reader]);
            let name = (of.topic.clone(), of.partition);
            let owner = *self.owners.entry(name).or_insert(idlest.unwrap_or(0));
            self.loads[owner] += 1;
            shares[owner].push(of);
        }
        shares
    }

    /// Notes that a partition is there no more.
    pub(super) fn forget(&mut self, gone: &(String, i32)) {
        if let Some(&owner) = self.owners.get(gone) {
            self.loads[owner] = self.loads[owner].saturating_sub(1);
        }
    }

    /// Tells apart whose partitions these are: for each reader its own. Those that nobody reads are left
    /// out.
    pub(super) fn split(&self, all: Vec<Partition>) -> Vec<Vec<Partition>> {
        let mut shares = vec![Vec::new(); self.loads.len()];
        for of in all {
            let name = (of.topic, of.partition);
            if let Some(&owner) = self.owners.get(&name) {
                let (topic, partition) = name;
                shares[owner].push(Partition { topic, partition, offset: of.offset });
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(partition: i32) -> Partition {
        Partition { topic: "t".into(), partition, offset: i64::from(partition) * 7 }
    }

    fn numbers(shares: &[Vec<Partition>]) -> Vec<Vec<i32>> {
        let numbers = |share: &Vec<Partition>| share.iter().map(|of| of.partition).collect();
        shares.iter().map(numbers).collect()
    }

    #[test]
    fn partitions_are_dealt_out_and_what_appears_later_goes_to_the_idlest() {
        let mut spread = Spread::new(3);
        assert_eq!(
            numbers(&spread.share_out((0..7).map(of).collect())),
            [vec![0, 3, 6], vec![1, 4], vec![2, 5]]
        );
        assert_eq!(numbers(&spread.share_out(vec![of(7)])), [vec![], vec![7], vec![]]);
        spread.forget(&("t".into(), 0));
        spread.forget(&("t".into(), 3));
        let shares = spread.share_out(vec![of(8), of(3)]);
        assert_eq!(numbers(&shares), [vec![8, 3], vec![], vec![]], "3 is whose it was");
    }

    #[test]
    fn nobody_is_a_reader_short_of_one() {
        assert_eq!(numbers(&Spread::new(0).share_out(vec![of(0)])), [vec![0]]);
    }

    proptest! {
        #[test]
        fn every_partition_has_one_reader_for_good(
            readers in 1_usize..9,
            appearing in proptest::collection::vec((0_i32..40, any::<bool>()), 0..200),
        ) {
            let mut spread = Spread::new(readers);
            let (mut there, mut owners) = (BTreeSet::new(), BTreeMap::new());
            let mut was_deleted = false;
            for (partition, is_there) in appearing {
                if !is_there {
                    if there.remove(&partition) {
                        was_deleted = true;
                        spread.forget(&("t".into(), partition));
                    }
                } else if there.insert(partition) {
                    let shares = spread.share_out(vec![of(partition)]);
                    prop_assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), 1);
                    let owner = shares.iter().position(|share| !share.is_empty()).unwrap();
                    let first = *owners.entry(partition).or_insert(owner);
                    prop_assert_eq!(owner, first);
                }
                let shares = spread.split(there.iter().copied().map(of).collect());
                for (reader, share) in shares.iter().enumerate() {
                    for of in share {
                        prop_assert_eq!(owners[&of.partition], reader);
                        prop_assert_eq!(of.offset, i64::from(of.partition) * 7);
                    }
                }
                let sizes: Vec<usize> = shares.iter().map(Vec::len).collect();
                prop_assert_eq!(sizes.iter().sum::<usize>(), there.len());
                let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
                prop_assert!(was_deleted || most - least <= 1, "{:?}", sizes);
            }
        }
    }
}
