//! The node's pod addresses: one IPv4 block a node, and the names derived from it.
//!
//! Until the control plane hands blocks out, a node without a configured block derives one from its
//! agent's name on the machine, so that several agents there do not collide.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Smallest and largest prefix of a node's block.
const PREFIX_RANGE: std::ops::RangeInclusive<u8> = 8..=29;
const NODE_PREFIX: u8 = 24;
/// Second octets of derived bridge blocks: `10.128.0.0` to `10.191.255.0`, away from common LANs.
const BRIDGE_SECOND_OCTET_BASE: u8 = 128;
const BRIDGE_SECOND_OCTET_COUNT: u8 = 64;

/// A block of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodCidr {
    base: Ipv4Addr,
    prefix: u8,
}

/// Text that is not a usable block.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not an IPv4 block such as 10.1.2.0/24 with a prefix from 8 to 29")]
pub struct CidrError {
    /// The text.
    pub text: String,
}

impl PodCidr {
    /// The block that a node's name stands for, for pods with a network namespace of their own.
    #[must_use]
    pub fn for_bridge(node: &str) -> Self {
        let [first, second, ..] = hash(node);
        let octet = BRIDGE_SECOND_OCTET_BASE + first % BRIDGE_SECOND_OCTET_COUNT;
        Self {
            base: Ipv4Addr::new(10, octet, second, 0),
            prefix: NODE_PREFIX,
        }
    }

    /// The loopback block that a node's name stands for, for pods that share the host's network.
    #[must_use]
    pub fn for_loopback(node: &str) -> Self {
        let [first, second, ..] = hash(node);
        // 127.0.x.y is left to the host's own services.
        Self {
            base: Ipv4Addr::new(127, 1 + first % 254, second, 0),
            prefix: NODE_PREFIX,
        }
    }

    /// The addresses that pods may have, in order: without the block's own, the gateway's and the
    /// broadcast address.
    pub fn pod_addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        let base = self.base.to_bits();
        let size = 1_u32 << (32 - self.prefix);
        (2..size - 1).map(move |offset| Ipv4Addr::from_bits(base + offset))
    }

    /// The host's own address in the block.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + 1)
    }
}

impl fmt::Display for PodCidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for PodCidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let refused = || CidrError { text: text.to_owned() };
        let (base, prefix) = text.split_once('/').ok_or_else(refused)?;
        let base: Ipv4Addr = base.parse().map_err(|_| refused())?;
        let prefix: u8 = prefix.parse().map_err(|_| refused())?;
        if !PREFIX_RANGE.contains(&prefix) {
            return Err(refused());
        }
        let mask = u32::MAX << (32 - prefix);
        Ok(Self {
            base: Ipv4Addr::from_bits(base.to_bits() & mask),
            prefix,
        })
    }
}

/// The name of the node's bridge, within the kernel's 15 characters.
#[must_use]
pub fn bridge_name(node: &str) -> String {
    format!("tri{}", hex::encode(&hash(node)[..5]))
}

/// A short stable name for anything that is one a node.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_parse_and_print() {
        let block: PodCidr = "10.1.2.77/24".parse().unwrap();
        assert_eq!(block.to_string(), "10.1.2.0/24");
        assert_eq!(block.gateway(), Ipv4Addr::new(10, 1, 2, 1));
        let addresses: Vec<Ipv4Addr> = block.pod_addresses().collect();
        assert_eq!((addresses[0], addresses.len()), (Ipv4Addr::new(10, 1, 2, 2), 253));
        assert_eq!(addresses[252], Ipv4Addr::new(10, 1, 2, 254));
        for bad in ["", "10.1.2.0", "10.1.2.0/30", "10.1.2.0/7", "a/24", "10.1.2.0/x"] {
            assert!(bad.parse::<PodCidr>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nodes_get_different_blocks_and_bridges() {
        assert_ne!(PodCidr::for_bridge("node-1"), PodCidr::for_bridge("node-2"));
        assert_ne!(PodCidr::for_loopback("node-1"), PodCidr::for_loopback("node-2"));
        assert_ne!(bridge_name("node-1"), bridge_name("node-2"));
        assert!(bridge_name("a-very-long-node-name.example.org").len() <= 15);
    }
}
