//! What the load generator asks for, encoded in place: a request costs the copy of its key and value.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    messages::{PUT, RANGE, TXN, bytes_field, finish, put, tag, varint, varint_bytes},
    noise::{Dice, Noise},
};

/// Length of every key.
const KEY_BYTES: usize = PREFIX.len() + KEY_DIGITS;
/// What every key begins with.
const PREFIX: &[u8] = b"/bench/keys/";
/// Digits of a key's number.
const KEY_DIGITS: usize = 10;
/// The greatest request. A server may leave a quarter of the first window unopened, and a request must fit the rest.
const MAX_REQUEST_BYTES: usize = 40_000;
/// The most operations in a transaction that every server takes.
const MAX_TXN_OPS: usize = 100;

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Puts of random keys below a number.
    Put {
        /// How many keys there are.
        keys: u64,
        /// Length of the values.
        value_bytes: usize,
    },
    /// Linearizable reads of one random key.
    Get {
        /// How many keys there are.
        keys: u64,
        /// Length of the values, to check the answers.
        value_bytes: usize,
    },
    /// Linearizable reads of neighbouring keys.
    Range {
        /// How many keys there are.
        keys: u64,
        /// How many are read.
        width: u64,
        /// Length of the values, to check the answers.
        value_bytes: usize,
    },
    /// Every key once, in transactions; ends when all are written.
    Fill {
        /// How many keys there are.
        keys: u64,
        /// Length of the values.
        value_bytes: usize,
        /// The first key that nobody has asked for yet.
        next: Arc<AtomicU64>,
    },
}

impl Kind {
    /// Every key below a number, once.
    pub fn fill(keys: u64, value_bytes: usize) -> Self {
        let next = Arc::default();
        Self::Fill {
            keys,
            value_bytes,
            next,
        }
    }

    /// The call.
    pub fn path(&self) -> &'static str {
        match self {
            Self::Put { .. } => PUT,
            Self::Get { .. } | Self::Range { .. } => RANGE,
            Self::Fill { .. } => TXN,
        }
    }

    /// The greatest request of this kind, prefix included.
    pub fn request_bytes(&self) -> usize {
        match self {
            Self::Put { value_bytes, .. } => 32 + KEY_BYTES + value_bytes,
            Self::Get { .. } | Self::Range { .. } => 32 + 2 * KEY_BYTES,
            Self::Fill { .. } => MAX_REQUEST_BYTES,
        }
    }

    /// The least bytes that a right answer has, prefix included.
    pub fn least_answer_bytes(&self) -> usize {
        match self {
            Self::Put { .. } | Self::Fill { .. } => 5,
            Self::Get { value_bytes, .. } => 5 + KEY_BYTES + value_bytes,
            Self::Range { width, value_bytes, .. } => 5 + *width as usize * (KEY_BYTES + value_bytes),
        }
    }
}

/// A kind of requests with what it needs to make them.
#[derive(Debug)]
pub struct Work {
    kind: Kind,
    noise: Noise,
    dice: Dice,
}

impl Work {
    /// Requests of a kind; connections with different seeds ask for different keys.
    pub fn new(kind: Kind, noise: Noise, seed: u64) -> Self {
        Self {
            kind,
            noise,
            dice: Dice::new(seed),
        }
    }

    /// What is asked for.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Replaces `out` by the next request, prefix included; says whether there is one.
    pub fn next(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        out.extend_from_slice(&[0; 5]);
        match &self.kind {
            Kind::Put { keys, value_bytes } => {
                let key = key(self.dice.below(*keys));
                put(out, &key, self.noise.value(*value_bytes, &mut self.dice));
            }
            Kind::Get { keys, .. } => bytes_field(out, 1, &key(self.dice.below(*keys))),
            Kind::Range { keys, width, .. } => {
                let first = self.dice.below(keys.saturating_sub(*width) + 1);
                bytes_field(out, 1, &key(first));
                bytes_field(out, 2, &key(first + width));
            }
            Kind::Fill {
                keys,
                value_bytes,
                next,
            } => {
                let step = puts_a_txn(*value_bytes);
                let first = next.fetch_add(step, Ordering::Relaxed);
                if first >= *keys {
                    return false;
                }
                let mut one = Vec::with_capacity(value_bytes + 2 * KEY_BYTES);
                for number in first..(*keys).min(first + step) {
                    one.clear();
                    put(&mut one, &key(number), self.noise.value(*value_bytes, &mut self.dice));
                    // TxnRequest.success, RequestOp.request_put
                    tag(out, 2);
                    varint(out, (1 + varint_bytes(one.len()) + one.len()) as u64);
                    bytes_field(out, 2, &one);
                }
            }
        }
        finish(out);
        true
    }
}

