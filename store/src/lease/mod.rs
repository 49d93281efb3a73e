//! The leader's clock of the leases: who has how long to live, who has expired, what to note for the next leader.
//!
//! Leases are state, and only commands change them. This is what makes the commands. [`Lessor`](lessor::Lessor)
//! decides, from leases and instants handed in; [`Keeper`] shares it between the one who applies, those who renew and
//! the driver; [`driver`] carries its decisions out, on the leader alone (I5). Clocks of different servers are never
//! compared: what a leader hands on to the next is a number of seconds.

pub(crate) mod driver;
mod keeper;
mod lessor;

pub(crate) use keeper::Keeper;
