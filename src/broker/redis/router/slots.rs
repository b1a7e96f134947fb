//! Which partition a name belongs to, and where partitions lie in a Redis Cluster.
//!
//! Channels of a cluster carry a hash tag. There are [`PARTITIONS`] of them, one in each 64 consecutive slots of the
//! 16,384, so that masters with equal shares of the slots get equal shares of the channels, and few names are needed to
//! say where everything is.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use std::sync::LazyLock;

use crc::{CRC_16_XMODEM, Crc};

/// The checksum of the cluster specification.
static CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Number of partitions. Part of the wire format: all servers have to agree.
pub(crate) const PARTITIONS: usize = 256;
/// Slots of a Redis Cluster.
pub(crate) const SLOTS: usize = 16_384;

/// The partition that a user, a room or a channel belongs to.
pub(crate) fn partition_of(name: &str) -> usize {
    usize::from(CHECKSUM.checksum(name.as_bytes())) % PARTITIONS
}

/// The slot of a hash tag.
fn slot_of(tag: &str) -> usize {
    usize::from(CHECKSUM.checksum(tag.as_bytes())) % SLOTS
}

/// A hash tag, and the slot it lies in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// As it is in channel names, braces and colon included.
    pub(crate) text: String,
    /// Its slot.
    pub(crate) slot: usize,
}

/// The tag of each partition: the smallest number whose slot is in the partition's share.
pub(crate) static TAGS: LazyLock<Vec<Tag>> = LazyLock::new(|| {
    let mut tags: Vec<Option<Tag>> = (0..PARTITIONS).map(|_| None).collect();
    let mut missing = PARTITIONS;
    for number in 0u32.. {
        let number = number.to_string();
        let slot = slot_of(&number);
        let tag = &mut tags[slot / (SLOTS / PARTITIONS)];
        if tag.is_none() {
            *tag = Some(Tag { text: format!("{{{number}}}:"), slot });
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    tags.into_iter().flatten().collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(slot_of("123456789"), 0x31C3);
        assert_eq!(slot_of("foo"), 12_182);
    }

    #[test]
    fn each_share_of_the_slots_has_one_tag() {
        assert_eq!(TAGS.len(), PARTITIONS);
        for (index, tag) in TAGS.iter().enumerate() {
            assert_eq!(tag.slot / 64, index);
            assert_eq!(slot_of(tag.text.trim_matches(|c| "{}:".contains(c))), tag.slot);
        }
    }

    #[test]
    fn users_spread_over_the_partitions() {
        let mut counts = [0u32; PARTITIONS];
        (0..100_000).for_each(|n| counts[partition_of(&format!("user-{n}"))] += 1);
        assert!(counts.iter().all(|count| (200..600).contains(count)), "{counts:?}");
    }
}