/// How many puts of a length one transaction holds.
pub fn puts_a_txn(value_bytes: usize) -> u64 {
    (MAX_REQUEST_BYTES / (value_bytes + KEY_BYTES + 32)).clamp(1, MAX_TXN_OPS) as u64
}

/// The key with a number.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'0'; KEY_BYTES];
    key[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut rest = number;
    for digit in key[PREFIX.len()..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use trireme_proto::etcd::server::{
        PutRequest, RangeRequest, TxnRequest, WatchRequest, request_op, watch_request as watch_union,
    };

    use super::*;
    use crate::bench::store::messages::watch_request;

    /// The message behind a prefix that must be right.
    fn decode<M: Message + Default>(request: &[u8]) -> M {
        let length = u32::from_be_bytes(request[1..5].try_into().unwrap());
        assert_eq!((request[0], length as usize), (0, request.len() - 5));
        M::decode(&request[5..]).unwrap()
    }

    /// The first request of a kind, which must be as small as the kind says.
    fn first<M: Message + Default>(kind: Kind) -> M {
        let most = kind.request_bytes();
        let mut request = Vec::new();
        assert!(Work::new(kind, Noise::default(), 5).next(&mut request));
        assert!(request.len() <= most, "{} bytes, not {most}", request.len());
        decode(&request)
    }

    #[test]
    fn requests_are_what_the_contract_says() {
        let (keys, value_bytes) = (10, 256);
        let put: PutRequest = first(Kind::Put { keys, value_bytes });
        assert!(put.key.starts_with(b"/bench/keys/000000000"), "{:?}", put.key);
        assert_eq!(put.value.len(), value_bytes);
        let get: RangeRequest = first(Kind::Get { keys, value_bytes });
        assert!(get.key.starts_with(PREFIX) && get.range_end.is_empty() && !get.serializable);
        let width = 10;
        let range: RangeRequest = first(Kind::Range {
            keys,
            width,
            value_bytes,
        });
        assert_eq!((&range.key[..], &range.range_end[..]), (&key(0)[..], &key(10)[..]));
        let mut request = Vec::new();
        watch_request(&mut request, b"a", b"b");
        let Some(watch_union::RequestUnion::CreateRequest(create)) = decode::<WatchRequest>(&request).request_union
        else {
            panic!("a watch is created");
        };
        assert_eq!((&create.key[..], &create.range_end[..]), (&b"a"[..], &b"b"[..]));
    }

    #[test]
    fn a_fill_writes_every_key_once() {
        for value_bytes in [256, 4_096] {
            let kind = Kind::fill(250, value_bytes);
            let most = kind.request_bytes();
            let mut work = Work::new(kind, Noise::default(), 1);
            let (mut request, mut keys) = (Vec::new(), Vec::new());
            while work.next(&mut request) {
                assert!(request.len() <= most, "{} bytes, not {most}", request.len());
                for operation in decode::<TxnRequest>(&request).success {
                    let Some(request_op::Request::RequestPut(put)) = operation.request else {
                        panic!("a fill only puts");
                    };
                    assert_eq!(put.value.len(), value_bytes);
                    keys.push(put.key.to_vec());
                }
            }
            assert_eq!(keys, (0..250).map(|number| key(number).to_vec()).collect::<Vec<_>>());
        }
    }
}
