//! Frames of a watch that are sent together.

use bytes::Bytes;

use crate::limits;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    first: Bytes,
    rest: Vec<u8>,
}

impl Frames {
    /// How many bytes they are.
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// They have come to where no more are added.
    pub(crate) fn are_enough(&self) -> bool {
        self.len() >= limits::FRAMES_TOGETHER_BYTES
    }

    /// There are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one behind the others.
    pub(crate) fn add(&mut self, frame: Bytes) {
        if self.first.is_empty() {
            self.first = frame;
        } else {
            self.rest.extend_from_slice(&frame);
        }
    }

    /// All of them. One alone is sent as it is, and not copied.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            self.first
        } else {
            [&self.first, self.rest.as_slice()].concat().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_is_not_copied_and_several_go_together() {
        let frames = [Bytes::from("one"), Bytes::from("two"), Bytes::from("three")];
        let mut alone = Frames::default();
        assert!(alone.is_empty());
        alone.add(frames[0].clone());
        assert_eq!(alone.into_bytes().as_ptr(), frames[0].as_ptr());
        let mut several = Frames::default();
        frames.iter().for_each(|frame| several.add(frame.clone()));
        assert_eq!(several.into_bytes(), Bytes::from("onetwothree"));
    }

    #[test]
    fn so_many_bytes_are_enough() {
        let mut frames = Frames::default();
        frames.add(vec![0; limits::FRAMES_TOGETHER_BYTES - 1].into());
        assert!(!frames.are_enough());
        frames.add(Bytes::from("x"));
        assert!(frames.are_enough());
    }
}
