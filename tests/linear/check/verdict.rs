//! What the search says.

/// The answer to the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable {
        /// It, as positions in the history. Requests that are not in it need never have taken effect.
        order: Vec<usize>,
    },
    /// There is none.
    Broken(Broken),
    /// The time was over. This counts as failed.
    Undecided {
        /// How many requests the longest beginning of an order held.
        placed: usize,
    },
}

/// Why there is no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// How many requests the longest beginning of an order held.
    pub placed: usize,
    /// The revision at its end.
    pub revision: i64,
    /// The request that fits nowhere behind it, as a position in the history, if it is one.
    pub call: Option<usize>,
    /// What is wrong, in words.
    pub found: String,
}
