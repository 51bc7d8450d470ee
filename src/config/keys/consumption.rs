//! Room `config` (wiring): how the records of a path are read.

use super::{Count, Fallback, Key};

key!(CONSUMERS: Count = "consumers", Fallback::Yaml("1"), Count { min: 1, max: 64, bytes: false },
    "How many threads share the partitions of the topics, each with a connection of its own, 1 to 64: \
     one reads several hundred thousand records a second. Reordering is then told within each \
     partition. More than there are partitions wait for further ones.");
