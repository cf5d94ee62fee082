//! One error type an operation. Those of sends carry the message back; `Debug` never asks it of the message.

use std::error::Error;
use std::fmt;

macro_rules! message_error {
    ($name:ident, $text:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<T>(
            /// The message that was not sent.
            pub T,
        );

        impl<T> $name<T> {
            /// The message that was not sent.
            pub fn into_inner(self) -> T {
                self.0
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        }

        impl<T> Error for $name<T> {}
    };
}

message_error!(SendError, "sending on a closed channel", "`send` failed: the channel is closed.");

/// `try_send` failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room, or on a rendezvous no receiver to hand the message to.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

/// `send_timeout` or `send_deadline` failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// The time was up.
    Timeout(T),
    /// The channel is closed.
    Closed(T),
}

macro_rules! message_errors {
    ($name:ident, $other:ident, $other_text:literal, $is_other:ident, $is_other_doc:literal) => {
        impl<T> $name<T> {
            /// The message that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    Self::$other(message) | Self::Closed(message) => message,
                }
            }

            /// The channel is closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                matches!(self, Self::Closed(_))
            }

            #[doc = $is_other_doc]
            #[must_use]
            pub fn $is_other(&self) -> bool {
                matches!(self, Self::$other(_))
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    Self::$other(_) => concat!(stringify!($other), "(..)"),
                    Self::Closed(_) => "Closed(..)",
                })
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    Self::$other(_) => $other_text,
                    Self::Closed(_) => "sending on a closed channel",
                })
            }
        }

        impl<T> Error for $name<T> {}

        impl<T> From<SendError<T>> for $name<T> {
            fn from(error: SendError<T>) -> Self {
                Self::Closed(error.0)
            }
        }
    };
}

message_errors!(TrySendError, Full, "sending on a full channel", is_full, "There is no room.");
message_errors!(SendTimeoutError, Timeout, "timed out sending on a channel", is_timeout, "The time was up.");

/// `recv` failed: the channel is closed and empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

/// `try_recv` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is no message now.
    Empty,
    /// The channel is closed and empty.
    Closed,
}

/// `recv_timeout` or `recv_deadline` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// The time was up.
    Timeout,
    /// The channel is closed and empty.
    Closed,
}

/// `reserve` failed: the channel is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveError;

/// `try_reserve` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryReserveError {
    /// There is no room now.
    Full,
    /// The channel is closed.
    Closed,
}

const CLOSED_AND_EMPTY: &str = "receiving on a channel that is closed and empty";

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLOSED_AND_EMPTY)
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "receiving on an empty channel",
            Self::Closed => CLOSED_AND_EMPTY,
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "timed out receiving on a channel",
            Self::Closed => CLOSED_AND_EMPTY,
        })
    }
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reserving a place on a closed channel")
    }
}

impl fmt::Display for TryReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "reserving a place on a full channel",
            Self::Closed => "reserving a place on a closed channel",
        })
    }
}

impl Error for RecvError {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}
impl Error for ReserveError {}
impl Error for TryReserveError {}

impl From<RecvError> for TryRecvError {
    fn from(_: RecvError) -> Self {
        Self::Closed
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(_: RecvError) -> Self {
        Self::Closed
    }
}

impl From<ReserveError> for TryReserveError {
    fn from(_: ReserveError) -> Self {
        Self::Closed
    }
}
