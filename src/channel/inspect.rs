//! What both ends of a channel can tell about it, written once.
#![forbid(unsafe_code)]

/// The methods that [`Sender`](super::Sender) and [`Receiver`](super::Receiver) share.
macro_rules! inspection {
    () => {
        /// Closes the channel: sends fail, receivers drain it. False when it was closed already.
        pub fn close(&self) -> bool {
            self.channel.close()
        }

        /// Whether the channel is closed; messages may still be queued.
        #[must_use]
        pub fn is_closed(&self) -> bool {
            self.channel.with(|state| state.is_closed())
        }

        /// Queued messages. Those that waiting senders hold are not counted.
        #[must_use]
        pub fn len(&self) -> usize {
            self.channel.with(|state| state.len())
        }

        /// No message is queued.
        #[must_use]
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// There is no room now; a rendezvous never has any.
        #[must_use]
        pub fn is_full(&self) -> bool {
            self.channel.with(|state| state.is_full())
        }

        /// How many messages the channel holds at most; `None`: any number.
        #[must_use]
        pub fn capacity(&self) -> Option<usize> {
            self.channel.with(|state| state.capacity())
        }

        /// Sending handles.
        #[must_use]
        pub fn sender_count(&self) -> usize {
            self.channel.senders.load(Relaxed)
        }

        /// Receiving handles.
        #[must_use]
        pub fn receiver_count(&self) -> usize {
            self.channel.receivers.load(Relaxed)
        }

        /// Whether both are handles of the same channel.
        #[must_use]
        pub fn same_channel(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.channel, &other.channel)
        }
    };
}
pub(super) use inspection;

/// A handle that does not keep its channel open: the handle it can become again, and its text.
macro_rules! weak_handle {
    ($(#[$doc:meta])* $weak:ident of $strong:ident, $upgrade:literal) => {
        $(#[$doc])*
        pub struct $weak<T> {
            channel: Arc<Channel<T>>,
        }

        impl<T> $weak<T> {
            #[doc = $upgrade]
            #[must_use]
            pub fn upgrade(&self) -> Option<$strong<T>> {
                $strong::try_new(&self.channel)
            }
        }

        impl<T> Clone for $weak<T> {
            fn clone(&self) -> Self {
                Self { channel: self.channel.clone() }
            }
        }

        impl<T> fmt::Debug for $weak<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($weak))
            }
        }
    };
}
pub(super) use weak_handle;
